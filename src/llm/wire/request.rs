//! The request of one call, and a guess at its size.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The instructions.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// A Chat Completions request; see OpenAI's API reference, "Create chat completion".
///
/// What is `None` is left out rather than sent as null: reasoning models refuse the mere presence of
/// some sampling fields.
#[derive(Debug, Clone, Copy)]
pub struct ChatCall<'a> {
    /// The model's name at the provider.
    pub model: &'a str,
    /// The conversation, oldest first.
    pub messages: &'a [Message],
    /// Whether to stream the answer.
    pub stream: bool,
    /// Whether to ask a stream for its usage; old servers answer 400 to the field that does.
    pub include_usage: bool,
    /// The longest answer to ask for.
    pub max_tokens: Option<u32>,
    /// The field to say so in: `max_completion_tokens`, or `max_tokens` for most local servers.
    pub max_tokens_field: &'a str,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    pub top_p: Option<f64>,
    /// Sampling seed.
    pub seed: Option<i64>,
    /// The form of the answer, as the API spells it.
    pub response_format: Option<&'a RawValue>,
}

impl ChatCall<'_> {
    /// The fields of the body that it can do without.
    pub fn optional_fields(&self) -> Vec<&'static str> {
        let sent = [
            ("stream_options", self.stream && self.include_usage),
            ("temperature", self.temperature.is_some()),
            ("top_p", self.top_p.is_some()),
            ("seed", self.seed.is_some()),
        ];
        sent.into_iter()
            .filter_map(|(name, is_sent)| is_sent.then_some(name))
            .collect()
    }

    /// The JSON body.
    pub fn to_body(&self) -> Vec<u8> {
        // Writing strings, numbers and raw JSON into memory has no way to fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Serialize for ChatCall<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", self.model)?;
        map.serialize_entry("messages", self.messages)?;
        if self.stream {
            map.serialize_entry("stream", &true)?;
            if self.include_usage {
                map.serialize_entry("stream_options", &StreamOptions { include_usage: true })?;
            }
        }
        optional(&mut map, self.max_tokens_field, self.max_tokens)?;
        optional(&mut map, "temperature", self.temperature)?;
        optional(&mut map, "top_p", self.top_p)?;
        optional(&mut map, "seed", self.seed)?;
        optional(&mut map, "response_format", self.response_format)?;
        map.end()
    }
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

fn optional<M: SerializeMap>(map: &mut M, key: &str, value: Option<impl Serialize>) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(key, &value),
        None => Ok(()),
    }
}

/// Tokens a text may have, on the upper side: 1.1 for a character beyond ASCII, one for three in it.
///
/// English runs at four characters a token and Chinese below one token a character in the tokenizers in
/// use; a limiter that borrows too much gives back, one that borrows too little meets a 429.
pub fn estimate_tokens(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii).count() as u64;
    // A byte that does not continue a character begins one.
    let chars = text.bytes().filter(|byte| byte & 0xc0 != 0x80).count() as u64;
    let wide = chars - ascii;
    (33 * wide + 10 * ascii).div_ceil(30)
}

/// Tokens a conversation may have as a prompt, with what the chat format wraps around each message.
pub fn estimate_messages(messages: &[Message]) -> u64 {
    const PER_MESSAGE: u64 = 4;
    const REPLY_PRIMING: u64 = 3;
    let texts: u64 = messages
        .iter()
        .map(|message| estimate_tokens(&message.content) + PER_MESSAGE)
        .sum();
    texts + REPLY_PRIMING
}
