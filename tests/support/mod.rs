//! Shared parts of the suites: child processes, the mock server and its log, PostgreSQL, a proxy, verdicts, random
//! choices.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of a test fail and report the way a test does"
)]

pub(crate) mod choices;
pub(crate) mod collector;
pub(crate) mod evidence;
pub(crate) mod exposition;
pub(crate) mod figures;
pub(crate) mod mock;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
mod servers;
pub(crate) mod verdict;
