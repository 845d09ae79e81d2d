//! The trace of an item: the items of its `basis`, down to the sources of facts.

use serde_json::{Value, json};

use crate::agent::text_of;
use crate::domain::folding::folded_without_space;
use crate::domain::ids::shortened;
use crate::domain::printable::printable;
use crate::store::StoredItem;

/// How many characters of an item are shown.
const SHOWN: usize = 100;

/// How deep a chain is followed. Models make the links, so that a chain can be a circle.
const DEEPEST: usize = 10;

/// Returns the items that a trace begins with: the item with this id, or else those whose text has these words. White
/// space, case and the width of characters make no difference.
pub fn traced<'i>(items: &'i [StoredItem], what: &str) -> Vec<&'i StoredItem> {
    let id = what.trim().trim_start_matches('@');
    if let Some(item) = items.iter().find(|item| item.id == id) {
        return vec![item];
    }
    let words = folded_without_space(what);
    let holds = |item: &&StoredItem| folded_without_space(&text_of(&item.body)).contains(&words);
    items
        .iter()
        .filter(|item| !words.is_empty() && holds(item))
        .collect()
}

/// Returns the chain below an item as text: one line for each item, indented below the one that rests on it.
pub fn trace_text(items: &[StoredItem], from: &StoredItem) -> String {
    let mut text = String::new();
    write(items, from, 0, &mut text);
    text
}

fn write(items: &[StoredItem], item: &StoredItem, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    *text += &format!("{indent}{}  {}\n", item.id, printable(&shown(item)));
    let field = |name: &str| item.body.get(name).and_then(Value::as_str).map(one_line);
    if let Some(quote) = field("quote") {
        *text += &format!("{indent}  quote   \"{quote}\"\n");
    }
    if let Some(reason) = field("unproven") {
        *text += &format!("{indent}  no source: {reason}\n");
    }
    if let Some(source) = field("source") {
        let parts = [Some(source), field("source_title"), field("url")];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        *text += &format!("{indent}  source  {}\n", parts.join("  "));
    }
    for id in basis(item) {
        match items.iter().find(|other| other.id == id) {
            Some(other) if depth + 1 < DEEPEST => write(items, other, depth + 1, text),
            Some(_) => *text += &format!("{indent}  {}  …\n", printable(id)),
            None => *text += &format!("{indent}  {}  (not in this session)\n", printable(id)),
        }
    }
}

/// Returns the chain below an item as JSON: each item with its proof, and with the items that it rests on.
pub fn trace_json(items: &[StoredItem], from: &StoredItem) -> Value {
    nested(items, from, 0)
}

fn nested(items: &[StoredItem], item: &StoredItem, depth: usize) -> Value {
    let mut object = json!({"id": item.id, "text": text_of(&item.body)});
    for name in ["sourced", "source", "source_title", "url", "quote", "unproven"] {
        if let Some(value) = item.body.get(name) {
            object[name] = value.clone();
        }
    }
    let below = basis(item).map(|id| match items.iter().find(|other| other.id == id) {
        Some(other) if depth + 1 < DEEPEST => nested(items, other, depth + 1),
        _ => json!({"id": id}),
    });
    object["basis"] = below.collect();
    object
}

/// Returns the ids of the items that an item rests on.
fn basis(item: &StoredItem) -> impl Iterator<Item = &str> {
    let list = item.body.get("basis").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// Returns a text of a model or of the web as one line for a terminal.
fn one_line(text: &str) -> String {
    printable(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shown(item: &StoredItem) -> String {
    let text = text_of(&item.body);
    shortened(text.lines().next().unwrap_or_default(), SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str, body: &Value) -> StoredItem {
        StoredItem {
            id: id.to_owned(),
            body: body.as_object().unwrap().clone(),
        }
    }

    fn items() -> Vec<StoredItem> {
        vec![
            item("insight1", &json!({"content": "people choose less", "basis": []})),
            item(
                "hitpoint1",
                &json!({"content": "an angle", "basis": ["insight1"]}),
            ),
            item(
                "fact1",
                &json!({"content": "48 kcal", "sourced": true, "source": "s1", "quote": "48 千卡", "source_title": "Oats",
                    "url": "https://example.com/1"}),
            ),
            item(
                "fact2",
                &json!({"content": "80%", "sourced": false, "source": null, "unproven": "it names no source"}),
            ),
            item(
                "xhs_post1",
                &json!({"content": "早上 一杯", "basis": ["hitpoint1", "fact1", "fact2", "gone7"]}),
            ),
            item(
                "xhs_post2",
                &json!({"content": "a circle", "basis": ["xhs_post2"]}),
            ),
        ]
    }

    #[test]
    fn a_chain_leads_from_a_text_to_its_sources() {
        let items = items();
        let from = traced(&items, "早上一杯");
        assert_eq!(from[0].id, "xhs_post1");
        assert_eq!(
            trace_text(&items, from[0]),
            "xhs_post1  早上 一杯\n  hitpoint1  an angle\n    insight1  people choose less\n  fact1  48 kcal\n    \
             quote   \"48 千卡\"\n    source  s1  Oats  https://example.com/1\n  fact2  80%\n    no source: it names no \
             source\n  gone7  (not in this session)\n"
        );
        let object = trace_json(&items, from[0]);
        assert_eq!(object["basis"][0]["basis"][0]["id"], "insight1");
        assert_eq!(object["basis"][1]["url"], "https://example.com/1");
    }

    #[test]
    fn a_circle_ends() {
        let items = items();
        let circle = traced(&items, "@xhs_post2")[0];
        assert_eq!(trace_text(&items, circle).lines().count(), DEEPEST + 1);
        assert!(traced(&items, " ").is_empty() && traced(&items, "not there").is_empty());
    }
}
