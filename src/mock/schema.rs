//! Makes an instance of a JSON schema.
//!
//! Supported: type (also a list), properties, required, items, minItems, maxItems, uniqueItems of an enumeration,
//! enum, const, string lengths and the common formats, number bounds and multipleOf, anyOf and oneOf (first
//! branch), allOf (merged), and $ref inside the document. Everything else is ignored, also pattern. A recursive
//! schema ends: deep values have required properties only, and nothing is nested deeper than `DEEPEST`.
//!
//! Three properties refer to the prompt: `quote` with `source` and `content`, `basis`, and `queries`.

use serde_json::{Map, Value};

use super::grounding::{self, Quotation};
use super::number::number;
use super::plan;
use super::samples::{self, SampleRow};
use super::strings::{bound, filler, formatted, is_free, sized};
use super::topic::Topic;

/// From this depth on, optional properties and items are left out.
const SPARSE: usize = 6;
/// The greatest depth. A schema that requires more gets `null` there.
const DEEPEST: usize = 32;

/// Returns an instance of `schema`, which has the name `name` in the request. `draw` decides where the schema leaves a
/// choice. The first string that may have any length ends with `marker`.
pub(crate) fn instance(schema: &Value, name: &str, topic: &Topic<'_>, marker: &str, draw: usize) -> Value {
    let mut filler = Filler {
        root: schema,
        topic,
        marker: Some(marker),
        draw,
        item: 0,
        sample: samples::row(name, topic.language),
        action: None,
    };
    filler.value(schema, "", 0)
}

struct Filler<'a> {
    root: &'a Value,
    topic: &'a Topic<'a>,
    /// The marker, until a string has taken it.
    marker: Option<&'a str>,
    draw: usize,
    /// The place in the innermost list, from 0.
    item: usize,
    sample: Option<SampleRow>,
    /// The action of the task in a plan.
    action: Option<String>,
}

