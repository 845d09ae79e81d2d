//! Calls to models: limit, pause, send, classify, retry.
//!
//! ```text
//! Client::call → Route::admit (latch, pause, limiter) → transport::send → wire → verdict → retry | answer
//! ```
//!
//! Failure behaviour: a 429 pauses the whole route and spends no attempt; a refused key or an empty account
//! latches it for the run; everything else is tried again with jitter, up to the policy. A stream that does
//! not say why it ended gives no answer. A call that is cancelled closes its connection.

pub mod client;
mod http;
mod route;
mod transport;
pub mod wire;

pub use client::{Ask, Client, ClientError, Ended, Form, Outcome, Reply, Stop, Verbatim};
pub use route::{Route, Waiting};
