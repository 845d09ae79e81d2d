//! Turns a model's answer into items: bounded, filtered and checked by rules.

use serde_json::{Map, Value};

use super::basis;
use super::definition::Agent;
use super::form::Form;
use super::language::{Language, is_another_language};
use super::texts::{is_usable, keep_distinct, placeholders, says_something};
use crate::domain::outcome::NewItem;
use crate::domain::printable::counted;
use crate::domain::request::ProductBrief;
use crate::llm::strip_think;

/// The item limit of a task when limits are off.
const MOST: usize = 1000;

/// The character limit of one text of an item. A long article has a tenth of it.
const LONGEST: usize = 50_000;

/// Complaints that are reported. More of them would not help the model.
const TOLD: usize = 5;

/// The parts of the request that its answer is validated against.
pub(super) struct Asked<'a> {
    pub(super) agent: &'a Agent,
    pub(super) query: &'a str,
    pub(super) input: &'a str,
    /// The names under which the prompt gave material.
    pub(super) sources: &'a [String],
    /// The product of the request.
    pub(super) product: Option<&'a ProductBrief>,
}

impl Asked<'_> {
    /// Returns the query, or the task's input if there is no query.
    const fn question(&self) -> &str {
        if self.query.is_empty() {
            self.input
        } else {
            self.query
        }
    }
}

type Read = (Vec<NewItem>, Vec<String>);

/// Returns the one item of free text. A truncated text is marked `truncated`.
pub(super) fn from_text(asked: &Asked<'_>, text: &str, truncated: bool) -> Result<Read, String> {
    let text = strip_think(text).trim();
    if !says_something(text) {
        return Err("the answer is empty".to_owned());
    }
    let mut body = Map::new();
    body.insert("content".to_owned(), Value::from(text));
    if truncated {
        body.insert("truncated".to_owned(), Value::Bool(true));
    }
    let mut warnings = Vec::new();
    bound_texts(&mut body, &mut warnings);
    asked.agent.rules.add_label(&mut body);
    Ok((vec![item(asked, body)], warnings))
}

/// Returns the items of an object that fits the agent's schema; `Err` if items were given and none has text.
pub(super) fn from_object(asked: &Asked<'_>, object: Map<String, Value>) -> Result<Read, String> {
    let mut warnings = Vec::new();
    let mut list = list_of(object);
    for body in &mut list {
        // The store assigns the ids.
        body.remove("id");
        asked.agent.rules.drop_repeated_words(body);
    }
    if asked.agent.form.has_basis() {
        warnings.extend(basis::keep_known(&mut list, asked.sources));
    }
    drop_useless(asked, &mut list, &mut warnings)?;
    let most = asked.agent.max_results.unwrap_or(MOST);
    if list.len() > most {
        warnings.push(format!(
            "`{}` gave {} items, the first {most} were kept (`agents.max_results`)",
            asked.agent.action,
            list.len()
        ));
        list.truncate(most);
    }
    let items = list
        .into_iter()
        .map(|mut body| {
            bound_texts(&mut body, &mut warnings);
            asked.agent.rules.add_label(&mut body);
            if asked.agent.search {
                mark_source(&mut body, asked.sources);
            }
            item(asked, body)
        })
        .collect();
    Ok((items, warnings))
}

/// Drops items without text, and items equal to an earlier one.
fn drop_useless(
    asked: &Asked<'_>,
    list: &mut Vec<Map<String, Value>>,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let (action, given) = (&asked.agent.action, list.len());
    list.retain(is_usable);
    if list.is_empty() && given > 0 {
        return Err("the items have no text: no letter and no digit".to_owned());
    }
    let empty = (given - list.len()) as u64;
    if empty > 0 {
        warnings.push(format!(
            "`{action}` gave {} without text, dropped",
            counted(empty, "item")
        ));
    }
    let same = keep_distinct(list, basis::without) as u64;
    if same > 0 {
        warnings.push(format!(
            "`{action}` gave {} that an earlier item says already, dropped",
            counted(same, "item")
        ));
    }
    Ok(())
}

/// Returns the objects of the first list of objects. An object without such a list is an item itself.
fn list_of(mut object: Map<String, Value>) -> Vec<Map<String, Value>> {
    let name = object
        .iter()
        .find(|(_, value)| {
            value
                .as_array()
                .is_some_and(|list| list.iter().all(Value::is_object))
        })
        .map(|(name, _)| name.clone());
    let Some(Value::Array(list)) = name.and_then(|name| object.remove(&name)) else {
        return vec![object];
    };
    list.into_iter()
        .filter_map(|value| match value {
            Value::Object(body) => Some(body),
            _ => None,
        })
        .collect()
}

