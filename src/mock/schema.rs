//! An instance of a JSON schema, with strings made from the prompt.
//!
//! Honoured: type (also a list), properties, required, items, prefixItems, minItems, maxItems, uniqueItems,
//! enum, const, string lengths and the common formats, number bounds and multipleOf, anyOf and oneOf (first
//! branch), allOf (merged), and $ref inside the document. Ignored: pattern, not, if/then/else,
//! dependencies. Recursive schemas end because deep values keep to what is required, and nothing goes
//! deeper than `DEEPEST`.

use fastrand::Rng;
use serde_json::{Map, Value};

use super::answer::{sentence, two_keywords};
use super::keywords::Theme;
use super::number::{integer, number};

/// From here on optional properties and items are left out.
const SPARSE: usize = 6;
/// Nothing is nested deeper; a schema that demands it gets `null` there.
const DEEPEST: usize = 32;

/// An instance of `schema`. The first string that is free to say anything ends with `marker`.
pub(crate) fn instance(schema: &Value, theme: &Theme, marker: &str, rng: Rng) -> Value {
    Maker {
        root: schema,
        theme,
        marker: Some(marker),
        rng,
    }
    .value(schema, "", 0)
}

struct Maker<'a> {
    root: &'a Value,
    theme: &'a Theme,
    /// Taken by the string that carries it.
    marker: Option<&'a str>,
    rng: Rng,
}

impl Maker<'_> {
    fn value(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        if depth > DEEPEST {
            return Value::Null;
        }
        if let Some(fixed) = schema.get("const") {
            return fixed.clone();
        }
        if let Some(choices) = schema["enum"].as_array().filter(|choices| !choices.is_empty()) {
            return choices[self.rng.usize(..choices.len())].clone();
        }
        if let Some(target) = schema["$ref"]
            .as_str()
            .and_then(|at| self.root.pointer(at.strip_prefix('#')?))
        {
            return self.value(target, name, depth + 1);
        }
        if let Some(branches) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
            return self.value(branch(branches, depth), name, depth + 1);
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let merged = merge(self.root, schema, parts);
            return self.value(&merged, name, depth + 1);
        }
        match kind(schema, depth) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, name, depth),
            "integer" => integer(schema, &mut self.rng),
            "number" => number(schema, &mut self.rng),
            "boolean" => Value::Bool(self.rng.bool()),
            "null" => Value::Null,
            _ => Value::String(self.string(schema, name)),
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut object = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let wanted = depth < SPARSE && property != &Value::Bool(false);
            if wanted || required.contains(&name.as_str()) {
                object.insert(name.clone(), self.value(property, name, depth + 1));
            }
        }
        let others = &schema["additionalProperties"];
        for name in required {
            if !object.contains_key(name) {
                object.insert(name.to_owned(), self.value(others, name, depth + 1));
            }
        }
        let fewest = bound(schema, "minProperties").unwrap_or(0);
        for i in 1.. {
            if object.len() >= fewest || others == &Value::Bool(false) {
                break;
            }
            object.insert(format!("entry_{i}"), self.value(others, "entry", depth + 1));
        }
        Value::Object(object)
    }

    fn array(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        let fewest = bound(schema, "minItems").unwrap_or(0);
        let most = bound(schema, "maxItems").unwrap_or(usize::MAX);
        let natural = if depth < SPARSE { self.rng.usize(2..=3) } else { 0 };
        let prefix = schema["prefixItems"].as_array().map_or(&[][..], Vec::as_slice);
        let mut first = prefix.iter();
        let length = natural.max(prefix.len()).max(fewest).min(most);
        let items = &schema["items"];
        let unique = schema["uniqueItems"] == true;
        let mut array: Vec<Value> = Vec::with_capacity(length.min(64));
        // A value that comes twice is drawn again a few times, and an enumeration is walked in order.
        let choices = items["enum"].as_array().filter(|_| unique);
        let mut draws = length.saturating_mul(8);
        while array.len() < length && draws > 0 {
            draws -= 1;
            let value = match (first.next(), choices.and_then(|all| all.get(array.len()))) {
                (Some(fixed), _) => self.value(fixed, name, depth + 1),
                (None, Some(choice)) => choice.clone(),
                (None, None) => self.value(items, name, depth + 1),
            };
            if !unique || !array.contains(&value) {
                array.push(value);
            }
        }
        Value::Array(array)
    }

    fn string(&mut self, schema: &Value, name: &str) -> String {
        if let Some(text) = schema["format"]
            .as_str()
            .and_then(|format| self.formatted(format))
        {
            return text;
        }
        let (fewest, most) = (
            bound(schema, "minLength").unwrap_or(0),
            bound(schema, "maxLength"),
        );
        let mut text = String::new();
        if is_short(name) {
            let (a, b) = two_keywords(self.theme, &mut self.rng);
            text = format!("{a} {b}");
        } else {
            sentence(&mut text, self.theme, &mut self.rng);
        }
        let free = most.is_none() && schema["pattern"].is_null();
        if let Some(marker) = self.marker.take_if(|_| free) {
            text.push(' ');
            text.push_str(marker);
        }
        while text.chars().count() < fewest {
            text.push(' ');
            sentence(&mut text, self.theme, &mut self.rng);
        }
        if let Some((cut, _)) = most.and_then(|most| text.char_indices().nth(most)) {
            text.truncate(cut);
        }
        text
    }

    fn formatted(&mut self, format: &str) -> Option<String> {
        let n = self.rng.u32(1..=28);
        Some(match format {
            "date" => format!("2026-01-{n:02}"),
            "time" => format!("08:{n:02}:00Z"),
            "date-time" => format!("2026-01-{n:02}T08:00:00Z"),
            "email" => format!("reader{n}@example.com"),
            "uri" | "url" => format!("https://example.com/source/{n}"),
            "uuid" => {
                let bits = self.rng.u64(..);
                format!(
                    "{:08x}-{:04x}-4000-8000-{:012x}",
                    bits >> 32,
                    bits & 0xffff,
                    bits & 0xffff_ffff
                )
            }
            _ => return None,
        })
    }
}

