//! Turns a model's answer into items: bounded, filtered and checked by rules.

use serde_json::{Map, Value};

use super::basis;
use super::definition::Agent;
use super::form::Form;
use super::language::{Language, is_another_language};
use super::proof::{self, SourceText};
use super::texts::{is_usable, keep_distinct, placeholders, says_something};
use crate::domain::grounding::{Finding, Grounds};
use crate::domain::outcome::NewItem;
use crate::domain::printable::counted;
use crate::domain::request::ProductBrief;
use crate::domain::task_search::TaskSearch;
use crate::llm::strip_think;

/// The item limit of a task when limits are off.
const MOST: usize = 1000;

/// The character limit of one text of an item. A long article has a tenth of it.
const LONGEST: usize = 50_000;

/// The texts whose statements must stand in the material.
const GROUNDED: [&str; 2] = ["title", "content"];

/// Complaints that are reported. More of them would not help the model.
const TOLD: usize = 5;

/// The parts of the request that its answer is validated against.
pub(super) struct Asked<'a> {
    pub(super) agent: &'a Agent,
    pub(super) query: &'a str,
    pub(super) input: &'a str,
    /// The parts of the prompt that a fact may name as its source.
    pub(super) sources: &'a [SourceText],
    /// The statements that a text for publication may make.
    pub(super) grounds: Option<&'a Grounds>,
    /// The result of the task's search.
    pub(super) search: Option<&'a TaskSearch>,
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
    let is_empty = if asked.agent.is_verbatim {
        text.is_empty()
    } else {
        !says_something(text)
    };
    if is_empty {
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
    if asked.agent.is_verbatim {
        let mut body = object;
        bound_texts(&mut body, &mut warnings);
        return Ok((vec![item(asked, body)], warnings));
    }
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
    let needs_quote = proof::quotes(&asked.agent.form);
    let items = list
        .into_iter()
        .map(|mut body| {
            bound_texts(&mut body, &mut warnings);
            asked.agent.rules.add_label(&mut body);
            if asked.agent.search.is_some() || needs_quote {
                proof::prove(&mut body, asked.sources, asked.search, needs_quote);
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

/// Returns the complaints about items that fit their schema.
pub(super) fn complaints(asked: &Asked<'_>, items: &[NewItem]) -> Vec<String> {
    let mut complaints = Vec::new();
    if asked.agent.is_verbatim {
        return complaints;
    }
    for (index, item) in items.iter().enumerate() {
        let empty = placeholders(&item.body).map(|key| format!("`{key}` holds no letter and no digit"));
        let wrong = asked.agent.rules.complaints(&item.body);
        complaints.extend(
            empty
                .chain(wrong)
                .chain(wrong_words(asked, &item.body))
                .chain(ungrounded(asked, &item.body))
                .map(|wrong| format!("item {}: {wrong}", index + 1)),
        );
    }
    complaints.truncate(TOLD);
    if is_chinese_by_mistake(asked, items) {
        complaints.push(OTHER_LANGUAGE.to_owned());
    }
    complaints
}

/// Returns a complaint about each text with statements that do not stand in the material.
fn ungrounded(asked: &Asked<'_>, body: &Map<String, Value>) -> Vec<String> {
    let Some(grounds) = asked.grounds else {
        return Vec::new();
    };
    let mut told = Vec::new();
    for field in GROUNDED {
        let text = body.get(field).and_then(Value::as_str).unwrap_or_default();
        let findings = grounds.missing_from(text);
        if !findings.is_empty() {
            let findings: Vec<String> = findings.iter().map(at).collect();
            let findings = findings.join(", ");
            told.push(format!(
                "`{field}` states what its material does not have: {findings}"
            ));
        }
    }
    told
}

/// Returns a finding with its sort and its place in the text, counted from 1.
fn at(finding: &Finding) -> String {
    let place = finding.start + 1;
    format!(
        "`{}` ({}, character {place})",
        finding.word,
        finding.kind.as_str()
    )
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
    if asked.agent.is_verbatim {
        return None;
    }
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
