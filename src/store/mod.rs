//! The ports of the durable store, and their laws.
//!
//! A port is cut by duty and speaks verbs of the domain; there is no raw SQL above it. Each method is
//! documented by what is true when it returns `Ok`, also after a crash: *durable* means that a power cut
//! on the next instruction loses nothing of it. A method that returns an error has changed nothing.
//!
//! Deliberately absent: a way to write without a fence, and a way to read unfinished results.

mod cache;
mod claims;
mod error;
mod items;
mod keys;
mod model;
mod outputs;
pub mod postgres;
mod rounds;
mod session;
pub mod sqlite;
mod telling;
mod terms;
mod versions;
mod workers;

use async_trait::async_trait;

use crate::domain::ids::{SessionId, UserId};
use crate::domain::request::{Digest, Identity};
use crate::domain::tally::{Counts, RouteState, RunSummary, Waste};
use crate::domain::usage::Cost;

pub use cache::{Cache, Cached, Entry, NewEntry};
pub use claims::{Claimable, Claimed, Claims, CrashMark, PendingTask, Unreadable};
pub use error::StoreError;
pub use model::{
    AddOutcome, Changes, Epoch, Failures, Hold, InputMark, Lease, Left, NewLine, NewRequest, Owner, PlanEnd,
    PlanSettlement, Planned, Reservation, Run, RunId, RunOpening, Settled, Settlement, TakeOver, TaskEnd,
    Then,
};
pub use outputs::{Cursor, CursorPut, EventPage, Feed, FileKey, FinishedPage, Order, Rewrite, RowMark};
pub use session::{
    Cleared, Earlier, KnownQueue, Material, Round, SessionCounts, SessionEntry, SessionRecord, StoredItem,
    Wanted,
};
pub use terms::{Recipe, RouteLimits, Terms};
pub use workers::{Done, Worker, WorkerState};

/// Everything a run needs of its store.
pub trait Store: Queues + Sessions + Results + Cache + Integrity {}

impl<T: Queues + Sessions + Results + Cache + Integrity> Store for T {}

/// Whether the store is whole.
#[async_trait]
pub trait Integrity: Send + Sync {
    /// The whole store was read, and what the engine can tell of it is as it should be: pages and indexes in a file, and
    /// in both engines the sums and numbers of each run. Takes as long as reading it.
    async fn check(&self) -> Result<(), StoreError>;
}

/// Runs and their queues: from an input line to its settled tasks.
#[async_trait]
pub trait Queues: Send + Sync {
    /// The run of that name exists, made now or before, and every lease that a dead process held in this
    /// store is void: its queue is ready again under a higher fence, or failed as poison if two owners crashed while it
    /// ran alone with its crash mark set. Refuses a name that belongs to another input ([`StoreError::OtherInput`]). The run's terms are those of the opening, unless others work on it
    /// under terms of their own: then these stay, and the opening is refused ([`StoreError::Drift`]) if it does not
    /// accept them.
    async fn open_run(&self, opening: &RunOpening) -> Result<Run, StoreError>;

    /// A new reading of the input has begun; until [`Queues::end_ingest`] only lines that it has seen are
    /// claimed, and lines that it has not seen yet still count as part of the input.
    async fn begin_ingest(&self, run: RunId) -> Result<Epoch, StoreError>;

    /// Every line is durable, exactly once, under its identity: new ones queued (or failed, if bad), known
    /// ones recognised, changed ones in the place of their old version. Answers in the order of `lines`.
    async fn add(
        &self,
        run: RunId,
        epoch: Epoch,
        lines: Vec<NewLine>,
        changes: Changes,
    ) -> Result<Vec<AddOutcome>, StoreError>;

    /// The reading is complete: lines it has not seen are no longer part of the input and are not run. The
    /// mark is kept, so that the same input is recognised by its digest.
    async fn end_ingest(&self, run: RunId, epoch: Epoch, mark: &InputMark) -> Result<(), StoreError>;

    /// The queue's plan is durable together with its tasks and what it cost, and its first task follows under the
    /// same lease; or planning failed and the queue with it; or the lease was lost and nothing changed but the
    /// ledger. A queue that has a plan never gets another.
    async fn settle_plan(&self, settlement: PlanSettlement) -> Result<Settled, StoreError>;

    /// The pending tasks of the session's last paused queue are this queue's, under its lease, and that queue is
    /// marked continued; or nothing changed. When this queue is superseded, they are pending again.
    async fn take_over(&self, lease: Lease) -> Result<TakeOver, StoreError>;

