//! The form of an answer, and the reading of a model's text in that form.
//!
//! A model's text is untrusted. It may be no JSON, incomplete JSON, the wrong JSON, or ten thousand items. Each text
//! is read as a value that fits the schema, or gives an error message that the model can be shown.

use std::sync::Arc;

use minijinja::{Environment, context};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::basis;
use super::language::Language;
use crate::domain::ids::shortened;
use crate::llm::{OutputSchema, strip_think};

/// Schema errors in a message. More of them would not help the model.
const TOLD: usize = 3;

/// The form of an agent's answer.
#[derive(Debug, Clone)]
pub enum Form {
    /// Free text.
    Text,
    /// A JSON object.
    Json(Arc<Schema>),
}

/// A JSON schema, ready to send and to validate with.
#[derive(Debug)]
pub struct Schema {
    /// The schema.
    pub value: Value,
    /// The schema as it was written. Models fill objects in its order.
    written: Box<RawValue>,
    validator: jsonschema::Validator,
    /// Whether its items have a list `basis`.
    has_basis: bool,
}

impl Form {
    /// Reads a schema, which may use `actions`. `Err` holds the line of the fault and the reason.
    pub(super) fn json(template: &str, actions: &[String]) -> Result<Self, (usize, String)> {
        let text = Environment::new()
            .render_str(template, context! { actions => actions.to_vec() })
            .map_err(|error| (error.line().unwrap_or(1), error.to_string()))?;
        Self::of_schema(&text)
    }

    /// Reads a schema. `Err` holds the line of the fault and the reason.
    pub(super) fn of_schema(text: &str) -> Result<Self, (usize, String)> {
        let value: Value = serde_json::from_str(text).map_err(|error| (error.line(), error.to_string()))?;
        let validator = jsonschema::validator_for(&value).map_err(|error| (1, error.to_string()))?;
        if value["type"] != "object" {
            return Err((1, "its root must have the type `object`".to_owned()));
        }
        let written =
            RawValue::from_string(text.trim().to_owned()).map_err(|error| (1, error.to_string()))?;
        Ok(Self::Json(Arc::new(Schema {
            has_basis: basis::is_declared(&value),
            value,
            written,
            validator,
        })))
    }

    /// Whether the items name the material that they rest on.
    pub(super) fn has_basis(&self) -> bool {
        matches!(self, Self::Json(schema) if schema.has_basis)
    }

    /// Returns the schema for the request under this name; `None` for free text.
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
    /// Returns the object in the text if it fits the schema, else an error message.
    pub(super) fn read(&self, text: &str) -> Result<Map<String, Value>, String> {
        let mut value = self.wrapped(value_in(text)?);
        basis::complete(&self.value, &mut value);
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

    /// Reads an unfinished text. Returns its object with the complete entries of its list, and the number of bytes
    /// behind the last of them.
    pub(super) fn read_begun(&self, text: &str) -> Result<(Map<String, Value>, usize), String> {
        let answer = strip_think(text);
        let (begin, end) = whole_entries(answer).ok_or("the answer has no whole item")?;
        let object = self.read(&format!("{}]}}", answer.get(begin..end).unwrap_or_default()))?;
        Ok((object, answer.len() - end))
    }

    /// Wraps a bare list in an object, if the schema has an object with exactly one list.
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

/// Returns the JSON in an answer and ignores reasoning, a code fence and sentences around it. A text that is JSON as a
/// whole is read first, because its strings may hold such marks.
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
    // A string inside the JSON may look like the end of reasoning, if an object ends after it.
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

/// Returns the object in a text, else the list.
fn within(text: &str) -> Option<Value> {
    let between = |open: char, close: char| {
        let (start, end) = (text.find(open)?, text.rfind(close)?);
        serde_json::from_str(text.get(start..=end)?).ok()
    };
    between('{', '}').or_else(|| between('[', ']'))
}

/// Returns the start of an object and the end of the last complete object in its list.
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

/// Returns the content of a Markdown code fence, or the whole text without a fence.
fn unfenced(text: &str) -> &str {
    let Some((_, after)) = text.split_once("```") else {
        return text;
    };
    let inner = after.split_once("```").map_or(after, |(inner, _)| inner);
    // The language is on the line of the opening fence.
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
