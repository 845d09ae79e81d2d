//! The Chat Completions wire: bytes in, meaning out.
//!
//! Everything here is pure and synchronous: no socket, no clock, no waiting. The transport reads bytes
//! and hands them to [`incoming`]; there [`sse`] cuts them into frames and [`chunk`] folds frames into an
//! [`Answer`]. [`error`] says what a failure asks of the caller. Deliberately absent: tool calls (nova3 offers none)
//! and reconnecting with `Last-Event-ID`, which would send and bill a request twice.
//!
//! ```text
//! bytes -> sse::Decoder -> Frame -> chunk::Collector -> Answer      (both inside incoming::Incoming)
//!                                         |
//! status, headers, body -> error::classify -> CallError { class, verdict, retry_after }
//! ```
//!
//! On failure a stream yields a [`CallError`] and never a part of an answer: text without a finish
//! reason is a cut stream, whatever it looks like.

pub mod answer;
mod assemble;
pub mod batch;
pub mod chunk;
pub mod error;
mod error_body;
pub mod incoming;
mod loose;
pub mod plain;
pub mod rate_headers;
mod redact;
pub mod request;
pub mod retry_after;
pub mod runaway;
pub mod secrets;
mod shape;
pub mod sse;
mod tokens;
mod unreadable;
mod vendor;

pub use answer::{Answer, strip_think};
pub use batch::{BatchFields, batch_fields, unstreamed, with_fields};
pub use chunk::{Collector, Progress};
pub use error::{CallError, classify, too_long};
pub use incoming::Incoming;
pub use plain::{Whole, passed_on, plain};
pub use rate_headers::RateHeaders;
pub use request::{ChatCall, Message, Role, estimate_messages, estimate_tokens};
pub use secrets::Secrets;
pub use sse::{Decoder, Frame, Limits, SseError};
pub use vendor::{About, End, speaks_of, words_about};
