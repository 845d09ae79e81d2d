//! The enhanced input: the material of a task beside its instruction. It comes from the request and from earlier
//! results. `budget` cuts it to size.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::{Map, Value};

use super::lookup;
use crate::domain::item_texts::{MAIN, is_basis};
use crate::domain::outcome::NewItem;
use crate::domain::references::ItemId;
use crate::domain::request::{Brief, ProductBrief};
use crate::domain::task_search::TaskSearch;
use crate::llm::likely_tokens;
use crate::store::{Material, StoredItem};

/// The enhanced input, as templates get it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct PromptParts {
    /// The task's own instruction.
    pub(super) input: String,
    /// The query of the request.
    pub(super) query: Option<String>,
    /// The columns of the table row that templates name.
    pub(super) row: Map<String, Value>,
    /// The client's own data for the result.
    pub(super) metadata: Value,
    /// The items of the earlier tasks that templates name, by action.
    pub(super) tasks: Map<String, Value>,
    /// The account and its audience, as named values.
    pub(super) background: Vec<Named>,
    /// The facts of the product, as named values.
    pub(super) product: Vec<Named>,
    /// The words that the product's texts must hold or must not hold. They are never left out.
    pub(super) wording: Vec<Named>,
    /// Contents that were published before, oldest first.
    pub(super) previous: Vec<String>,
    /// The client's free-form context, as JSON.
    pub(super) context: Option<String>,
    /// The user's comment on the task as a whole.
    pub(super) task_context: Option<String>,
    /// Items that the user chose.
    pub(super) chosen: Vec<ChosenItem>,
    /// The user's comments on items that were not chosen.
    pub(super) comments: Vec<Comment>,
    /// Items that the request or its task references.
    pub(super) references: Vec<ItemText>,
    /// Results of earlier tasks, oldest first.
    pub(super) earlier: Vec<TaskPart>,
    /// Rounds of the session, oldest first.
    pub(super) rounds: Vec<RoundPart>,
    /// Search results.
    pub(super) results: Vec<SearchHit>,
}

/// A value with a name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Named {
    /// The name in a Chinese prompt.
    pub(super) name: String,
    /// The name in an English prompt: the key of the request line.
    pub(super) key: String,
    pub(super) value: String,
}

/// An item as text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ItemText {
    pub(super) id: String,
    pub(super) text: String,
    /// Whether it is a fact with a source, so that a text may state what it states.
    #[serde(skip)]
    pub(super) is_sourced: bool,
}

/// A chosen item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ChosenItem {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) comment: Option<String>,
}

/// A comment on an item that was not chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Comment {
    pub(super) id: String,
    pub(super) comment: String,
}

/// The result of an earlier task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct TaskPart {
    pub(super) task_id: String,
    pub(super) action: String,
    pub(super) items: Vec<ItemText>,
}

/// The query and the result of an earlier request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RoundPart {
    pub(super) query: Option<String>,
    pub(super) items: Vec<ItemText>,
}

/// One search result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct SearchHit {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) url: String,
    pub(super) text: String,
}

/// The mark of a fact without a source, in every prompt that shows it.
pub(super) const UNSOURCED: &str = "【无出处，不得写入】";

impl PromptParts {
    /// Gathers all material before any bound. Earlier facts without a source are marked, and left out if `sourced_only`.
    /// Also returns a warning for each reference that names no known item.
    pub(super) fn gather(
        brief: &Brief,
        input: &str,
        material: &Material,
        sourced_only: bool,
    ) -> (Self, Vec<String>) {
        let chosen: HashSet<&str> = brief.selections.chosen().map(|item| item.id.as_str()).collect();
        let left: HashSet<&str> = brief
            .selections
            .left()
            .map(|item| &item.id)
            .chain(&material.left)
            .map(String::as_str)
            .collect();
        let references: Vec<&StoredItem> = material
            .items
            .iter()
            .filter(|item| !chosen.contains(item.id.as_str()))
            .collect();
        let is_shown = |item: &StoredItem| !sourced_only || !is_unsourced(item);
        let unsourced: HashSet<&str> = material
            .items
            .iter()
            .filter(|item| is_unsourced(item))
            .map(|item| item.id.as_str())
            .collect();
        let referred: HashSet<&str> = references.iter().map(|item| item.id.as_str()).collect();
        // Items that were shown and not chosen are left out. An item in another part is not repeated here.
        let told = |id: &str| left.contains(id) || chosen.contains(id) || referred.contains(id);
        // Items made by this request were never shown, so the ids of a selection cannot mean them.
        let own_pieces = |items: &[StoredItem]| -> Vec<ItemText> {
            let new = items.iter().filter(|item| !referred.contains(item.id.as_str()));
            new.filter(|item| is_shown(item)).map(piece).collect()
        };
        let pieces = |items: &[StoredItem]| -> Vec<ItemText> {
            let others = items.iter().filter(|item| !told(&item.id));
            others.filter(|item| is_shown(item)).map(piece).collect()
        };
        let parts = Self {
            input: input.to_owned(),
            query: brief.query.clone(),
            row: brief.row().cloned().unwrap_or_default(),
            metadata: Value::Null,
            tasks: Map::new(),
            background: background(brief),
            product: product(brief, facts),
            wording: product(brief, wording),
            previous: brief.background.previous_content.clone(),
            context: brief.context.as_ref().map(Value::to_string),
            task_context: brief.selections.task_context.clone(),
            chosen: chosen_items(brief, &unsourced),
            comments: comments(brief),
            references: references.iter().copied().map(piece).collect(),
            earlier: material
                .earlier
                .iter()
                .map(|task| TaskPart {
                    task_id: task.task_id.clone(),
                    action: task.action.clone(),
                    items: if task.own {
                        own_pieces(&task.items)
                    } else {
                        pieces(&task.items)
                    },
                })
                .filter(|task| !task.items.is_empty())
                .collect(),
            rounds: material
                .rounds
                .iter()
                .map(|round| RoundPart {
                    query: round.query.clone(),
                    items: pieces(&round.output),
                })
                .filter(|round| round.query.is_some() || !round.items.is_empty())
                .collect(),
            results: Vec::new(),
        };
        let unknown = lookup::referenced(brief, input)
            .into_iter()
            .filter(|id| !referred.contains(id.as_str()) && !chosen.contains(id.as_str()))
            .map(|id| format!("`@{id}` names no item that is known here, and was ignored"))
            .collect();
        (parts, unknown)
    }

