//! The program killed, stopped and misled at random moments, judged by what the mock server wrote down and
//! by what lies in the files, never by what the program says of itself.
//!
//! `scripts/crash-test` runs it in its long form; a plain `cargo test` runs the short one.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of a test fail and report the way a test does"
)]

mod harness;
use crate::support::choices;
mod context;
mod conversation;
mod cuts;
mod disk;
mod edits;
mod evidence;
mod failures;
mod fault;
mod form;
mod input;
mod kills;
mod limits;
mod oracle;
mod order;
mod outputs;
mod poison;
use crate::support::postgres as server;
use crate::support::process;
mod signals;
mod steps;
mod store;
mod streams;
