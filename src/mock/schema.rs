//! An instance of a JSON schema, with strings made from the prompt.
//!
//! Honoured: type (also a list), properties, required, items, prefixItems, minItems, maxItems, uniqueItems,
//! enum, const, string lengths and the common formats, number bounds and multipleOf, anyOf and oneOf (first
//! branch), allOf (merged), and $ref inside the document. Ignored: pattern, not, if/then/else,
//! dependencies. Lists of tasks and of tags, and titles and sources, are told by their names and get what
//! people would put there, inside the same bounds. Recursive schemas end because deep values keep to what is required, and nothing goes
//! deeper than `DEEPEST`.

use std::ops::RangeInclusive;

use fastrand::Rng;
use serde_json::{Map, Value};

use super::keywords::Theme;
use super::number::{integer, number};
use super::plan;
use super::strings::{Words, bound, is_tags};

/// From here on optional properties and items are left out.
const SPARSE: usize = 6;
/// Nothing is nested deeper; a schema that demands it gets `null` there.
const DEEPEST: usize = 32;

/// An instance of `schema`. The first string that is free to say anything ends with `marker`.
pub(crate) fn instance(schema: &Value, theme: &Theme<'_>, marker: &str, rng: Rng) -> Value {
    Maker {
        root: schema,
        words: Words::new(theme, marker, rng),
    }
    .value(schema, "", 0)
}

struct Maker<'a> {
    root: &'a Value,
    words: Words<'a>,
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
            return choices[self.words.rng.usize(..choices.len())].clone();
        }
        if let Some(target) = referred(self.root, schema) {
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
            "object" => self.object(schema, Map::new(), depth),
            "array" => self.array(schema, name, depth),
            "integer" => integer(schema, &mut self.words.rng),
            "number" => number(schema, &mut self.words.rng),
            "boolean" => Value::Bool(self.words.rng.bool()),
            "null" => Value::Null,
            _ if name == "source" && is_nullable(schema) => self.words.source(schema),
            _ => Value::String(self.words.string(schema, name)),
        }
    }

    /// An object that has the properties of `object` already.
    fn object(&mut self, schema: &Value, mut object: Map<String, Value>, depth: usize) -> Value {
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let wanted = depth < SPARSE && property != &Value::Bool(false);
            if (wanted || required.contains(&name.as_str())) && !object.contains_key(name) {
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
        let items = resolved(self.root, &schema["items"]);
        let actions = plan::choices(resolved(self.root, &items["properties"]["action"]));
        if !actions.is_empty() {
            self.plan(schema, items, &actions, depth)
        } else if is_free(items) && is_tags(name, items) {
            let count = self.length(schema, 3..=5, depth);
            let tags = self.words.tags(count, bound(items, "maxLength"));
            tags.into_iter().map(Value::String).collect()
        } else {
            self.list(schema, name, depth)
        }
    }

    /// How long the list is that `schema` asks for, if it is `natural` that it leaves the choice.
    fn length(&mut self, schema: &Value, natural: RangeInclusive<usize>, depth: usize) -> usize {
        let fewest = bound(schema, "minItems").unwrap_or(0);
        let most = bound(schema, "maxItems").unwrap_or(usize::MAX);
        let natural = if depth < SPARSE {
            self.words.rng.usize(natural)
        } else {
            0
        };
        natural.max(fewest).min(most)
    }

    fn list(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        let prefix = schema["prefixItems"].as_array().map_or(&[][..], Vec::as_slice);
        let mut first = prefix.iter();
        let most = bound(schema, "maxItems").unwrap_or(usize::MAX);
        let length = self.length(schema, 2..=3, depth).max(prefix.len().min(most));
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

    /// A list of tasks, of which two do the same only if there are fewer actions than `schema` asks for.
    fn plan(&mut self, schema: &Value, task: &Value, actions: &[&str], depth: usize) -> Value {
        let fewest = bound(schema, "minItems").unwrap_or(0);
        let most = self.length(schema, 3..=5, depth);
        let walk = plan::walk(actions, self.words.theme, most);
        let length = walk.len().max(fewest).min(most);
        let steps = walk.into_iter().cycle().take(length);
        steps.map(|action| self.task(task, action, depth + 1)).collect()
    }

    fn task(&mut self, schema: &Value, action: &str, depth: usize) -> Value {
        let brief = plan::brief(action, self.words.theme, &mut self.words.rng);
        let free = |name| schema["properties"].get(name).filter(|text| is_free(text));
        let mut task = Map::new();
        task.insert("action".into(), action.into());
        if let Some(description) = free("description") {
            let text = self.words.sized(brief.description, description);
            task.insert("description".into(), text.into());
        }
        if let Some(input) = free("input") {
            let text = self.words.free(brief.input, input);
            task.insert("input".into(), text.into());
        }
        self.object(schema, task, depth)
    }
}

/// What `schema` refers to inside the document.
fn referred<'s>(root: &'s Value, schema: &Value) -> Option<&'s Value> {
    let at = schema["$ref"].as_str()?;
    root.pointer(at.strip_prefix('#')?)
}

fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    referred(root, schema).unwrap_or(schema)
}

/// Whether `schema` is one of strings that may say anything.
fn is_free(schema: &Value) -> bool {
    let bonds = ["enum", "const", "format"];
    schema.get("type").is_some()
        && kind(schema, 0) == "string"
        && bonds.iter().all(|key| schema.get(key).is_none())
}

/// Whether `schema` has null among its types.
fn is_nullable(schema: &Value) -> bool {
    schema["type"]
        .as_array()
        .is_some_and(|kinds| kinds.iter().any(|kind| kind == "null"))
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
        let target = referred(root, part).unwrap_or(part);
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
