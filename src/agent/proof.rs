//! The proof of a fact: it names a source of the prompt, and quotes it.
//!
//! A model's claim is checked, not trusted. A fact without a proof is kept and marked: `sourced` is false, its `source`
//! is null, and `unproven` has the reason. Later prompts show the mark.

use serde_json::{Map, Value};

use super::form::Form;
use crate::domain::folding::folded_without_space;
use crate::domain::grounding::Grounds;
use crate::domain::task_search::TaskSearch;

/// The fewest characters of a quote, without white space. A shorter quote proves nothing, unless it is the whole source.
const SHORTEST_QUOTE: usize = 4;

/// A text of the prompt that a fact may name as its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceText {
    /// Its name in the prompt.
    pub(super) name: String,
    /// Its text, for agents whose facts quote it.
    pub(super) text: String,
}

/// Whether the items of an answer in this form quote their source.
pub(super) fn quotes(form: &Form) -> bool {
    let Form::Json(schema) = form else { return false };
    let lists = schema.value["properties"].as_object().into_iter().flatten();
    lists
        .map(|(_, list)| &list["items"]["properties"])
        .any(|properties| properties.get("quote").is_some())
}

/// Sets `sourced` to whether the fact names a source of the prompt, and quotes it if `needs_quote`. The address and the
/// title of a source that was looked up are added, so that the fact can be followed without its prompt.
pub(super) fn prove(
    body: &mut Map<String, Value>,
    sources: &[SourceText],
    search: Option<&TaskSearch>,
    needs_quote: bool,
) {
    for set_here in ["sourced", "unproven", "url", "source_title"] {
        body.remove(set_here);
    }
    let quote = body.get("quote").and_then(Value::as_str).unwrap_or_default();
    let source = body.get("source").and_then(Value::as_str).unwrap_or_default();
    let proof = named(source, sources).and_then(|named| {
        if !needs_quote {
            return Ok(named[0].name.clone());
        }
        let Some(quoted) = named.iter().find(|source| contains(&source.text, quote)) else {
            return Err("the quote does not stand in the source".to_owned());
        };
        match unstated(body, quoted, sources) {
            Some(word) => Err(format!("its source does not state `{word}`")),
            None => Ok(quoted.name.clone()),
        }
    });
    match proof {
        Ok(name) => {
            let found = search.and_then(|search| search.source(&name));
            body.insert("sourced".to_owned(), Value::Bool(true));
            if let Some(found) = found {
                body.insert("source_title".to_owned(), Value::from(found.title.as_str()));
                body.insert("url".to_owned(), Value::from(found.url.as_deref()));
            }
        }
        Err(reason) => {
            body.insert("source".to_owned(), Value::Null);
            body.insert("sourced".to_owned(), Value::Bool(false));
            body.insert("unproven".to_owned(), Value::from(reason));
        }
    }
}

/// Returns a statement of the fact that stands neither in its source nor in the client's own material.
fn unstated(body: &Map<String, Value>, source: &SourceText, sources: &[SourceText]) -> Option<String> {
    let content = body.get("content").and_then(Value::as_str)?;
    // Items and results have ASCII ids, and parts of the request have Chinese names.
    let own = sources.iter().filter(|source| !source.name.is_ascii());
    let grounds = Grounds::of(own.chain([source]).map(|source| source.text.as_str()));
    grounds
        .missing_from(content)
        .into_iter()
        .next()
        .map(|finding| finding.word)
}

/// Returns the sources that a text names, at least one.
fn named<'s>(text: &str, sources: &'s [SourceText]) -> Result<Vec<&'s SourceText>, String> {
    let names = text.split(['、', '，', ',', '；', ';', '/', ' ']);
    let names = names.map(|name| name.trim().trim_start_matches('@'));
    let named: Vec<&SourceText> = names
        .filter(|name| !name.is_empty())
        .flat_map(|name| {
            sources
                .iter()
                .filter(move |source| is_name_of(name, &source.name))
        })
        .collect();
    if named.is_empty() {
        let reason = if text.is_empty() {
            "it names no source"
        } else {
            "its source is not in the material"
        };
        Err(reason.to_owned())
    } else {
        Ok(named)
    }
}

/// Whether a name is that of a part, or of one piece of a part: `背景.行业`, `历史内容2`.
pub(super) fn is_name_of(name: &str, known: &str) -> bool {
    match name.strip_prefix(known) {
        Some("") => true,
        Some(rest) if rest.starts_with('.') => true,
        Some(rest) => !known.is_ascii() && rest.bytes().all(|b| b.is_ascii_digit()),
        None => false,
    }
}

