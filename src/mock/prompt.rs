//! The prompt of a request. It decides the answer, in both dialects.
//!
//! The id of a prompt is the SHA-256 of its messages in the form of Chat Completions, as canonical JSON: compact,
//! UTF-8, keys sorted. `serde_json::Value` prints this form, and so does Python with `sort_keys`, `ensure_ascii=False`
//! and compact separators. Reading borrows from the body if possible, because every call is read.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::tokens;

/// The prompt that the messages of a request make.
pub(crate) struct ReceivedPrompt<'a> {
    /// The first 16 hex digits of the hash.
    pub(crate) id: String,
    /// The first eight bytes of the hash, a seed for random draws.
    pub(crate) seed: u64,
    /// The text of the last user message, or of the last message if there is no user message.
    pub(crate) user: Cow<'a, str>,
    pub(crate) input_tokens: u64,
}

/// The form of nearly every message. A prompt with another field is read in the general form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainMessage<'a> {
    #[serde(borrow)]
    role: &'a RawValue,
    #[serde(borrow)]
    content: &'a RawValue,
}

impl PlainMessage<'_> {
    /// Returns whether the raw fields are in canonical form: strings without needless escapes.
    fn is_canonical(&self) -> bool {
        [self.role.get(), self.content.get()]
            .iter()
            .all(|raw| raw.starts_with('"') && !raw.contains("\\u") && !raw.contains("\\/"))
    }
}

impl<'a> ReceivedPrompt<'a> {
    /// Reads the messages. Returns `None` if there are none.
    pub(crate) fn read(messages: &'a RawValue) -> serde_json::Result<Option<Self>> {
        match serde_json::from_str::<Vec<PlainMessage<'a>>>(messages.get()) {
            Ok(plain) if plain.iter().all(PlainMessage::is_canonical) => Self::from_plain(&plain),
            _ => Self::from_values(&serde_json::from_str::<Vec<Value>>(messages.get())?),
        }
    }

    fn from_plain(messages: &[PlainMessage<'a>]) -> serde_json::Result<Option<Self>> {
        let mut hash = Sha256::new();
        let (mut user, mut last, mut input_tokens) = (None, None, 0);
        for (i, message) in messages.iter().enumerate() {
            hash.update(if i == 0 {
                "[{\"content\":"
            } else {
                ",{\"content\":"
            });
            hash.update(message.content.get());
            hash.update(",\"role\":");
            hash.update(message.role.get());
            hash.update("}");
            let text = text_of(message.content.get())?;
            input_tokens += tokens::count(&text) + tokens::PER_MESSAGE;
            if message.role.get() == "\"user\"" {
                user = Some(text);
            } else {
                last = Some(text);
            }
        }
        hash.update("]");
        Ok(user
            .or(last)
            .map(|text| Self::new(hash.finalize().into(), text, input_tokens)))
    }

    /// Reads messages that are JSON values. Returns `None` if there are none.
    pub(crate) fn from_values(messages: &[Value]) -> serde_json::Result<Option<Self>> {
        let (mut user, mut last, mut input_tokens) = (None, None, 0);
        for message in messages {
            let text = text_of_value(&message["content"]);
            input_tokens += tokens::count(&text) + tokens::PER_MESSAGE;
            if message["role"] == "user" {
                user = Some(text);
            } else {
                last = Some(text);
            }
        }
        let canonical = serde_json::to_vec(messages)?;
        let hash = Sha256::digest(&canonical).into();
        Ok(user
            .or(last)
            .map(|text| Self::new(hash, Cow::Owned(text), input_tokens)))
    }

    fn new(hash: [u8; 32], user: Cow<'a, str>, input_tokens: u64) -> Self {
        let seed = hash
            .iter()
            .take(8)
            .fold(0, |seed, &byte| seed << 8 | u64::from(byte));
        Self {
            id: hex(seed),
            seed,
            user,
            input_tokens,
        }
    }
}

/// Returns the id of a prompt in the log: 16 hex digits. The marker of an answer has the first eight.
pub fn prompt_id(messages: &Value) -> String {
    let hash: [u8; 32] = Sha256::digest(messages.to_string()).into();
    ReceivedPrompt::new(hash, Cow::Borrowed(""), 0).id
}

/// Returns the id of a key in the log: the first 16 hex digits of its SHA-256. The log shows values of extra headers in
/// the same form.
pub fn key_id(key: &str) -> String {
    let hash: [u8; 32] = Sha256::digest(key).into();
    ReceivedPrompt::new(hash, Cow::Borrowed(""), 0).id
}

fn hex(bits: u64) -> String {
    let mut digits = String::with_capacity(16);
    // Writing to a String cannot fail.
    let _ = write!(digits, "{bits:016x}");
    digits
}

/// Returns the text of a raw JSON string, borrowed unless it has an escape.
fn text_of(raw: &str) -> serde_json::Result<Cow<'_, str>> {
    match serde_json::from_str::<&str>(raw) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) => serde_json::from_str::<String>(raw).map(Cow::Owned),
    }
}

/// Returns the text of a content: a string, or the text parts of an array.
fn text_of_value(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}
