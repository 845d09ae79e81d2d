//! What only many workers or a broken database can break, on PostgreSQL.
//!
//! Each worker of a law has a store of its own over one schema, with its own connections, as separate processes have.
//! Where the order of events decides, a transaction of the test holds a lock until the others are seen to wait for it:
//! nothing is left to chance or to a pause.
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
