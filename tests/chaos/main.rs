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
#[path = "../common/choices.rs"]
mod choices;
#[path = "../common/evidence.rs"]
mod evidence;
#[path = "../common/figures.rs"]
mod figures;
mod form;
mod ground;
mod judge;
#[path = "../common/mock.rs"]
mod mock;
mod outage;
mod output;
#[path = "../common/process.rs"]
mod process;
mod storm;
#[path = "../common/verdict.rs"]
mod verdict;
mod work;