impl Filler<'_> {
    fn value(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        let draw = self.draw + self.item;
        if depth > DEEPEST {
            return Value::Null;
        }
        if let Some(fixed) = schema.get("const") {
            return fixed.clone();
        }
        if let Some(choices) = schema["enum"].as_array().filter(|choices| !choices.is_empty()) {
            let planned = self.action.clone().filter(|_| name == "action");
            return planned.map_or_else(|| choices[draw % choices.len()].clone(), Value::String);
        }
        if let Some(target) = referred(self.root, schema) {
            return self.value(target, name, depth + 1);
        }
        if let Some(branches) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
            return self.value(branch(branches, depth), name, depth + 1);
        }
        if let Some(parts) = schema["allOf"].as_array() {
            return self.value(&merge(self.root, schema, parts), name, depth + 1);
        }
        match kind(schema, depth) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, name, depth),
            "integer" => number(schema, true, draw),
            "number" => number(schema, false, draw),
            "boolean" => Value::Bool(draw.is_multiple_of(2)),
            "null" => Value::Null,
            _ => Value::String(self.string(schema, name)),
        }
    }

    fn string(&mut self, schema: &Value, name: &str) -> String {
        if let Some(text) = formatted(schema, self.item) {
            return text;
        }
        let row = self.sample.as_ref();
        let text = row.and_then(|row| samples::text(row, name, self.topic, self.item));
        let mut text = text.unwrap_or_else(|| filler(name, self.topic.language, self.item));
        // In a task the marker goes into the instruction, for the next prompt. People read the description.
        let is_description = self.action.is_some() && name == "description";
        if !is_description {
            text = self.marked(text, schema);
        }
        sized(text, schema)
    }

    /// Adds the marker to the first text that may have any length.
    fn marked(&mut self, mut text: String, schema: &Value) -> String {
        if let Some(marker) = self.marker.take_if(|_| is_free(schema)) {
            text.push(' ');
            text.push_str(marker);
        }
        text
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let required = || {
            schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
        };
        let mut object = self.grounded(schema);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let wanted = depth < SPARSE && property != &Value::Bool(false);
            let is_open = !object.contains_key(name);
            if is_open && (wanted || required().any(|required| required == name)) {
                object.insert(name.clone(), self.value(property, name, depth + 1));
            }
        }
        for name in required() {
            if !object.contains_key(name) {
                let value = self.value(&schema["additionalProperties"], name, depth + 1);
                object.insert(name.to_owned(), value);
            }
        }
        Value::Object(object)
    }

    /// Returns the properties of a fact: a quote of a search result, its id, and the content that rests on it. Without
    /// search results both are null. Returns nothing for other objects.
    fn grounded(&mut self, schema: &Value) -> Map<String, Value> {
        let properties = &schema["properties"];
        let mut object = Map::new();
        if properties["quote"].is_null() || properties["source"].is_null() {
            return object;
        }
        let found = grounding::quotation(self.topic.prompt, self.item);
        object.insert("quote".to_owned(), found.map(|found| found.sentence).into());
        object.insert("source".to_owned(), found.map(|found| found.id).into());
        if let Some(Quotation { sentence, .. }) = found.filter(|_| !properties["content"].is_null()) {
            let fact = grounding::fact(sentence, self.topic);
            let fact = self.marked(fact, &properties["content"]);
            object.insert("content".to_owned(), sized(fact, &properties["content"]).into());
        }
        object
    }

    /// Returns the texts of a list that refers to the prompt: ids of earlier items, or search queries.
    fn referring(&self, schema: &Value, name: &str) -> Option<Vec<String>> {
        let least = bound(schema, "minItems").unwrap_or(0);
        let most = bound(schema, "maxItems").unwrap_or(usize::MAX);
        match name {
            "basis" => {
                let ids = grounding::item_ids(self.topic.prompt);
                let turned = ids.iter().cycle().skip(self.item % ids.len().max(1));
                let count = least.max(1).min(most).min(ids.len());
                Some(turned.take(count).map(|&id| id.to_owned()).collect())
            }
            "queries" => {
                let count = (1 + self.draw % 3).max(least).min(most);
                Some(
                    (0..count)
                        .map(|number| grounding::query(self.topic, number))
                        .collect(),
                )
            }
            _ => None,
        }
    }

    fn array(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        let items = resolved(self.root, &schema["items"]);
        if kind(items, depth) == "string"
            && items["enum"].is_null()
            && let Some(texts) = self.referring(schema, name)
        {
            return texts.into();
        }
        let least = bound(schema, "minItems").unwrap_or(0);
        let mut most = bound(schema, "maxItems").unwrap_or(usize::MAX);
        if let (Some(choices), Value::Bool(true)) = (items["enum"].as_array(), &schema["uniqueItems"]) {
            most = most.min(choices.len());
        }
        if name == "basis" {
            return self.topic.item_ids().into_iter().map(Value::from).collect();
        }
        let actions = resolved(self.root, &items["properties"]["action"])["enum"].as_array();
        let actions: Vec<&str> = actions.into_iter().flatten().filter_map(Value::as_str).collect();
        let known = self.sample.as_ref().map_or(0, samples::items);
        // Lists of strings are often tags, and platforms require three.
        let natural = match kind(items, depth) {
            _ if depth >= SPARSE => 0,
            _ if !actions.is_empty() => 4 + self.draw % 2,
            "string" => 3,
            _ if known > 0 => known.min(2 + self.draw % 2),
            _ => 2 + self.draw % 2,
        };
        let mut length = natural.max(least).min(most);
        let plan = plan::actions(&actions, self.topic, length);
        if !plan.is_empty() {
            length = plan.len().max(least).min(most);
        }
        let (item, sample) = (self.item, self.sample.clone());
        let mut array = Vec::new();
        for at in 0..length {
            self.item = at;
            if let Some(&action) = plan.iter().cycle().nth(at) {
                self.action = Some(action.to_owned());
                let row = |name| samples::row(name, self.topic.language);
                self.sample = row(action).or_else(|| row("other task"));
            }
            array.push(self.value(items, name, depth + 1));
        }
        (self.item, self.sample, self.action) = (item, sample, None);
        Value::Array(array)
    }
}

/// Returns the part of the document that `schema` refers to.
fn referred<'s>(root: &'s Value, schema: &Value) -> Option<&'s Value> {
    let at = schema["$ref"].as_str()?;
    root.pointer(at.strip_prefix('#')?)
}

fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    referred(root, schema).unwrap_or(schema)
}