fn item(asked: &Asked<'_>, body: Map<String, Value>) -> NewItem {
    NewItem {
        kind: asked.agent.item.clone(),
        body,
    }
}

fn bound_texts(body: &mut Map<String, Value>, warnings: &mut Vec<String>) {
    for (key, value) in body.iter_mut() {
        if let Value::String(text) = value
            && let Some((end, _)) = text.char_indices().nth(LONGEST)
        {
            text.truncate(end);
            warnings.push(format!(
                "`{key}` was longer than {LONGEST} characters and was cut"
            ));
        }
    }
}

/// Sets `source` to null if it names nothing from the prompt, and sets `sourced` to whether it does.
fn mark_source(body: &mut Map<String, Value>, sources: &[String]) {
    let named = |text: &str| {
        text.split(['、', '，', ',', '；', ';', '/', ' '])
            .map(|name| name.trim().trim_start_matches('@'))
            .filter(|name| !name.is_empty())
            .any(|name| sources.iter().any(|known| names(name, known)))
    };
    let sourced = body.get("source").and_then(Value::as_str).is_some_and(named);
    if !sourced {
        body.insert("source".to_owned(), Value::Null);
    }
    body.insert("sourced".to_owned(), Value::Bool(sourced));
}

/// Whether a name is that of a part, or of one piece of a part: `背景.行业`, `历史内容2`.
pub(super) fn names(name: &str, known: &str) -> bool {
    match name.strip_prefix(known) {
        Some("") => true,
        Some(rest) if rest.starts_with('.') => true,
        Some(rest) => !known.is_ascii() && rest.bytes().all(|b| b.is_ascii_digit()),
        None => false,
    }
}

/// Returns the complaints about items that fit their schema.
pub(super) fn complaints(asked: &Asked<'_>, items: &[NewItem]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let empty = placeholders(&item.body).map(|key| format!("`{key}` holds no letter and no digit"));
        let wrong = asked.agent.rules.complaints(&item.body);
        complaints.extend(
            empty
                .chain(wrong)
                .chain(wrong_words(asked, &item.body))
                .map(|wrong| format!("item {}: {wrong}", index + 1)),
        );
    }
    complaints.truncate(TOLD);
    if is_chinese_by_mistake(asked, items) {
        complaints.push(OTHER_LANGUAGE.to_owned());
    }
    complaints
}

/// Returns the complaints about the words that the product asks for or forbids.
fn wrong_words(asked: &Asked<'_>, body: &Map<String, Value>) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(product) = asked.product {
        if asked.agent.writes {
            wrong.extend(product.missing(body));
        }
        if asked.agent.checks_words {
            wrong.extend(product.forbidden(body));
        }
    }
    wrong
}

/// Returns a fault of the items that is not worth a second call.
pub(super) fn doubts(asked: &Asked<'_>, items: &[NewItem]) -> Option<String> {
    let is_worth_a_call = is_chinese_by_mistake(asked, items);
    let is_other = is_another_language(asked.question(), &said(asked, items));
    (is_other && !is_worth_a_call).then(|| OTHER_LANGUAGE.to_owned())
}

const OTHER_LANGUAGE: &str = "the answer is not in the language of the query";

/// Whether a free-text question that is not Chinese has an answer in Chinese. The built-in Chinese prompts may cause
/// this. Agents with a schema are left out: their posts are for Chinese platforms and may be meant to be Chinese.
fn is_chinese_by_mistake(asked: &Asked<'_>, items: &[NewItem]) -> bool {
    let question = asked.question();
    matches!(asked.agent.form, Form::Text)
        && Language::of(question, "") == Language::Other
        && is_another_language(question, &said(asked, items))
}

/// Returns the contents of the items, without the label: its language is that of the settings.
fn said(asked: &Asked<'_>, items: &[NewItem]) -> String {
    let label = asked.agent.rules.label.as_deref().unwrap_or_default().trim();
    let contents = items.iter().filter_map(|item| item.body.get("content"));
    contents
        .filter_map(Value::as_str)
        .map(|content| content.strip_suffix(label).unwrap_or(content))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_must_name_what_was_given() {
        let sources = ["insight1".to_owned(), "背景".to_owned()];
        let marked = |source: Value| {
            let mut body = Map::from_iter([("source".to_owned(), source)]);
            mark_source(&mut body, &sources);
            (body["source"].clone(), body["sourced"].clone())
        };
        assert_eq!(marked("@insight1".into()), ("@insight1".into(), true.into()));
        assert_eq!(
            marked("背景.行业、别处".into()),
            ("背景.行业、别处".into(), true.into())
        );
        assert_eq!(marked("国家统计局".into()), (Value::Null, false.into()));
        assert_eq!(marked(Value::Null), (Value::Null, false.into()));
    }
}
