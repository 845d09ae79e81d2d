//! The parts of the wire that all dialects share: events, secrets, errors, limits, token counts.
//!
//! Everything here is pure and synchronous: no socket, no clock, no waiting. A dialect reads frames of [`sse`] with
//! the readers in this folder, and [`error`] classifies a failure for the caller.
//!
//! ```text
//! status, headers, body -> error::classify -> CallError { class, verdict, retry_after }
//! ```
//!
//! The words that servers use for errors, refusals and finish reasons are in one table for all dialects, because
//! gateways pass on errors of one dialect in another.

pub mod error;
mod error_body;
pub(super) mod loose;
pub mod rate_headers;
mod redact;
pub mod runaway;
pub mod secrets;
pub mod sse;
pub(super) mod text;
pub(super) mod tokens;
pub(super) mod unreadable;
pub(super) mod vendor;

pub use crate::domain::retry_after;
pub use error::{CallError, classify, too_long};
pub use rate_headers::RateHeaders;
pub use secrets::Secrets;
pub use sse::{Decoder, Frame, SseError, StreamLimits};
pub use vendor::{About, FinishKind, speaks_of, words_about};