    /// Removes all other chosen and referenced items of the subject's kind.
    pub(super) fn keep_only(&mut self, kind: &str, subject: &str) {
        let stays = |id: &str| id == subject || ItemId::parse(id).is_none_or(|parsed| parsed.kind != kind);
        self.chosen.retain(|item| stays(&item.id));
        self.references.retain(|item| stays(&item.id));
    }
}

fn background(brief: &Brief) -> Vec<Named> {
    let known = &brief.background;
    [
        ("账号名称", "account_name", &known.account_name),
        ("平台", "platform", &known.platform),
        ("目标受众", "target_audience", &known.target_audience),
        ("行业", "industry", &known.industry),
        ("品牌风格", "brand_style", &known.brand_style),
    ]
    .into_iter()
    .filter_map(|(name, key, value)| value.as_ref().map(|value| named(name, key, value)))
    .collect()
}

fn named(name: &str, key: &str, value: &str) -> Named {
    Named {
        name: name.to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn product(brief: &Brief, values: impl Fn(&ProductBrief) -> Vec<Named>) -> Vec<Named> {
    brief.background.product.as_ref().map(values).unwrap_or_default()
}

/// Returns the facts of a product, the most important first.
fn facts(product: &ProductBrief) -> Vec<Named> {
    let name = product.name.iter().map(|value| named("名称", "name", value));
    let price = product.price.iter().map(|value| named("价格", "price", value));
    name.chain(price)
        .chain(numbered("卖点", "points", &product.points))
        .chain(numbered("依据", "proof", &product.proof))
        .collect()
}

fn wording(product: &ProductBrief) -> Vec<Named> {
    numbered("必须写", "must_say", &product.must_say)
        .chain(numbered("不能写", "must_not_say", &product.must_not_say))
        .collect()
}

fn numbered<'a>(name: &'a str, key: &'a str, values: &'a [String]) -> impl Iterator<Item = Named> + 'a {
    let number = move |(index, value): (usize, &'a String)| {
        let number = index + 1;
        named(&format!("{name}{number}"), &format!("{key}{number}"), value)
    };
    values.iter().enumerate().map(number)
}

fn chosen_items(brief: &Brief, unsourced: &HashSet<&str>) -> Vec<ChosenItem> {
    let text = |id: &str, title: &Option<String>, content: &str| {
        let mark = if unsourced.contains(id) { UNSOURCED } else { "" };
        match title {
            Some(title) => format!("{mark}{title}\n{content}"),
            None => format!("{mark}{content}"),
        }
    };
    brief
        .selections
        .chosen()
        .map(|item| ChosenItem {
            id: item.id.clone(),
            text: text(&item.id, &item.title, &item.content),
            comment: item
                .user_comment
                .clone()
                .filter(|comment| !comment.trim().is_empty()),
        })
        .collect()
}

fn comments(brief: &Brief) -> Vec<Comment> {
    brief
        .selections
        .left()
        .filter_map(|item| {
            let comment = item
                .user_comment
                .clone()
                .filter(|comment| !comment.trim().is_empty())?;
            Some(Comment {
                id: item.id.clone(),
                comment,
            })
        })
        .collect()
}

fn piece(item: &StoredItem) -> ItemText {
    let mark = if is_unsourced(item) { UNSOURCED } else { "" };
    ItemText {
        id: item.id.clone(),
        text: format!("{mark}{}", text_for_prompt(&item.body)),
        is_sourced: item.body.get("sourced") == Some(&Value::Bool(true)),
    }
}