/// Whether the quote stands in the text. White space and the width of characters make no difference.
fn contains(text: &str, quote: &str) -> bool {
    let (text, quote) = (folded_without_space(text), folded_without_space(quote));
    let quote = quote.trim_matches(['"', '“', '”', '「', '」', '…']);
    let is_long = quote.chars().count() >= SHORTEST_QUOTE || (!quote.is_empty() && quote == text);
    is_long && text.contains(quote)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::task_search::SourceRecord;

    fn sources() -> Vec<SourceText> {
        [
            ("s1", "燕麦奶每 100 毫升含有 ４８ 千卡。"),
            ("背景", "行业：咖啡\n受众：通勤白领"),
        ]
        .map(|(name, text)| SourceText {
            name: name.to_owned(),
            text: text.to_owned(),
        })
        .into()
    }

    fn search() -> TaskSearch {
        TaskSearch {
            queries: Vec::new(),
            sources: vec![SourceRecord {
                id: "s1".to_owned(),
                query: "q".to_owned(),
                provider: "jina".to_owned(),
                title: "燕麦奶".to_owned(),
                url: Some("https://example.com/a".to_owned()),
                text: String::new(),
                published_at: None,
                found_at: 0,
                hash: String::new(),
                looked_up: true,
            }],
        }
    }

    fn proven(source: Value, quote: Value) -> Map<String, Value> {
        proven_as("热量低", source, quote)
    }

    fn proven_as(content: &str, source: Value, quote: Value) -> Map<String, Value> {
        let mut body = Map::from_iter([
            ("content".to_owned(), content.into()),
            ("source".to_owned(), source),
            ("quote".to_owned(), quote),
            // A model must not mark its own facts.
            ("sourced".to_owned(), true.into()),
            ("url".to_owned(), "https://evil.example".into()),
        ]);
        prove(&mut body, &sources(), Some(&search()), true);
        body
    }

    #[test]
    fn a_quote_from_a_source_proves_a_fact() {
        let body = proven("s1".into(), "每100毫升含有48千卡".into());
        assert_eq!(body["sourced"], true);
        assert_eq!(
            (&body["url"], &body["source_title"]),
            (&"https://example.com/a".into(), &"燕麦奶".into())
        );
        let body = proven("@背景.行业".into(), "行业：咖啡".into());
        assert_eq!((&body["sourced"], body.get("url")), (&true.into(), None));
    }

    #[test]
    fn a_fact_without_proof_is_marked() {
        for (source, quote, reason) in [
            (
                "尼尔森报告".into(),
                "每100毫升含有48千卡".into(),
                "its source is not in the material",
            ),
            (
                "s2".into(),
                "每100毫升含有48千卡".into(),
                "its source is not in the material",
            ),
            (
                "s1".into(),
                "每100毫升含有84千卡".into(),
                "the quote does not stand in the source",
            ),
            ("s1".into(), "千".into(), "the quote does not stand in the source"),
            ("s1".into(), Value::Null, "the quote does not stand in the source"),
            (
                "背景".into(),
                "每100毫升含有48千卡".into(),
                "the quote does not stand in the source",
            ),
            (Value::Null, Value::Null, "it names no source"),
        ] {
            let body = proven(source, quote);
            assert_eq!(
                (&body["sourced"], &body["source"]),
                (&false.into(), &Value::Null),
                "{body:?}"
            );
            assert_eq!((&body["unproven"], body.get("url")), (&reason.into(), None));
        }
    }

    #[test]
    fn a_fact_states_only_what_its_source_states() {
        let quote = || "每100毫升含有48千卡".into();
        assert_eq!(
            proven_as("每100毫升只有48千卡", "s1".into(), quote())["sourced"],
            true
        );
        let body = proven_as("热量比牛奶少八成", "s1".into(), quote());
        assert_eq!(body["sourced"], false, "{body:?}");
        assert!(
            body["unproven"]
                .as_str()
                .unwrap()
                .starts_with("its source does not state `"),
            "{body:?}"
        );
    }

    #[test]
    fn an_agent_without_quotes_needs_the_name_only() {
        let mut body = Map::from_iter([("source".to_owned(), "背景.行业、别处".into())]);
        prove(&mut body, &sources(), None, false);
        assert_eq!(body["sourced"], true);
    }
}
