//! Dialects: how a request is written for a server, and how its answer is read.
//!
//! ```text
//! ModelRequest ─▶ Call (model, size, manner) ─▶ address, headers, body ─▶ transport
//! transport ─▶ bytes ─▶ Incoming or plain ─▶ Answer
//!          └─▶ status, headers, body ─▶ classify ─▶ CallError
//! ```
//!
//! The settings of a route name its dialect. Parts that its server refused before (`llm/learned.rs`) are left out of
//! the body. The body is written when the call is sent and is dropped after that. So while a model works, the
//! conversation of the request is the only copy.
//!
//! A failed stream gives a [`CallError`] and never a part of an answer. Text without a finish reason is a cut stream,
//! even if it looks complete.

pub mod anthropic;
mod call;
mod draft;
mod headers;
mod incoming;
pub mod openai;
mod plain;

use jiff::Timestamp;

pub(super) use call::Call;
pub use draft::StreamProgress;
pub(super) use headers::{headers, secrets};
pub use incoming::Incoming;
pub use plain::plain;

use serde::Serialize;
use serde::ser::SerializeMap;

use super::request::OutputSchema;
use super::wire::{self, CallError};
use crate::config::Dialect;

/// Classifies an HTTP answer that is not a success; see [`wire::classify`].
pub fn classify(
    dialect: Dialect,
    status: u16,
    headers: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
    now: Timestamp,
) -> CallError {
    let error = wire::classify(status, headers, body, now);
    match dialect {
        Dialect::OpenAi => error,
        Dialect::Anthropic => anthropic::adjust(error),
    }
}

/// Whether a piece of a stream holds the last event of the stream.
pub(super) fn says_its_end(dialect: Dialect, piece: &[u8]) -> bool {
    let end: &[u8] = match dialect {
        Dialect::OpenAi => b"[DONE]",
        Dialect::Anthropic => b"\"message_stop\"",
    };
    piece.windows(end.len()).any(|bytes| bytes == end)
}

/// Returns the instructions with a description of the answer's form.
fn instructed(system: &str, schema: &OutputSchema<'_>) -> String {
    let blank = if system.is_empty() { "" } else { "\n\n" };
    format!("{system}{blank}{}\n{}", schema.instruction, schema.schema.get())
}

/// Writes a field of a body, if it has a value.
fn optional<M: SerializeMap>(map: &mut M, key: &str, value: Option<impl Serialize>) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(key, &value),
        None => Ok(()),
    }
}

/// Returns the names of the fields that are sent.
fn names_of_sent(fields: &[(&'static str, bool)]) -> Vec<&'static str> {
    let sent = fields.iter().filter(|(_, is_sent)| *is_sent);
    sent.map(|(name, _)| *name).collect()
}