/// Whether it is a fact without a source.
fn is_unsourced(item: &StoredItem) -> bool {
    item.body.get("sourced") == Some(&Value::Bool(false))
}

/// Returns an item as text: its title, its content, then its other fields. The material that it rests on is no text.
pub fn text_of(body: &Map<String, Value>) -> String {
    text_without(body, &[])
}

/// Returns an item as text for a prompt, without the fields that prove a fact to people only.
fn text_for_prompt(body: &Map<String, Value>) -> String {
    text_without(body, &["unproven", "url", "source_title"])
}

/// Tokens of the marks around one piece of a prompt.
pub(super) const MARKS: u64 = 12;

/// Returns the likely number of tokens of items in later prompts.
pub(super) fn shown_tokens(items: &[NewItem]) -> u64 {
    let one = |item: &NewItem| likely_tokens(&text_for_prompt(&item.body)) + MARKS;
    items.iter().map(one).sum()
}

/// Returns the likely number of tokens of search results in a prompt.
pub fn shown_search(found: &TaskSearch) -> u64 {
    let parts = PromptParts::default().with_sources(Some(found));
    let one = |hit: &SearchHit| {
        likely_tokens(&hit.title) + likely_tokens(&hit.url) + likely_tokens(&hit.text) + MARKS
    };
    parts.results.iter().map(one).sum()
}

fn text_without(body: &Map<String, Value>, hidden: &[&str]) -> String {
    let mut lines: Vec<String> = MAIN
        .iter()
        .filter_map(|key| body.get(*key).and_then(Value::as_str).map(str::to_owned))
        .collect();
    let others = body
        .iter()
        .filter(|(key, value)| !MAIN.contains(&key.as_str()) && !is_basis(key, value));
    for (key, value) in others.filter(|(key, _)| !hidden.contains(&key.as_str())) {
        let told = match value {
            Value::Null | Value::Bool(_) => continue,
            Value::String(text) if text.is_empty() => continue,
            Value::String(text) => text.clone(),
            Value::Array(list) if list.iter().all(Value::is_string) => list
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(" "),
            other => other.to_string(),
        };
        lines.push(format!("{key}: {told}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::request::{Rules, Work, read_line};
    use crate::store::{Earlier, Round};

    fn brief(line: &str) -> Brief {
        match read_line(line.as_bytes(), Rules::default()).unwrap().request.work {
            Work::Brief(brief) => *brief,
            Work::Completion(_) => unreachable!(),
        }
    }

    fn item(id: &str) -> StoredItem {
        let body = serde_json::json!({"title": "t", "content": id, "tags": ["a", "b"], "source": null, "basis": ["fact1"]});
        StoredItem {
            id: id.to_owned(),
            body: body.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn an_item_stands_in_one_part_and_what_was_not_chosen_in_none() {
        let brief = brief(
            r#"{"query":"看@insight1","references":["@fact9"],"nova3_selections":{"nova3_insight":[
                {"id":"insight2","content":"改过","user_comment":"好"},
                {"id":"insight3","content":"c","selected":false,"user_comment":"不要"},
                {"id":"insight4","content":"c","selected":false}]}}"#,
        );
        let all = ["insight1", "insight2", "insight3", "insight4", "insight5"].map(item);
        let material = Material {
            earlier: vec![Earlier {
                task_id: "task001".to_owned(),
                action: "insight".to_owned(),
                items: all.to_vec(),
                own: false,
            }],
            items: vec![item("insight1")],
            rounds: vec![Round {
                number: 1,
                run: "r".to_owned(),
                custom_id: None,
                status: "completed".to_owned(),
                query: None,
                output: all[..4].to_vec(),
                completed_at: 0,
            }],
            left: vec![],
            replaced: vec![],
        };
        let (parts, unknown) = PromptParts::gather(&brief, "做", &material, false);
        assert_eq!(
            unknown,
            ["`@fact9` names no item that is known here, and was ignored"]
        );
        let ids = |pieces: &[ItemText]| pieces.iter().map(|piece| piece.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&parts.references), ["insight1"]);
        assert_eq!(ids(&parts.earlier[0].items), ["insight5"]);
        assert_eq!(parts.rounds, []);
        let chosen = ChosenItem {
            id: "insight2".to_owned(),
            text: "改过".to_owned(),
            comment: Some("好".to_owned()),
        };
        assert_eq!(parts.chosen, [chosen]);
        let comment = Comment {
            id: "insight3".to_owned(),
            comment: "不要".to_owned(),
        };
        assert_eq!(parts.comments, [comment]);
        assert_eq!(parts.references[0].text, "t\ninsight1\ntags: a b");
        let remembered = Material {
            left: vec!["insight5".to_owned(), "insight1".to_owned()],
            ..material
        };
        let (parts, _) = PromptParts::gather(&brief, "做", &remembered, false);
        assert_eq!(
            (parts.earlier.len(), ids(&parts.references)),
            (0, vec!["insight1".to_owned()])
        );
    }
}
