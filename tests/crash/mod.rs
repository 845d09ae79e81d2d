//! The program is killed, stopped and given bad input at random moments. The evidence is the mock server's log and the
//! content of the files, never the output of the program itself.
//!
//! `scripts/crash-test` runs the long form; a plain `cargo test` runs the short one.
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
