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
#[expect(
    dead_code,
    unused_imports,
    reason = "the laws of one store use the rest of it"
)]
#[path = "../store/bed.rs"]
mod bed;
mod claims;
mod crew;
#[expect(dead_code, reason = "the laws of one store use the rest of it")]
#[path = "../store/draft.rs"]
mod draft;
mod dropping;
mod fences;
mod ledger;
mod lost_answers;
mod numbers;
mod opening;
mod outages;
mod plays;
#[path = "../common/proxy.rs"]
mod proxy;
mod readings;
mod reaping;
#[path = "../common/postgres.rs"]
mod server;
mod texts;
mod time_limits;
mod wakeups;
mod watching;
