//! Tests of faults that need many workers or a broken database, on PostgreSQL.
//!
//! Each worker of a law has its own store over one schema, with its own connections, like separate processes. When the
//! order of events matters, a transaction of the test holds a lock until the others are seen to wait for it. So no test
//! depends on chance or on a pause.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of a test fail the way a test does"
)]

mod batches;
mod caching;
mod claims;
mod harness;
use crate::store::draft;
mod dropping;
mod fences;
mod fixtures;
mod ledger;
mod lost_answers;
mod numbers;
mod opening;
mod outages;
mod parts;
use crate::support::proxy;
mod readings;
mod reaping;
mod scale;
mod sizes;
use crate::support::postgres as server;
mod texts;
mod time_limits;
mod wakeups;
mod watching;
