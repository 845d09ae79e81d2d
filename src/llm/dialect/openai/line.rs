//! A Batch line. Its body is sent unchanged where possible. The fields for limits, prices and transport are read.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config;
use crate::domain::request::Endpoint;
use crate::llm::request::{VerbatimRequest, estimate_tokens};

/// The assumed length of an answer without a bound, for the limit of tokens a minute.
const UNBOUNDED_ANSWER: u64 = 4096;

/// A Batch line, prepared for one route.
#[derive(Debug)]
pub(in crate::llm) struct RoutedLine<'a> {
    body: &'a str,
    fields: BatchFields,
    endpoint: Endpoint,
    /// The model that replaces the model of the body.
    model: Option<&'a str>,
    /// The token field and its bound, if a bound is required and the body has none.
    bound: Option<(&'a str, u64)>,
    streams: bool,
    /// Whether the body requests a stream that is not possible.
    unstreamed: bool,
}

impl<'a> RoutedLine<'a> {
    /// Prepares the line for a route. With `capped`, the route's `max_tokens` bounds a chat without a bound of its
    /// own.
    pub(in crate::llm) fn new(
        line: &VerbatimRequest<'a>,
        settings: &'a config::RouteSettings,
        capped: bool,
    ) -> Self {
        let fields = batch_fields(line.body);
        let is_chat = line.endpoint == Endpoint::Chat;
        let bound = settings
            .max_tokens
            .filter(|_| capped && fields.max_tokens.is_none() && is_chat)
            .map(|tokens| (settings.token_field.as_str(), u64::from(tokens)));
        // Only the stream of a chat can be assembled again, and some routes do not stream.
        let streams = line.streams && is_chat && settings.stream;
        Self {
            body: line.body,
            fields,
            endpoint: line.endpoint,
            model: settings.model.as_deref().filter(|_| line.to_model_of_route),
            bound,
            streams,
            unstreamed: line.streams && !streams,
        }
    }

    /// Returns the model of the call.
    pub(in crate::llm) fn model(&self) -> String {
        let named = || self.fields.model.clone().unwrap_or_default();
        self.model.map_or_else(named, str::to_owned)
    }

    /// Returns the tokens that the call may use.
    pub(in crate::llm) fn tokens(&self) -> u64 {
        self.of_one_answer()
            .unwrap_or(UNBOUNDED_ANSWER)
            .saturating_mul(self.fields.answers)
            .saturating_add(self.fields.prompt_tokens)
    }

    /// Returns the largest number of tokens of all its answers. Only text has a bound.
    pub(in crate::llm) fn longest(&self) -> Option<u64> {
        self.of_one_answer()
            .filter(|_| self.fields.only_text)
            .map(|tokens| tokens.saturating_mul(self.fields.answers))
    }

    /// Whether the answer is streamed.
    pub(in crate::llm) const fn streams(&self) -> bool {
        self.streams
    }

    /// Returns the body, borrowed if it does not change.
    pub(in crate::llm) fn body(&self) -> Cow<'a, [u8]> {
        let unstreamed = self.unstreamed.then(|| unstreamed(self.body)).flatten();
        match unstreamed {
            Some(body) => {
                let changed = with_fields(&body, self.model, self.bound);
                Cow::Owned(changed.unwrap_or_else(|| body.into_bytes()))
            }
            None => match with_fields(self.body, self.model, self.bound) {
                Some(changed) => Cow::Owned(changed),
                None => Cow::Borrowed(self.body.as_bytes()),
            },
        }
    }

    fn of_one_answer(&self) -> Option<u64> {
        match self.endpoint {
            // Embeddings have no output tokens.
            Endpoint::Embeddings => Some(0),
            _ => self.fields.max_tokens.or(self.bound.map(|(_, tokens)| tokens)),
        }
    }
}

/// The fields of a raw body for limits, prices and transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchFields {
    /// Whether the body requests a stream.
    pub stream: bool,
    /// The token limit of an answer: `max_completion_tokens`, else `max_tokens`, else `max_output_tokens`.
    pub max_tokens: Option<u64>,
    /// The model in the body.
    pub model: Option<String>,
    /// The estimated tokens of the prompt; see [`batch_fields`].
    pub prompt_tokens: u64,
    /// The number of requested answers (`n`). Each may have `max_tokens` tokens.
    pub answers: u64,
    /// Whether prompt and answer are text only. The tokens of images and audio cannot be known in advance.
    pub only_text: bool,
}

