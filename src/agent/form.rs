//! What an answer must look like, and reading what a model made of that.
//!
//! A model's text is untrusted: it may be no JSON, half of one, the wrong one, or ten thousand items. Each ends
//! in a value that fits the schema, or in a sentence that says what is wrong and can be shown to the model.

use std::sync::Arc;

use minijinja::{Environment, context};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::language::Language;
use crate::domain::ids::shortened;
use crate::llm::{OutputSchema, strip_think};

/// So many things that are wrong are told; more would not help the model.
const TOLD: usize = 3;

/// The form of an agent's answer.
#[derive(Debug, Clone)]
pub enum Form {
    /// Free text.
    Text,
    /// A JSON object.
    Json(Arc<Schema>),
}

/// A JSON schema, ready to be sent and to be checked against.
#[derive(Debug)]
pub struct Schema {
    /// The schema.
    pub value: Value,
    /// The schema as it was written: models fill objects in its order.
    written: Box<RawValue>,
    validator: jsonschema::Validator,
}

impl Form {
    /// The form of a schema, which may name `actions`; or the line that is wrong with it, and why.
    pub(super) fn json(template: &str, actions: &[String]) -> Result<Self, (usize, String)> {
        let text = Environment::new()
            .render_str(template, context! { actions => actions.to_vec() })
            .map_err(|error| (error.line().unwrap_or(1), error.to_string()))?;
        let value: Value = serde_json::from_str(&text).map_err(|error| (error.line(), error.to_string()))?;
        let validator = jsonschema::validator_for(&value).map_err(|error| (1, error.to_string()))?;
        if value["type"] != "object" {
            return Err((1, "its root must have the type `object`".to_owned()));
        }
        let written =
            RawValue::from_string(text.trim().to_owned()).map_err(|error| (1, error.to_string()))?;
        Ok(Self::Json(Arc::new(Schema {
            value,
            written,
            validator,
        })))
    }

    /// The schema that a model must be held to, under this name; `None` for free text.
    pub(super) fn output_schema<'a>(&'a self, name: &'a str, language: Language) -> Option<OutputSchema<'a>> {
        match self {
            Self::Json(schema) => Some(OutputSchema {
                name,
                schema: &schema.written,
                instruction: language.before_schema(),
            }),
            Self::Text => None,
        }
    }
}

impl Schema {
    /// The object that the text holds, if it fits; else what is wrong with it.
    pub(super) fn read(&self, text: &str) -> Result<Map<String, Value>, String> {
        let value = self.wrapped(value_in(text)?);
        let wrong: Vec<String> = self
            .validator
            .iter_errors(&value)
            .take(TOLD)
            .map(|error| {
                let place = error.instance_path().to_string();
                let place = if place.is_empty() { "/".to_owned() } else { place };
                format!(
                    "at `{}`: {}",
                    shortened(&place, 80),
                    shortened(&error.to_string(), 200)
                )
            })
            .collect();
        match value {
            Value::Object(object) if wrong.is_empty() => Ok(object),
            _ => Err(format!("the JSON does not fit the schema: {}", wrong.join("; "))),
        }
    }

    /// The object that an unfinished text begins, with those entries of its list that are whole; and how many bytes follow
    /// the last of them.
    pub(super) fn read_begun(&self, text: &str) -> Result<(Map<String, Value>, usize), String> {
        let answer = strip_think(text);
        let (begin, end) = whole_entries(answer).ok_or("the answer has no whole item")?;
        let object = self.read(&format!("{}]}}", answer.get(begin..end).unwrap_or_default()))?;
        Ok((object, answer.len() - end))
    }

    /// A bare list where the schema has an object of one list: the list was meant.
    fn wrapped(&self, value: Value) -> Value {
        let only = self.value["properties"]
            .as_object()
            .filter(|properties| properties.len() == 1)
            .and_then(|properties| properties.iter().next())
            .filter(|(_, property)| property["type"] == "array");
        match (value, only) {
            (list @ Value::Array(_), Some((name, _))) => {
                Value::Object(Map::from_iter([(name.clone(), list)]))
            }
            (value, _) => value,
        }
    }
}

/// The JSON in an answer, whatever stands around it: reasoning, a code fence, a sentence before or after. What is
/// JSON as it stands is taken so, for its texts may hold such marks themselves.
fn value_in(text: &str) -> Result<Value, String> {
    let whole = text.trim_start_matches('\u{feff}').trim();
    let answer = strip_think(whole).trim().trim_start_matches('\u{feff}');
    if answer.is_empty() {
        return Err("the answer is empty".to_owned());
    }
    let unfenced = unfenced(answer);
    let wrong = match serde_json::from_str(whole)
        .or_else(|_| serde_json::from_str(answer))
        .or_else(|_| serde_json::from_str(unfenced))
    {
        Ok(value) => return Ok(value),
        Err(wrong) => wrong,
    };
    // A text of the JSON itself may have looked like the end of reasoning, if what follows ends an object.
    let spanned = if answer.contains('}') { whole } else { "" };
    within(answer)
        .or_else(|| within(unfenced))
        .or_else(|| within(spanned))
        .ok_or_else(|| {
            format!(
                "the answer is no JSON ({wrong}); it begins with `{}`",
                shortened(answer, 60)
            )
        })
}

