//! From a model's answer to items: bounded, without what they must not say, checked by rule.

use serde_json::{Map, Value};

use super::definition::Agent;
use crate::domain::outcome::NewItem;
use crate::llm::wire::{Answer, strip_think};

/// Where limits are off, a task still has no more items than this.
const MOST: usize = 1000;

/// No text of an item is longer, in characters: a long article has a tenth of it.
const LONGEST: usize = 50_000;

/// Complaints about so many items are told; more would not help the model.
const TOLD: usize = 5;

/// What was asked, as far as its answer is judged by it.
pub(super) struct Asked<'a> {
    pub(super) agent: &'a Agent,
    pub(super) query: &'a str,
    pub(super) input: &'a str,
    /// Under which names material was given.
    pub(super) sources: &'a [String],
}

type Read = (Vec<NewItem>, Vec<String>);

/// The one item of free text.
pub(super) fn from_text(asked: &Asked<'_>, answer: &Answer) -> Result<Read, String> {
    let text = strip_think(&answer.text).trim();
    if text.is_empty() {
        return Err("the answer is empty".to_owned());
    }
    let mut body = Map::new();
    body.insert("content".to_owned(), Value::from(text));
    if answer.finish_reason == "length" {
        body.insert("truncated".to_owned(), Value::Bool(true));
    }
    let mut warnings = Vec::new();
    bound_texts(&mut body, &mut warnings);
    Ok((vec![item(asked, body)], warnings))
}

/// The items of an object that fits the agent's schema.
pub(super) fn from_object(asked: &Asked<'_>, object: Map<String, Value>) -> Read {
    let mut warnings = Vec::new();
    let mut list = list_of(object);
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
            // Ids are the store's to give.
            body.remove("id");
            bound_texts(&mut body, &mut warnings);
            if asked.agent.search {
                mark_source(&mut body, asked.sources);
            }
            item(asked, body)
        })
        .collect();
    (items, warnings)
}

/// The objects of its list; an object without one is an item itself.
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

/// A source that names nothing the model was given is none, whatever it says.
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

/// Whether a name is that of a part, or of one piece of it: `背景.行业`, `历史内容2`.
fn names(name: &str, known: &str) -> bool {
    match name.strip_prefix(known) {
        Some("") => true,
        Some(rest) if rest.starts_with('.') => true,
        Some(rest) => !known.is_ascii() && rest.bytes().all(|b| b.is_ascii_digit()),
        None => false,
    }
}

/// What is wrong with items that fit their schema.
pub(super) fn complaints(asked: &Asked<'_>, items: &[NewItem]) -> Vec<String> {
    let mut complaints = Vec::new();
    if !asked.agent.rules.is_empty() {
        for (index, item) in items.iter().enumerate() {
            let wrong = asked.agent.rules.complaints(&item.body);
            complaints.extend(
                wrong
                    .into_iter()
                    .map(|wrong| format!("item {}: {wrong}", index + 1)),
            );
        }
        complaints.truncate(TOLD);
    }
    let said: String = items
        .iter()
        .filter_map(|item| item.body.get("content").and_then(Value::as_str))
        .collect();
    let question = if asked.query.is_empty() {
        asked.input
    } else {
        asked.query
    };
    if is_another_language(question, &said) {
        complaints.push("the answer is not in the language of the query".to_owned());
    }
    complaints
}

/// Whether a question in Chinese was answered without any, or one without any in Chinese. Who asks for a translation
/// or names a language gets what the model makes of it.
fn is_another_language(question: &str, answer: &str) -> bool {
    const NAMED: [&str; 10] = [
        "英文", "英语", "翻译", "日语", "日文", "中文", "双语", "nglish", "ranslat", "hinese",
    ];
    if NAMED.iter().any(|name| question.contains(name)) {
        return false;
    }
    let (asked, said) = (han_share(question), han_share(answer));
    match (asked, said) {
        (Some(asked), Some(said)) => (asked > 0.3 && said < 0.05) || (asked < 0.01 && said > 0.5),
        _ => false,
    }
}

/// The share of Chinese characters among letters; `None` for a text too short to tell.
fn han_share(text: &str) -> Option<f64> {
    let (mut han, mut letters) = (0_u32, 0_u32);
    for c in text.chars().filter(|c| c.is_alphabetic()).take(2000) {
        letters += 1;
        han += u32::from(matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'));
    }
    // A Chinese question may be as short as this.
    (letters >= 4).then(|| f64::from(han) / f64::from(letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_another_language_is_noticed() {
        let chinese = "怎样写好一篇小红书笔记？";
        let english = "How do I write a good post about coffee?";
        assert!(is_another_language(
            chinese,
            "Begin with a hook and keep it short."
        ));
        assert!(is_another_language(english, "先写一个钩子，然后说清楚卖点。"));
        assert!(!is_another_language(
            chinese,
            "先用 hook，再讲 selling point，最后互动。"
        ));
        assert!(!is_another_language(english, "Begin with a hook (钩子)."));
        assert!(!is_another_language(
            "把这句话翻译成英文：你好",
            "Hello there, my friend."
        ));
        assert!(!is_another_language("", "text"));
    }

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