/// Returns the first branch. From depth `SPARSE` on, it returns the `null` branch or the last one, to end a recursion.
fn branch(branches: &[Value], depth: usize) -> &Value {
    let null = branches.iter().find(|branch| branch["type"] == "null");
    let chosen = if depth < SPARSE {
        branches.first()
    } else {
        null.or(branches.last())
    };
    chosen.unwrap_or(&Value::Null)
}

/// Returns the type to make: the named one, the first of several that is not null, or the one that its keywords imply.
fn kind(schema: &Value, depth: usize) -> &str {
    const IMPLIED: [(&str, &str); 6] = [
        ("properties", "object"),
        ("required", "object"),
        ("items", "array"),
        ("minItems", "array"),
        ("minimum", "number"),
        ("maximum", "number"),
    ];
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.as_slice(),
        kind => std::slice::from_ref(kind),
    };
    let mut real = kinds
        .iter()
        .filter_map(Value::as_str)
        .filter(|&kind| kind != "null");
    let nullable = kinds.iter().any(|kind| kind == "null");
    match real.next() {
        Some(kind) if depth < SPARSE || !nullable => kind,
        _ if nullable => "null",
        _ => {
            let implied = IMPLIED.iter().find(|(key, _)| schema.get(key).is_some());
            implied.map_or("string", |(_, kind)| kind)
        }
    }
}

