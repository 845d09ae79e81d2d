//! Dialects: how a neutral request is written for a server, and how its answer is read.
//!
//! ```text
//! ModelRequest ─▶ Call (model, size, manner) ─▶ address, headers, body ─▶ transport ─▶ bytes ─▶ Incoming or plain ─▶ Answer
//!                                                                              └─▶ status, headers, body ─▶ classify ─▶ CallError
//! ```
//!
//! A route's settings name its dialect. What its server refused before ([`super::learned`]) is left out when the body is
//! written. The body is written when the call is sent and dropped when it is sent: while a model works, the conversation
//! of the request is the only copy.
//!
//! On failure a stream yields a [`CallError`] and never a part of an answer: text without a finish reason is a cut stream,
//! whatever it looks like.

pub mod anthropic;
mod call;
mod draft;
mod headers;
mod incoming;
pub mod openai;
mod plain;

use jiff::Timestamp;

pub(super) use call::Call;
pub use draft::Progress;
pub(super) use headers::{headers, secrets};
pub use incoming::Incoming;
pub use plain::plain;

use super::request::OutputSchema;
use super::wire::{self, CallError};
use crate::config::Dialect;

/// Judges an HTTP answer that is not a success; see [`wire::classify`].
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

/// Whether a piece of a stream holds the event behind which nothing follows.
pub(super) fn says_its_end(dialect: Dialect, piece: &[u8]) -> bool {
    let end: &[u8] = match dialect {
        Dialect::OpenAi => b"[DONE]",
        Dialect::Anthropic => b"\"message_stop\"",
    };
    piece.windows(end.len()).any(|bytes| bytes == end)
}

/// Instructions that also say which form the answer must have.
fn instructed(system: &str, schema: &OutputSchema<'_>) -> String {
    let blank = if system.is_empty() { "" } else { "\n\n" };
    format!("{system}{blank}{}\n{}", schema.instruction, schema.schema.get())
}
