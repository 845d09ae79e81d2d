//! The ports of the durable store, and their laws.
//!
//! There is one port for each duty. Its methods are verbs of the domain, and no code above the ports uses SQL. Each
//! method is documented by what is true when it returns `Ok`, also after a crash. *Durable* means that a power cut
//! right after the return loses none of the change. A method that returns an error has changed nothing.
//!
//! Deliberately absent: a way to write without a fence, and a way to read unfinished results.

mod actions;
mod cache;
mod claims;
mod error;
mod event_rows;
mod failed_rows;
mod history;
mod items;
mod keys;
mod ledger;
mod model;
mod outputs;
mod ports;
pub mod postgres;
mod redo;
mod rounds;
mod session;
mod settlement;
pub mod sqlite;
mod task_rows;
mod terms;
mod usage;
mod versions;
mod workers;

pub use actions::{ActionOrigin, Actions, KEPT_ACTIONS, NewAction, RecordedAction};
pub use cache::{Cache, CacheEntry, Cached, NewEntry};
pub use claims::{Claimable, Claimed, Claims, CrashMark, PendingTask, Unreadable};
pub use error::StoreError;
pub use history::{CallHistory, Histories, MOST_CALLS_OF_HISTORY, QueueHistory, TaskHistory};
pub use ledger::{CallPage, Ledger, LedgerCall, RecentCall};
pub use model::{
    AddOutcome, Changes, Epoch, Failures, Hold, InputMark, Lease, NewLine, NewRequest, Owner, PlanEnd,
    PlanSettlement, Planned, ReleasedLease, Reservation, Run, RunId, RunOpening, Submitted, TakeOver,
};
pub use outputs::{Cursor, CursorPut, EventPage, Feed, FileKey, FinishedPage, Order, Rewrite, RowMark};
pub use ports::{
    Budget, Ingest, Leases, MOST_COUNTED, Outputs, OutsideJobs, Redos, Results, Runs, Sessions, Tasks,
    Upkeep, Workers,
};
pub use redo::{RedoneQueue, RedoneTask};
pub use session::{
    Cleared, Earlier, KnownQueue, Material, Round, SessionCounts, SessionEntry, SessionRecord, StoredItem,
    Wanted,
};
pub use settlement::{NewPart, Part, PartOutcome, Settled, Settlement, SettlementEnd, Then};
pub use terms::{ConfigFingerprint, RunConstraints, StoredRouteLimits};
pub use usage::{UsageFilter, UsageKey, UsageQuery, UsageRow, UsageSums};
pub use workers::{Worker, WorkerProgress, WorkerState};

/// All ports that a run needs.
pub trait Store:
    Runs
    + Ingest
    + Leases
    + Tasks
    + OutsideJobs
    + Redos
    + Budget
    + Sessions
    + Results
    + Outputs
    + Workers
    + Cache
    + Ledger
    + Histories
    + Actions
    + Upkeep
{
}

impl<T> Store for T where
    T: Runs
        + Ingest
        + Leases
        + Tasks
        + OutsideJobs
        + Redos
        + Budget
        + Sessions
        + Results
        + Outputs
        + Workers
        + Cache
        + Ledger
        + Histories
        + Actions
        + Upkeep
{
}
