//! The JSON shapes of chunks and whole answers, borrowed from the source text.
//!
//! Servers agree on the names of fields far more than on their types. So each field is read as loosely as its use
//! allows: a wrong type in a field that is only reported must not fail the answer.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::llm::wire::loose;
use crate::llm::wire::text::{Text, is_blank};

/// `chat.completion.chunk` and `chat.completion`. They differ only in `delta` and `message`.
#[derive(Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) model: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) service_tier: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) object: Option<Text<'a>>,
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) code: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) message: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    base_resp: Option<&'a RawValue>,
}

impl<'a> Chunk<'a> {
    /// Reads an object. serde alone would also accept an array as a struct without names.
    pub(super) fn parse(json: &'a str) -> serde_json::Result<Self> {
        if json.starts_with('{') {
            serde_json::from_str(json)
        } else {
            Err(serde::de::Error::custom("expected a JSON object"))
        }
    }

    /// Whether this is one of the shapes in which servers report an error inside an answer.
    pub(super) fn is_error(&self) -> bool {
        let named = |text: &Option<Text<'_>>| text.as_ref().is_some_and(|text| text.0 == "error");
        self.error.is_some_and(|raw| !is_blank(raw))
            || named(&self.object)
            || named(&self.kind)
            || (self.choices.is_none() && self.message.is_some() && self.code.as_ref().is_some_and(is_fault))
            || self.base_resp.is_some_and(is_bad_base)
    }
}

/// Whether a code is that of an error. Spark and others send 0 for success.
fn is_fault(Text(code): &Text<'_>) -> bool {
    !matches!(code.as_ref(), "" | "0" | "200")
}

/// Whether `base_resp` of `MiniMax` names an error.
fn is_bad_base(base: &RawValue) -> bool {
    let base: Option<Value> = serde_json::from_str(base.get()).ok();
    base.and_then(|base| base.get("status_code")?.as_i64())
        .is_some_and(|code| code != 0)
}

/// One entry of `choices`. Azure sends some without a `delta`.
#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(borrow, default)]
    index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    pub(super) message: Option<Delta<'a>>,
    #[serde(borrow, default)]
    pub(super) finish_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

impl<'a> Choice<'a> {
    /// Whether it is the first choice. An index that is not a number counts as the first.
    pub(super) fn is_first(&self) -> bool {
        let number = self
            .index
            .and_then(|raw| raw.get().trim_matches('"').parse::<f64>().ok());
        number.is_none_or(|number| number == 0.0)
    }

    /// Returns the error that `OpenRouter` puts into its last choice.
    pub(super) fn error(&self) -> Option<&'a RawValue> {
        self.error.filter(|raw| !is_blank(raw))
    }
}

/// The content of a chunk.
#[derive(Default)]
pub(super) struct Delta<'a> {
    /// Whether it names a role. A role shows only that the server has begun.
    pub(super) role: bool,
    pub(super) content: Option<Text<'a>>,
    pub(super) refusal: Option<Text<'a>>,
    pub(super) reasoning_content: Option<Text<'a>>,
    pub(super) reasoning: Option<Text<'a>>,
    /// Whether it calls a tool.
    pub(super) tools: bool,
    /// Whether it holds any other non-empty member: `reasoning_details`, or reasoning among the parts of its content.
    pub(super) other: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Delta<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DeltaVisitor)
    }
}

struct DeltaVisitor;

impl<'de> Visitor<'de> for DeltaVisitor {
    type Value = Delta<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    /// Reads a list as an empty object, because PHP writes `[]` for `{}`.
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Delta::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut delta = Delta::default();
        while let Some(Text(name)) = members.next_key()? {
            match name.as_ref() {
                "role" => {
                    members.next_value::<IgnoredAny>()?;
                    delta.role = true;
                }
                "content" => {
                    let raw: &RawValue = members.next_value()?;
                    // Content parts may hold reasoning beside text.
                    delta.other |= raw.get().starts_with(['[', '{']) && !is_blank(raw);
                    let text: Option<Text<'_>> = serde_json::from_str(raw.get()).map_err(A::Error::custom)?;
                    delta.content = text;
                }
                "refusal" => delta.refusal = members.next_value()?,
                "reasoning_content" => delta.reasoning_content = members.next_value()?,
                "reasoning" => delta.reasoning = members.next_value()?,
                "tool_calls" | "function_call" => {
                    let raw: &RawValue = members.next_value()?;
                    delta.tools |= !is_blank(raw);
                }
                _ => {
                    let raw: &RawValue = members.next_value()?;
                    delta.other |= !is_blank(raw);
                }
            }
        }
        Ok(delta)
    }
}

/// Converts an object to the shape of a chunk.
fn reshaped(value: Value) -> Value {
    let Value::Object(mut chunk) = value else {
        return Value::Object(Map::new());
    };
    let choices = match chunk.remove("choices") {
        Some(Value::Array(choices)) => choices,
        Some(choice @ Value::Object(_)) => vec![choice],
        _ => return Value::Object(chunk),
    };
    let choices = choices.into_iter().filter_map(|choice| match choice {
        Value::Object(mut choice) => {
            for name in ["delta", "message"] {
                match choice.get_mut(name) {
                    None | Some(Value::Object(_)) => {}
                    Some(Value::String(text)) => {
                        let text = std::mem::take(text);
                        choice.insert(name.to_owned(), serde_json::json!({ "content": text }));
                    }
                    Some(_) => {
                        choice.remove(name);
                    }
                }
            }
            Some(Value::Object(choice))
        }
        _ => None,
    });
    let choices = choices.collect();
    chunk.insert("choices".to_owned(), Value::Array(choices));
    Value::Object(chunk)
}

/// Returns the chunk that malformed JSON, or JSON of another shape, stands for.
pub(super) fn mend(json: &str) -> Option<String> {
    let value = loose::read(json).filter(Value::is_object)?;
    Some(reshaped(value).to_string())
}
