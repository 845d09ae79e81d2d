//! A fleet on one PostgreSQL, and everything that can happen to it at once: processes killed, processes that stand still
//! for longer than their leases last, a database that stops, networks that are cut. Judged by the mock server's log, by
//! what a trigger noted of every change of a queue, by the result files, and by the program's own commands.
//!
//! `scripts/chaos-cluster` runs it in its long form; without it the short one runs.
#![expect(
    clippy::expect_used,
    reason = "the helpers of a test fail and report the way a test does"
)]

use crate::support::choices;
mod processes;
use crate::support::evidence;
use crate::support::figures;
mod form;
mod harness;
mod judge;
mod limit;
use crate::support::mock;
use crate::support::postgres;
use crate::support::process;
use crate::support::proxy;
mod storm;
use crate::support::verdict;
mod witness;
mod work;