/// The first branch; deep down the one that ends a recursion, if there is one.
fn branch(branches: &[Value], depth: usize) -> &Value {
    let ending = || {
        branches
            .iter()
            .find(|branch| branch["type"] == "null")
            .or(branches.last())
    };
    let chosen = if depth < SPARSE {
        branches.first()
    } else {
        ending()
    };
    chosen.unwrap_or(&Value::Null)
}

/// The type to make: the named one, the first of several that is not null, or the one its keywords imply.
fn kind(schema: &Value, depth: usize) -> &str {
    match &schema["type"] {
        Value::String(kind) => kind,
        Value::Array(kinds) => {
            let null_will_do = depth >= SPARSE && kinds.iter().any(|kind| kind == "null");
            let real = kinds
                .iter()
                .filter_map(Value::as_str)
                .find(|&kind| kind != "null");
            if null_will_do {
                "null"
            } else {
                real.unwrap_or("null")
            }
        }
        _ => {
            let has = |keys: &[&str]| keys.iter().any(|key| schema.get(key).is_some());
            if has(&["properties", "required", "minProperties"]) {
                "object"
            } else if has(&["items", "prefixItems", "minItems"]) {
                "array"
            } else if has(&[
                "minimum",
                "maximum",
                "exclusiveMinimum",
                "exclusiveMaximum",
                "multipleOf",
            ]) {
                "number"
            } else {
                "string"
            }
        }
    }
}

