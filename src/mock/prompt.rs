//! The prompt of a request: what decides its answer, in whichever dialect it came.
//!
//! A prompt is identified by the SHA-256 of its messages in canonical JSON, as Chat Completions writes them: compact,
//! UTF-8, keys sorted, which is how `serde_json::Value` prints and how Python does with `sort_keys`,
//! `ensure_ascii=False` and compact separators. Reading borrows from the body wherever it can, because it is on the path
//! of every call.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::tokens;

/// What the messages of a request come to.
pub(crate) struct Prompt<'a> {
    /// The first 16 hex digits of the hash.
    pub(crate) id: String,
    /// The first eight bytes of the hash, for drawing from it.
    pub(crate) seed: u64,
    /// The text of the last user message, or of the last message if none is from a user.
    pub(crate) user: Cow<'a, str>,
    pub(crate) input_tokens: u64,
}

/// The shape of nearly every message. Any other field sends the prompt down the general path.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainMessage<'a> {
    #[serde(borrow)]
    role: &'a RawValue,
    #[serde(borrow)]
    content: &'a RawValue,
}

impl PlainMessage<'_> {
    /// Whether the raw fields are their own canonical form: strings in which nothing is escaped needlessly.
    fn is_canonical(&self) -> bool {
        [self.role.get(), self.content.get()]
            .iter()
            .all(|raw| raw.starts_with('"') && !raw.contains("\\u") && !raw.contains("\\/"))
    }
}

impl<'a> Prompt<'a> {
    /// Reads the messages; `None` if there are none.
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

    /// The same for messages that are JSON values already.
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

/// The id under which the log shows a prompt: 16 hex digits, of which an answer's marker shows eight.
pub fn prompt_id(messages: &Value) -> String {
    let hash: [u8; 32] = Sha256::digest(messages.to_string()).into();
    Prompt::new(hash, Cow::Borrowed(""), 0).id
}

/// The id under which the log shows who called: the first 16 hex digits of the SHA-256 of the key. It stands for the
/// value of an extra header too.
pub fn key_id(key: &str) -> String {
    let hash: [u8; 32] = Sha256::digest(key).into();
    Prompt::new(hash, Cow::Borrowed(""), 0).id
}

fn hex(bits: u64) -> String {
    let mut digits = String::with_capacity(16);
    // Writing to a String cannot fail.
    let _ = write!(digits, "{bits:016x}");
    digits
}

/// The text of a raw JSON string, borrowed unless it holds an escape.
fn text_of(raw: &str) -> serde_json::Result<Cow<'_, str>> {
    match serde_json::from_str::<&str>(raw) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) => serde_json::from_str::<String>(raw).map(Cow::Owned),
    }
}

/// The text of a content: a string, or the text parts of an array.
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