    /// Up to `limit` queues of the present input are leased to `owner` for `lease_ms` milliseconds, each
    /// under a fence it never had, none while another queue of its session is leased. Fewer than `limit`
    /// means that no more can be claimed now; of those in quarantine that one group is leased.
    async fn claim(
        &self,
        run: RunId,
        owner: &Owner,
        which: Claimable,
        limit: usize,
        lease_ms: i64,
    ) -> Result<Claims, StoreError>;

    /// The leases that `owner` still holds are good for another `lease_ms` milliseconds; those lost to others are
    /// answered. Whoever renews is alive: a crash of it that was recorded is taken back.
    async fn renew(&self, owner: &Owner, leases: &[Lease], lease_ms: i64) -> Result<Vec<Lease>, StoreError>;

    /// The crash mark of a recorded queue is durable; answers whether the lease is still good.
    async fn mark(&self, lease: Lease, mark: CrashMark) -> Result<bool, StoreError>;

    /// That so many workers panicked on the queue's present task is durable; answers whether the lease is still good.
    async fn note_panics(&self, lease: Lease, panics: u32) -> Result<bool, StoreError>;

    /// The outcome of one task is durable together with its items' numbers, its attempts, the progress of
    /// its queue, and the promotion of the session's next queue; or the lease was lost and nothing changed
    /// but the ledger of attempts, which keeps what was paid.
    async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError>;

    /// The queues are ready again, their attempt not counted, as if never claimed; what was called for them is in the
    /// ledger, and what was reserved for them is free.
    async fn release(&self, left: Vec<Left>) -> Result<(), StoreError>;

    /// The call of that lease may cost so much, and the sum of what the run has cost, may have cost and has reserved
    /// is not above the cap: that is durable, and counts as spent if the process dies. Or it would be above it, and
    /// what the lease has reserved is only what its earlier calls may have cost. Or the lease was lost.
    async fn reserve(&self, run: RunId, reservation: &Reservation, cap: Cost) -> Result<Hold, StoreError>;

    /// How these routes stand is known to whoever looks at the run.
    async fn note_routes(&self, run: RunId, routes: Vec<RouteState>) -> Result<(), StoreError>;

    /// Failed requests of the present input that match are ready to run again; answers how many. What was
    /// completed and what was paid stays.
    async fn retry(&self, run: RunId, which: &Failures) -> Result<u64, StoreError>;

    /// Whether a queue of the present input is neither finished nor paused.
    async fn has_unfinished(&self, run: RunId) -> Result<bool, StoreError>;

    /// The worker is known to whoever looks at the run. A store for one process knows its worker anyway.
    async fn join(&self, _run: RunId, _worker: &Worker) -> Result<(), StoreError> {
        Ok(())
    }

    /// The worker is known to be alive and to have done so much; leases that have run out, of any owner and run, are
    /// taken away, as at the opening of a store for one process.
    async fn tend(&self, _owner: &Owner, _done: Done, _lease_ms: i64) -> Result<(), StoreError> {
        Ok(())
    }

    /// The worker is known to have left in good order.
    async fn leave(&self, _owner: &Owner, _done: Done) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether other processes may work on the same run at the same time: what they do has to be looked for.
    fn is_shared(&self) -> bool {
        false
    }

    /// Why the store does not answer at the moment, in words.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Memory that only makes things faster is given back.
    async fn shed_caches(&self) -> Result<(), StoreError>;

    /// Nothing acknowledged is lost when the process ends now; files are in their tidy form.
    async fn close(&self) -> Result<(), StoreError>;
}

/// What a session has made so far.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// What a task may build on: earlier results of its queue, and of those it continues; the session's items of
    /// those names; its last rounds, oldest first. Of a request that is alone, only its own.
    async fn context(&self, wanted: &Wanted) -> Result<Material, StoreError>;

    /// The sessions of the store, the one used last first, at most `limit`.
    async fn list_sessions(&self, limit: usize) -> Result<Vec<SessionEntry>, StoreError>;

    /// All that is known of a session; `None` if it has made nothing and nothing of it is under way.
    async fn session(&self, user: &UserId, session: &SessionId) -> Result<Option<SessionRecord>, StoreError>;

    /// The session's history, items and pending tasks are forgotten; results stay with their runs, and numbers go on
    /// where they were, so that no id ever means two things.
    async fn clear_session(&self, user: &UserId, session: &SessionId) -> Result<Cleared, StoreError>;
}