/// One schema that asks for all that `parts` ask for; properties and required names add up.
fn merge(root: &Value, schema: &Value, parts: &[Value]) -> Value {
    let mut merged = schema.as_object().cloned().unwrap_or_default();
    merged.remove("allOf");
    for part in parts {
        let target = part["$ref"]
            .as_str()
            .and_then(|at| root.pointer(at.strip_prefix('#')?))
            .unwrap_or(part);
        for (key, value) in target.as_object().into_iter().flatten() {
            match (merged.get_mut(key), value) {
                (Some(Value::Object(known)), Value::Object(more)) => known.extend(more.clone()),
                (Some(Value::Array(known)), Value::Array(more)) if key == "required" => {
                    known.extend(more.clone());
                }
                _ => {
                    merged.insert(key.clone(), value.clone());
                }
            }
        }
    }
    Value::Object(merged)
}

fn bound(schema: &Value, key: &str) -> Option<usize> {
    schema[key].as_u64().and_then(|bound| usize::try_from(bound).ok())
}

/// Properties with such names hold a phrase, all others a sentence.
fn is_short(name: &str) -> bool {
    const SHORT: &[&str] = &[
        "title", "name", "query", "queries", "keyword", "topic", "label", "tag", "heading", "id",
    ];
    let name = name.to_ascii_lowercase();
    SHORT
        .iter()
        .any(|short| name.trim_end_matches('s').ends_with(short) || name.ends_with(short))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made(schema: &Value, seed: u64) -> Value {
        let theme = Theme::of("Compare heat pumps with gas boilers for old houses");
        instance(schema, &theme, "[mock 0000]", Rng::with_seed(seed))
    }

    #[test]
    fn bounds_hold_for_many_seeds() {
        let schema = json!({"type": "object", "required": ["n", "x", "s", "list", "set"], "properties": {
            "n": {"type": "integer", "minimum": 3, "maximum": 5},
            "x": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "s": {"type": "string", "minLength": 200, "maxLength": 210},
            "list": {"type": "array", "items": {"type": ["null", "string"]}, "maxItems": 1},
            "set": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": true, "minItems": 3},
            "fixed": {"const": 7},
        }});
        for seed in 0..200 {
            let value = made(&schema, seed);
            assert!((3..=5).contains(&value["n"].as_i64().expect("an integer")));
            let x = value["x"].as_f64().expect("a number");
            assert!(x > 0.0 && x <= 1.0);
            assert!((200..=210).contains(&value["s"].as_str().expect("a string").chars().count()));
            assert!(value["list"].as_array().expect("a list").len() == 1 && value["list"][0].is_string());
            assert_eq!(value["set"], json!(["a", "b", "c"]));
            assert_eq!(value["fixed"], 7);
        }
    }

    #[test]
    fn recursion_ends_where_the_schema_lets_it() {
        let schema = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object",
            "required": ["title", "children", "next"], "properties": {
                "title": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        }}}});
        let value = made(&schema, 1);
        assert!(value["children"][0]["title"].is_string() && value["next"]["next"]["title"].is_string());
        assert!(value.to_string().len() < 1_000_000);
    }

    #[test]
    fn an_endless_schema_is_cut() {
        let schema = json!({"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#"}}});
        assert!(made(&schema, 1).to_string().len() < 1000);
    }

    #[test]
    fn all_parts_of_all_of_are_there() {
        let schema = json!({"allOf": [{"$ref": "#/$defs/a"}, {"properties": {"y": {"type": "boolean"}}, "required": ["y"]}],
            "$defs": {"a": {"type": "object", "properties": {"x": {"type": "null"}}, "required": ["x"]}}});
        let value = made(&schema, 1);
        assert!(value["x"].is_null() && value["y"].is_boolean());
    }

    #[test]
    fn one_free_string_carries_the_marker() {
        let schema = json!({"type": "array", "minItems": 3, "items": {"type": "string"}});
        let text = made(&schema, 1).to_string();
        assert_eq!(text.matches("[mock 0000]").count(), 1, "{text}");
    }
}
