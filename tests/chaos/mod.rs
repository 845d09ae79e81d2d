//! Everything at once, for long: faults of every kind, `kill -9` and signals at random moments, dead routes, a cost
//! cap. Judged by the mock server's log, by the result file, and by what the program's own commands say of the store.
//!
//! `scripts/chaos` runs it in its long form; without it the short one runs.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of a test fail and report the way a test does"
)]

mod cap;
use crate::support::choices;
use crate::support::evidence;
use crate::support::figures;
mod form;
mod harness;
mod judge;
use crate::support::mock;
mod outage;
mod output;
use crate::support::process;
mod storm;
use crate::support::verdict;
mod work;
