//! The wire against the documented behaviour of servers; see `fixtures/llm/README.md`.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of a test fail the way a test does"
)]

mod chunk;
mod cuts;
mod error;
mod harness;
mod plain;
mod request;
mod retry_after;
mod rows;
mod sse;
