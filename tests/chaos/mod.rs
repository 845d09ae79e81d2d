//! All failures at once, over a long time: faults of every kind, `kill -9` and signals at random moments, dead routes,
//! a cost cap. The evidence is the mock server's log, the result file, and the output of the program's own commands.
//!
//! `scripts/chaos` runs the long form; without it the short form runs.
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