/// The object in a text, else the list.
fn within(text: &str) -> Option<Value> {
    let between = |open: char, close: char| {
        let (start, end) = (text.find(open)?, text.rfind(close)?);
        serde_json::from_str(text.get(start..=end)?).ok()
    };
    between('{', '}').or_else(|| between('[', ']'))
}

/// Where an object begins, and where the last whole object in its list ends.
fn whole_entries(text: &str) -> Option<(usize, usize)> {
    let begin = text.find('{')?;
    let (mut depth, mut quoted, mut escaped, mut end) = (0_u32, false, false, None);
    for (at, byte) in text.bytes().enumerate().skip(begin) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 2 && byte == b'}' {
                    end = Some(at + 1);
                }
            }
            _ => {}
        }
    }
    end.map(|end| (begin, end))
}

/// What a Markdown code fence holds, if there is one.
fn unfenced(text: &str) -> &str {
    let Some((_, after)) = text.split_once("```") else {
        return text;
    };
    let inner = after.split_once("```").map_or(after, |(inner, _)| inner);
    // The language stands on the line of the opening fence.
    match inner.split_once('\n') {
        Some((language, rest)) if !language.contains(['{', '[']) => rest.trim(),
        _ => inner.trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Schema {
        let text = r#"{"type":"object","required":["items"],"additionalProperties":false,"properties":{"items":
            {"type":"array","minItems":1,"items":{"type":"object","required":["content"],"additionalProperties":false,
            "properties":{"content":{"type":"string"}}}}}}"#;
        match Form::json(text, &[]).unwrap() {
            Form::Json(schema) => Arc::into_inner(schema).unwrap(),
            Form::Text => unreachable!(),
        }
    }

    #[test]
    fn json_is_found_in_what_stands_around_it() {
        let plain = r#"{"items":[{"content":"a"}]}"#;
        for text in [
            plain.to_owned(),
            format!("```json\n{plain}\n```"),
            format!("```\n{plain}\n```\nDone."),
            format!("<think>\n{{\"items\": 3}}\n</think>\n{plain}"),
            format!("Here it is:\n{plain}\nGood luck!"),
            "[{\"content\":\"a\"}]".to_owned(),
            format!("\u{feff}{plain}"),
        ] {
            let read = schema().read(&text).unwrap();
            assert_eq!(Value::Object(read).to_string(), plain, "{text}");
        }
    }

    #[test]
    fn whole_entries_of_an_unfinished_list_are_read() {
        let begun = r#"Sure: {"items":[{"content":"a \"]} b"},{"content":"c"},{"content":"d d d"#;
        let (read, left) = schema().read_begun(begun).unwrap();
        let expected = json!({"items": [{"content": "a \"]} b"}, {"content": "c"}]});
        assert_eq!(Value::Object(read), expected);
        assert_eq!(left, r#",{"content":"d d d"#.len());
        for begun in ["", "{", r#"{"items":[{"content":"a a a"#, "[[[[", "a a a"] {
            assert!(schema().read_begun(begun).is_err(), "{begun}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |text: &str| schema().read(text).unwrap_err();
        assert_eq!(wrong(" "), "the answer is empty");
        assert!(wrong("I cannot do that.").starts_with("the answer is no JSON"));
        assert!(wrong(r#"{"items":[{"content":"#).contains("EOF"));
        assert!(wrong(r#"{"items":[]}"#).contains("at `/items`"));
        assert!(wrong(r#"{"items":[{"content":1}]}"#).contains("at `/items/0/content`"));
        assert!(wrong(r#"{"list":[]}"#).contains("the JSON does not fit the schema"));
        assert!(wrong("<think>never ends").starts_with("the answer is empty"));
    }

    #[test]
    fn a_wrong_schema_names_its_line() {
        assert_eq!(Form::json("{\n\"type\":\n}", &[]).unwrap_err().0, 3);
        assert_eq!(
            Form::json("{\"type\":\"array\"}", &[]).unwrap_err().1,
            "its root must have the type `object`"
        );
        let named = Form::json(
            r#"{"type":"object","properties":{"a":{"enum":{{ actions | tojson }}}}}"#,
            &["insight".to_owned()],
        )
        .unwrap();
        let Form::Json(named) = named else { unreachable!() };
        assert_eq!(named.value["properties"]["a"]["enum"], json!(["insight"]));
    }
}
