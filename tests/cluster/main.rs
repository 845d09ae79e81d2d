//! A fleet on one PostgreSQL, and everything that can happen to it at once: processes killed, processes that stand still
//! for longer than their leases last, a database that stops, networks that are cut. Judged by the mock server's log, by
//! what a trigger noted of every change of a queue, by the result files, and by the program's own commands.
//!
//! `scripts/chaos-cluster` runs it in its long form; without it the short one runs.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of a test fail and report the way a test does"
)]

#[path = "../common/choices.rs"]
mod choices;
mod crew;
#[path = "../common/evidence.rs"]
mod evidence;
#[path = "../common/figures.rs"]
mod figures;
mod form;
mod ground;
mod judge;
mod limit;
#[path = "../common/mock.rs"]
mod mock;
#[path = "../common/postgres.rs"]
mod postgres;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/proxy.rs"]
mod proxy;
mod storm;
#[path = "../common/verdict.rs"]
mod verdict;
mod witness;
mod work;