/// What is finished, and how far it has been written where.
#[async_trait]
pub trait Results: Send + Sync {
    /// The run of that name, or the one used last.
    async fn find_run(&self, name: Option<&str>) -> Result<Option<Run>, StoreError>;

    /// Runs of a shared store with something left to do, the oldest first, and whether any of it can be claimed now.
    async fn open_runs(&self) -> Result<Vec<(Run, bool)>, StoreError> {
        Ok(Vec::new())
    }

    /// Every run, the one used last first.
    async fn runs(&self) -> Result<Vec<Run>, StoreError>;

    /// How far the run's lines have been written to that file, if ever.
    async fn cursor(&self, run: RunId, file: &FileKey) -> Result<Option<Cursor>, StoreError>;

    /// Every file the run's lines are written to.
    async fn cursors(&self, run: RunId) -> Result<Vec<(FileKey, Cursor)>, StoreError>;

    /// The cursor is durable in the place of `expected` (`None`: there was no cursor), and the store held the row `newest`
    /// at that moment; or nothing changed. A database that went back in time has another cursor, or not that row.
    async fn put_cursor(
        &self,
        run: RunId,
        file: &FileKey,
        expected: Option<&Cursor>,
        cursor: &Cursor,
        newest: Option<RowMark>,
    ) -> Result<CursorPut, StoreError>;

    /// Whether the store holds every one of these rows. They are all different.
    async fn has_rows(&self, run: RunId, feed: Feed, rows: Vec<RowMark>) -> Result<bool, StoreError>;

    /// A number that grows whenever a line which may have been written is no longer true: superseded, put
    /// back, moved, taken out of the input, or back in it.
    async fn lines_epoch(&self, run: RunId) -> Result<i64, StoreError>;

    /// Finished requests after `after` in the given order, each in its latest version, those of removed
    /// lines only if the reading `since` or a later one saw them; at most `rows`. In input order there are none of removed
    /// lines, and the page ends before the first unfinished one.
    async fn finished(
        &self,
        run: RunId,
        order: Order,
        since: Option<i64>,
        after: i64,
        rows: usize,
    ) -> Result<FinishedPage, StoreError>;

    /// Finished requests by the store's own number, in the order of `queues`. A page ends early when results are large:
    /// its `after` says how many of the numbers it answers.
    async fn finished_by_id(&self, run: RunId, queues: Vec<i64>) -> Result<FinishedPage, StoreError>;

    /// What was settled in the run after `after`, in the order of settling; at most `rows`, and ending early where
    /// results are large. `present` leaves out what is not of the present input or was superseded; without it the
    /// answer never changes but at its end.
    async fn events(
        &self,
        run: RunId,
        present: bool,
        after: i64,
        rows: usize,
    ) -> Result<EventPage, StoreError>;

    /// What was settled of these queues, up to an event's number. A page ends early when results are large: its `after`
    /// says how many of the queues it answers.
    async fn events_of(&self, run: RunId, queues: Vec<i64>, up_to: i64) -> Result<EventPage, StoreError>;

    /// The tasks of a known request, if they are known: by its identity, the occurrence among equal lines (from 1),
    /// and its content.
    async fn planned(
        &self,
        run: RunId,
        identity: &Identity,
        occurrence: u64,
        content: Digest,
    ) -> Result<Option<KnownQueue>, StoreError>;

    /// How the requests of the present input stand.
    async fn counts(&self, run: RunId) -> Result<Counts, StoreError>;

    /// Tokens, money and waste of the run so far, from the ledger of attempts.
    async fn summary(&self, run: RunId) -> Result<RunSummary, StoreError>;

    /// The calls that gave nothing, by route and cause, the dearest first.
    async fn waste(&self, run: RunId) -> Result<Vec<Waste>, StoreError>;

    /// How the run's routes stood when a change was last noticed.
    async fn routes(&self, run: RunId) -> Result<Vec<RouteState>, StoreError>;

    /// Who works, or lately worked, on the run; nobody else than its own process in a store for one.
    async fn workers(&self, _run: RunId) -> Result<Vec<WorkerState>, StoreError> {
        Ok(Vec::new())
    }

    /// How the run's sessions stand, at most `limit`, those with unfinished requests first.
    async fn sessions(&self, run: RunId, limit: usize) -> Result<Vec<SessionCounts>, StoreError>;
}
