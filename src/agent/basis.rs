//! The basis of an item: the names of the material that it rests on.
//!
//! A model gives the basis as a list of the names between the fences of its prompt. A missing or wrong list counts as
//! empty, because a second call costs more than the list is worth. The basis stays in the result and is in no text.

use serde_json::{Map, Value};

use super::proof::{SourceText, is_name_of as names};
use crate::domain::ids::shortened;
use crate::domain::item_texts::{BASIS, is_basis};

/// Unknown names that a warning lists.
const TOLD: usize = 5;

/// Whether a schema, or the schema of its items, declares a list `basis`.
pub(super) fn is_declared(schema: &Value) -> bool {
    let mut all = item_schemas(schema).into_iter().chain([schema]);
    all.any(|schema| schema["properties"][BASIS]["type"] == "array")
}

fn item_schemas(schema: &Value) -> Vec<&Value> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.map(|(_, property)| &property["items"]).collect()
}

/// Completes an answer before it is compared with its schema: each basis becomes a list of strings.
pub(super) fn complete(schema: &Value, answer: &mut Value) {
    let Value::Object(answer) = answer else { return };
    if schema["properties"][BASIS]["type"] == "array" {
        complete_item(answer);
    }
    for (name, value) in answer.iter_mut() {
        if schema["properties"][name.as_str()]["items"]["properties"][BASIS]["type"] == "array"
            && let Value::Array(list) = value
        {
            list.iter_mut()
                .filter_map(Value::as_object_mut)
                .for_each(complete_item);
        }
    }
}

fn complete_item(item: &mut Map<String, Value>) {
    let basis = item.entry(BASIS).or_insert(Value::Null);
    match basis {
        Value::Array(list) => list.retain(Value::is_string),
        other => *other = Value::Array(Vec::new()),
    }
}

/// Drops the names that do not stand in the prompt, and repeated ones. Returns a warning that names the unknown ones.
pub(super) fn keep_known(items: &mut [Map<String, Value>], sources: &[SourceText]) -> Option<String> {
    let mut unknown: Vec<String> = Vec::new();
    for list in items
        .iter_mut()
        .filter_map(|item| item.get_mut(BASIS)?.as_array_mut())
    {
        let mut kept: Vec<String> = Vec::new();
        for name in list.iter().filter_map(Value::as_str) {
            let name = bare(name);
            match known_as(name, sources) {
                Some(known) if !kept.contains(&known) => kept.push(known),
                None if !unknown.iter().any(|other| other == name) => unknown.push(name.to_owned()),
                Some(_) | None => {}
            }
        }
        *list = kept.into_iter().map(Value::from).collect();
    }
    unknown.retain(|name| !name.is_empty());
    if unknown.is_empty() {
        return None;
    }
    let told: Vec<String> = unknown
        .iter()
        .take(TOLD)
        .map(|name| format!("`{}`", shortened(name, 60)))
        .collect();
    let more = match unknown.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "`{BASIS}` names {}{more}, which the prompt does not hold, dropped",
        told.join(", ")
    ))
}

/// Returns a name without the marks that models copy from a fence or a reference.
fn bare(name: &str) -> &str {
    name.trim_matches(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '@'))
}

/// Returns the name to keep: the id of an item, or the name of a part or of one piece of a part.
fn known_as(name: &str, sources: &[SourceText]) -> Option<String> {
    let known = sources.iter().find(|known| names(name, &known.name))?;
    Some(if known.name.is_ascii() { &known.name } else { name }.to_owned())
}

/// Returns an item without its basis, to compare what items say.
pub(super) fn without(item: &Map<String, Value>) -> Value {
    let mut item = item.clone();
    if item.get(BASIS).is_some_and(|basis| is_basis(BASIS, basis)) {
        item.remove(BASIS);
    }
    Value::Object(item)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        let item = json!({"type": "object", "properties": {"content": {}, "basis": {"type": "array"}}});
        json!({"type": "object", "properties": {"items": {"type": "array", "items": item}}})
    }

    #[test]
    fn a_missing_or_wrong_basis_is_an_empty_one() {
        let mut answer = json!({"items": [
            {"content": "a"}, {"content": "b", "basis": "fact1"}, {"content": "c", "basis": null},
            {"content": "d", "basis": ["fact1", 2, null]}]});
        complete(&schema(), &mut answer);
        assert_eq!(
            answer,
            json!({"items": [
                {"content": "a", "basis": []}, {"content": "b", "basis": []}, {"content": "c", "basis": []},
                {"content": "d", "basis": ["fact1"]}]})
        );
        let mut flat = json!({"content": "a"});
        complete(&schema()["properties"]["items"]["items"], &mut flat);
        assert_eq!(flat, json!({"content": "a", "basis": []}));
    }

    #[test]
    fn a_schema_without_a_list_is_left_alone() {
        let mut own = schema();
        own["properties"]["items"]["items"]["properties"]["basis"] = json!({"type": "string"});
        assert!(is_declared(&schema()) && !is_declared(&own));
        let mut answer = json!({"items": [{"content": "a"}]});
        complete(&own, &mut answer);
        assert_eq!(answer, json!({"items": [{"content": "a"}]}));
    }

    #[test]
    fn items_that_differ_in_their_basis_alone_are_equal() {
        let item =
            |basis: Value| Map::from_iter([("content".to_owned(), json!("a")), (BASIS.to_owned(), basis)]);
        assert_eq!(without(&item(json!(["fact1"]))), without(&item(json!([]))));
        assert_ne!(without(&item(json!("because"))), without(&item(json!([]))));
    }

    #[test]
    fn names_that_the_prompt_does_not_hold_are_dropped_with_one_warning() {
        let sources = ["insight1", "insight12", "背景"].map(|name| SourceText {
            name: name.to_owned(),
            text: String::new(),
        });
        let item = |basis: Value| Map::from_iter([(BASIS.to_owned(), basis)]);
        let mut items = [
            item(json!([
                "@insight1",
                "insight1",
                "<<<insight12",
                "insight2",
                "背景.平台",
                ""
            ])),
            item(json!(["insight1.意见", "insight2", "常识"])),
        ];
        assert_eq!(
            keep_known(&mut items, &sources).unwrap(),
            "`basis` names `insight2`, `常识`, which the prompt does not hold, dropped"
        );
        assert_eq!(items[0][BASIS], json!(["insight1", "insight12", "背景.平台"]));
        assert_eq!(items[1][BASIS], json!(["insight1"]));
        assert_eq!(keep_known(&mut items, &sources), None);
    }
}
