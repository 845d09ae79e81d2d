//! The JSON shapes of chunks and plain answers, borrowed from the text they were read from.
//!
//! Servers agree on the names of fields far more than on their types, so each field is read as loosely
//! as its use allows: a wrong type in a field we merely report must not cost an answer.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// `chat.completion.chunk`, and `chat.completion` as well: they differ in `delta` and `message` only.
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
}

impl<'a> Chunk<'a> {
    /// Reads an object; serde alone would also take an array for a struct without its names.
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
            || (self.choices.is_none() && self.code.is_some() && self.message.is_some())
    }
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
    /// Whether it is the answer that was asked for, and not a further one. What is no number says nothing.
    pub(super) fn is_first(&self) -> bool {
        let number = self.index.and_then(|raw| raw.get().parse::<f64>().ok());
        number.is_none_or(|number| number == 0.0)
    }

    /// The error `OpenRouter` puts into the choice that it ends with.
    pub(super) fn error(&self) -> Option<&'a RawValue> {
        self.error.filter(|raw| !is_blank(raw))
    }
}

/// What a chunk adds. `role` and `tool_calls` count as signs of life, nothing more.
#[derive(Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(default)]
    pub(super) role: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) tool_calls: Option<IgnoredAny>,
    #[serde(borrow, default)]
    pub(super) content: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) refusal: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) reasoning_content: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) reasoning: Option<Text<'a>>,
}

/// An error member that says nothing; some gateways put one into every chunk.
fn is_blank(raw: &RawValue) -> bool {
    matches!(raw.get(), "{}" | "\"\"" | "false" | "[]")
}

/// Text, however it was written: a string, a number, or a list of parts whose texts are joined.
///
/// This stands in for serde's `untagged`, which would buffer every value; and `Option<Cow<str>>` would
/// never borrow.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor).map(Text)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a list of text parts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Cow::Owned(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Cow::Owned(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Cow::Owned(number.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let mut joined = String::new();
        while let Some(Text(part)) = parts.next_element()? {
            joined.push_str(&part);
        }
        Ok(Cow::Owned(joined))
    }

    /// A part: only its `text` counts, so that a part with reasoning or an image adds nothing.
    fn visit_map<A: MapAccess<'de>>(self, mut part: A) -> Result<Self::Value, A::Error> {
        let mut text = Cow::Borrowed("");
        while let Some(Text(name)) = part.next_key()? {
            if name == "text" {
                text = part.next_value::<Text<'de>>()?.0;
            } else {
                part.next_value::<IgnoredAny>()?;
            }
        }
        Ok(text)
    }
}