/// Returns one schema with the requirements of all `parts`. Properties and required names add up.
fn merge(root: &Value, schema: &Value, parts: &[Value]) -> Value {
    let mut merged = schema.as_object().cloned().unwrap_or_default();
    merged.remove("allOf");
    for part in parts {
        for (key, value) in resolved(root, part).as_object().into_iter().flatten() {
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

    fn named(name: &str, schema: &Value, draw: usize) -> Value {
        let topic = Topic::of("Compare heat pumps with gas boilers for old houses");
        instance(schema, name, &topic, "[mock 0000]", draw)
    }

    fn made(schema: &Value, draw: usize) -> Value {
        named("report", schema, draw)
    }

    #[test]
    fn bounds_hold_for_many_draws() {
        let schema = json!({"type": "object", "required": ["n", "x", "s", "list", "set"], "properties": {
            "n": {"type": "integer", "minimum": 3, "maximum": 5},
            "x": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "s": {"type": "string", "minLength": 200, "maxLength": 210},
            "list": {"type": "array", "items": {"type": ["null", "string"]}, "maxItems": 1},
            "set": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": true, "minItems": 3},
            "fixed": {"const": 7},
        }});
        for draw in 0..200 {
            let value = made(&schema, draw);
            assert!((3..=5).contains(&value["n"].as_i64().expect("an integer")));
            let x = value["x"].as_f64().expect("a number");
            assert!(x > 0.0 && x <= 1.0);
            assert!((200..=210).contains(&value["s"].as_str().expect("a string").chars().count()));
            assert!(value["list"].as_array().expect("a list").len() == 1 && value["list"][0].is_string());
            let set = value["set"].as_array().expect("a list");
            assert!(set.len() == 3 && ["a", "b", "c"].iter().all(|&one| set.contains(&one.into())));
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
    fn a_plan_of_plans_ends() {
        let task = json!({"type": "object", "properties": {
            "action": {"enum": ["facts", "insight"]}, "steps": {"$ref": "#/$defs/plan"}}});
        let plan = json!({"type": "array", "items": task});
        let made = made(&json!({"$ref": "#/$defs/plan", "$defs": {"plan": plan}}), 1);
        assert_eq!(made[1]["steps"][0]["action"], "facts");
        assert!(made.to_string().len() < 10_000);
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

    #[test]
    fn fillers_carry_the_mark_and_the_name() {
        let text = json!({"type": "string"});
        let schema = json!({"type": "object", "properties": {
            "a": text, "b": text, "c": {"type": "array", "items": text}, "d": {"type": ["string", "null"]}}});
        let expected = json!({"a": "[mock] a 1 [mock 0000]", "b": "[mock] b 1",
            "c": ["[mock] c 1", "[mock] c 2", "[mock] c 3"], "d": "[mock] d 1"});
        assert_eq!(made(&schema, 1), expected);
        let chinese = instance(&text, "", &Topic::of("热泵"), "[mock 0000]", 1);
        assert_eq!(chinese, "[mock] text 示例 1 [mock 0000]");
    }

    #[test]
    fn a_known_name_gets_samples_and_fills_the_rest() {
        let text = json!({"type": "string"});
        let tags = json!({"type": "array", "items": text});
        let post = json!({"type": "object", "properties": {"title": text, "content": text, "cover": text, "tags": tags}});
        let list = json!({"type": "object", "properties": {"items": {"type": "array", "items": post}}});
        let made = named("xhs_writing", &list, 1);
        let items = made["items"].as_array().expect("a list");
        assert!(items.len() == 3 && items[0]["title"] != items[1]["title"]);
        for (place, item) in (1..).zip(items) {
            let content = item["content"].as_str().expect("a text");
            assert!(
                content.contains("Compare heat pumps with gas boilers for old houses"),
                "{content}"
            );
            assert_eq!(item["tags"].as_array().map(Vec::len), Some(3));
            assert_eq!(item["cover"], format!("[mock] cover {place}"));
        }
    }

    #[test]
    fn names_without_a_type_or_a_schema_are_strings() {
        let made = made(&json!({"required": ["x"], "properties": {"y": {}}}), 1);
        assert_eq!(made, json!({"y": "[mock] y 1 [mock 0000]", "x": "[mock] x 1"}));
    }

    /// A prompt with one earlier item of each kind, and with search results if `searched`.
    fn material(searched: bool) -> String {
        let results = "<<<s1\nOats\nhttps://example.com/1\nNine of ten people like oats.\ns1>>>\n";
        let results = if searched { results } else { "" };
        format!(
            "<<<insight1\nx\ninsight1>>>\n<<<hitpoint2\ny\nhitpoint2>>>\n{results}<<<task\nOats\ntask>>>\n"
        )
    }

    fn filled(schema: &Value, prompt: &str) -> Value {
        instance(schema, "facts", &Topic::of(prompt), "[mock 0000]", 1)
    }

    #[test]
    fn facts_quote_search_results() {
        let nullable = json!({"type": ["string", "null"]});
        let fact = json!({"type": "object", "required": ["content", "source", "quote"],
            "properties": {"content": {"type": "string"}, "source": nullable, "quote": nullable}});
        let list = json!({"type": "object", "properties": {"items": {"type": "array", "items": fact}}});
        let made = filled(&list, &material(true));
        for item in made["items"].as_array().expect("items") {
            assert_eq!(
                (&item["source"], &item["quote"]),
                (&json!("s1"), &json!("Nine of ten people like oats."))
            );
            let content = item["content"].as_str().expect("a text");
            assert!(
                content.starts_with("Nine of ten people like oats.\n"),
                "{content}"
            );
        }
        assert_eq!(made.to_string().matches("[mock 0000]").count(), 1, "{made}");
        let made = filled(&list, &material(false));
        let item = &made["items"][0];
        assert!(item["source"].is_null() && item["quote"].is_null(), "{made}");
        assert!(
            item["content"]
                .as_str()
                .expect("a text")
                .starts_with("To be checked"),
            "{made}"
        );
    }

    #[test]
    fn a_basis_names_earlier_items() {
        let item = json!({"type": "object", "properties":
            {"title": {"type": "string"}, "basis": {"type": "array", "items": {"type": "string"}}}});
        let list = json!({"type": "array", "items": item});
        let made = filled(&list, &material(true));
        assert_eq!(
            (&made[0]["basis"], &made[1]["basis"]),
            (&json!(["insight1"]), &json!(["hitpoint2"]))
        );
        assert_eq!(filled(&list, "Oats")[0]["basis"], json!([]));
        let text = json!({"type": "object", "properties": {"basis": {"type": "string"}}});
        assert_eq!(filled(&text, "Oats")["basis"], "[mock] basis 1 [mock 0000]");
    }

    #[test]
    fn queries_are_made_of_the_subject() {
        let queries = json!({"type": "array", "items": {"type": "string"}, "maxItems": 3});
        let schema = json!({"type": "object", "properties": {"queries": queries}});
        assert_eq!(
            filled(&schema, &material(false)),
            json!({"queries": ["Oats", "Oats price"]})
        );
    }
}