/// Reads those fields. A field of an unexpected type counts as missing: the body is sent unchanged, and its provider
/// checks it. The last value of a repeated key counts, as for most readers.
///
/// Prompt tokens are estimated over the raw JSON of the prompt, the tools and the response format. The estimate is on
/// the high side, because the JSON has escapes and names beside the text. It is far too high for images inlined as
/// base64.
pub fn batch_fields(body: &str) -> BatchFields {
    let fields: HashMap<String, &RawValue> = serde_json::from_str(body).unwrap_or_default();
    let prompt_tokens = [
        "messages",
        "input",
        "prompt",
        "instructions",
        "tools",
        "response_format",
    ]
    .into_iter()
    .filter_map(|key| fields.get(key))
    .filter(|part| part.get() != "null")
    .map(|part| estimate_tokens(part.get()))
    .sum();
    BatchFields {
        stream: read(&fields, "stream").unwrap_or(false),
        max_tokens: ["max_completion_tokens", "max_tokens", "max_output_tokens"]
            .into_iter()
            .find_map(|key| read(&fields, key)),
        model: read(&fields, "model"),
        prompt_tokens,
        answers: read(&fields, "n").unwrap_or(1).max(1),
        only_text: only_text(&fields),
    }
}

fn only_text(fields: &HashMap<String, &RawValue>) -> bool {
    #[derive(Deserialize)]
    struct LineMessage<'a> {
        #[serde(borrow)]
        content: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct ContentPart {
        r#type: String,
    }
    let text = |content: &RawValue| match content.get().as_bytes().first() {
        Some(b'[') => {
            let parts: Option<Vec<ContentPart>> = serde_json::from_str(content.get()).ok();
            parts.is_some_and(|parts| {
                let known = |part: &ContentPart| matches!(part.r#type.as_str(), "text" | "refusal");
                parts.iter().all(known)
            })
        }
        _ => true,
    };
    if !fields.contains_key("messages") {
        return ["input", "prompt"]
            .into_iter()
            .filter_map(|key| fields.get(key))
            .any(|prompt| is_plain_text(prompt));
    }
    let messages: Option<Vec<LineMessage<'_>>> = fields
        .get("messages")
        .and_then(|messages| serde_json::from_str(messages.get()).ok());
    let spoken: Vec<String> = read(fields, "modalities").unwrap_or_default();
    spoken.iter().all(|modality| modality == "text")
        && messages.is_some_and(|messages| messages.iter().filter_map(|message| message.content).all(text))
}

/// Whether a prompt is a text, a list of texts, or a list of numbers.
fn is_plain_text(prompt: &RawValue) -> bool {
    match prompt.get().as_bytes().first() {
        Some(b'"') => true,
        Some(b'[') => {
            let items: Option<Vec<&RawValue>> = serde_json::from_str(prompt.get()).ok();
            items.is_some_and(|items| items.iter().all(|item| !item.get().starts_with('{')))
        }
        _ => false,
    }
}

/// Returns the body without its request for a stream.
fn unstreamed(body: &str) -> Option<String> {
    let mut fields: BTreeMap<String, &RawValue> = serde_json::from_str(body).ok()?;
    fields.remove("stream");
    fields.remove("stream_options");
    serde_json::to_string(&fields).ok()
}

/// Returns the body with another model, or with a token limit in that field; `None` if it stays unchanged.
fn with_fields(body: &str, model: Option<&str>, longest: Option<(&str, u64)>) -> Option<Vec<u8>> {
    if model.is_none() && longest.is_none() {
        return None;
    }
    let mut fields: BTreeMap<String, &RawValue> = serde_json::from_str(body).ok()?;
    let model = model.and_then(|model| serde_json::value::to_raw_value(model).ok());
    let bound = longest.and_then(|(_, tokens)| serde_json::value::to_raw_value(&tokens).ok());
    if let Some(model) = &model {
        fields.insert("model".to_owned(), model);
    }
    if let (Some(bound), Some((field, _))) = (&bound, longest) {
        fields.insert(field.to_owned(), bound);
    }
    serde_json::to_vec(&fields).ok()
}

fn read<'a, T: Deserialize<'a>>(fields: &HashMap<String, &'a RawValue>, key: &str) -> Option<T> {
    fields
        .get(key)
        .and_then(|field| serde_json::from_str(field.get()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_bound_is_told_from_text() {
        let of = |body: &str| {
            let fields = batch_fields(body);
            (fields.answers, fields.only_text)
        };
        assert_eq!(of(r#"{"messages":[{"role":"user","content":"hi"}]}"#), (1, true));
        assert_eq!(
            of(
                r#"{"n":3,"messages":[{"role":"assistant","content":null},{"role":"user","content":[{"type":"text","text":"hi"}]}]}"#
            ),
            (3, true)
        );
        assert!(
            !of(r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}"#)
                .1
        );
        assert!(!of(r#"{"modalities":["text","audio"],"messages":[]}"#).1);
        assert!(!of(r#"{"messages":"x"}"#).1);
    }

    #[test]
    fn fields_are_set_and_nothing_else_is_touched() {
        let body = r#"{"model":"a","messages":[],"temperature":1.50}"#;
        assert_eq!(with_fields(body, None, None), None);
        let told = with_fields(body, Some("b"), Some(("max_tokens", 7))).unwrap();
        assert_eq!(
            String::from_utf8(told).unwrap(),
            r#"{"max_tokens":7,"messages":[],"model":"b","temperature":1.50}"#
        );
    }
}
