//! A fleet on one PostgreSQL under all failures at once: killed processes, processes suspended for longer than their
//! leases, a database that stops, networks that are cut. The evidence is the mock server's log, a trigger's record of
//! every change of a queue, the result files, and the program's own commands.
//!
//! `scripts/chaos-cluster` runs the long form; without it the short form runs.
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
