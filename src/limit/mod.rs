//! Requests and tokens a minute: take before a call, settle after it.
//!
//! Failure behaviour: a limiter never fails open. It starts empty, so that a restart in the middle of a
//! minute adds nothing to what the process before it used, and a call larger than the limit is refused
//! with a message rather than delayed for ever.
//!
//! Deliberately absent: pauses after a 429, which belong to the route (`llm/route.rs`).

mod in_process;

pub use in_process::{Grant, InProcess, Limits};
