//! The ports of the store, one for each duty. Each method is documented by what is true when it returns `Ok`.

use async_trait::async_trait;

use super::{
    AddOutcome, Changes, Claimable, Claims, Cleared, CrashMark, Cursor, CursorPut, Done, Epoch, EventPage,
    Failures, Feed, FileKey, FinishedPage, Hold, InputMark, KnownQueue, Lease, Left, Material, NewLine,
    Order, Owner, PartOutcome, PlanSettlement, Reservation, RowMark, Run, RunId, RunOpening, SessionCounts,
    SessionEntry, SessionRecord, Settled, Settlement, StoreError, Submitted, TakeOver, Wanted, Worker,
    WorkerState,
};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::request::{Digest, Identity};
use crate::domain::tally::{Counts, RouteState, RunSummary, Waste};
use crate::domain::usage::Cost;

/// Runs: opening one, finding one, and whether anything of it is left.
#[async_trait]
pub trait Runs: Send + Sync {
    /// The run of that name exists, made now or before. Refuses a name that belongs to another input
    /// ([`StoreError::OtherInput`]). The run's terms are those of the opening, unless others work on it under terms of their
    /// own: then these stay, and the opening is refused ([`StoreError::Drift`]) if it does not accept them.
    async fn open_run(&self, opening: &RunOpening) -> Result<Run, StoreError>;

    /// The run of that name, or the one used last.
    async fn find_run(&self, name: Option<&str>) -> Result<Option<Run>, StoreError>;

    /// Every run, the one used last first.
    async fn runs(&self) -> Result<Vec<Run>, StoreError>;

    /// Runs with something left to do, the oldest first, and whether any of it can be claimed now.
    async fn open_runs(&self) -> Result<Vec<(Run, bool)>, StoreError>;

    /// Whether a queue of the present input is neither finished nor paused.
    async fn has_unfinished(&self, run: RunId) -> Result<bool, StoreError>;

    /// An open queue of the present input none of whose tasks can ever run, if there is one: its rows are damaged.
    async fn stuck(&self, run: RunId) -> Result<Option<i64>, StoreError>;
}

/// From input lines to queues.
#[async_trait]
pub trait Ingest: Send + Sync {
    /// A new reading of the input has begun; until [`Ingest::end_ingest`] only lines that it has seen are
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

    /// Failed requests of the present input that match are ready to run again; answers how many. What was
    /// completed and what was paid stays.
    async fn retry(&self, run: RunId, which: &Failures) -> Result<u64, StoreError>;
}

/// The right to work on a task: taking, keeping and giving it back.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Up to `limit` tasks of the present input are leased to `owner` for `lease_ms` milliseconds, each under a fence that
    /// its queue never gave. A session's tasks are leased of one queue at a time, in all runs: of the first that had a
    /// lease, until it ends or pauses, or until none of its tasks is leased and nobody works on its run. Fewer than `limit`
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

    /// The tasks are ready again, their attempt not counted, as if never claimed; what was called for them is in the
    /// ledger, and what was reserved for them is free.
    async fn release(&self, left: Vec<Left>) -> Result<(), StoreError>;

    /// The crash mark of a recorded task is durable; answers whether the lease is still good.
    async fn mark(&self, lease: Lease, mark: CrashMark) -> Result<bool, StoreError>;

    /// That so many workers panicked on the task is durable; answers whether the lease is still good.
    async fn note_panics(&self, lease: Lease, panics: u32) -> Result<bool, StoreError>;
}

/// The outcomes of leased tasks.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// The outcome of one task is durable together with its items' numbers, its attempts, the tasks that it makes or lets
    /// go on, the progress of its queue, and the promotion of the session's next queue. The lease is handed on to the next
    /// task of the queue that can run. Or the lease was lost and nothing changed but the ledger of attempts, which keeps
    /// what was paid. A task that an outside job did is settled once, under its handle and its last fence.
    async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError>;

    /// The outcomes of the settled parts of a planned task, in their order.
    async fn parts(&self, queue: i64, task: usize) -> Result<Vec<PartOutcome>, StoreError>;

    /// The queue's plan is durable together with its tasks and what it cost, and its first task follows under the
    /// same lease; or planning failed and the queue with it; or the lease was lost and nothing changed but the
    /// ledger. A queue that has a plan never gets another.
    async fn settle_plan(&self, settlement: PlanSettlement) -> Result<Settled, StoreError>;

    /// The pending tasks of the session's last paused queue are this queue's, under its lease, and that queue is
    /// marked continued; or nothing changed. When this queue is superseded, they are pending again.
    async fn take_over(&self, lease: Lease) -> Result<TakeOver, StoreError>;
}

/// Tasks that outside jobs work on.
#[async_trait]
pub trait OutsideJobs: Send + Sync {
    /// The outside job of that handle works on the task: it has no lease any more, nobody claims it, and what was reserved
    /// for it stays reserved. Or the lease was lost and nothing changed.
    async fn submit(&self, lease: Lease, handle: &str) -> Result<bool, StoreError>;

    /// Tasks of the run that outside jobs work on, in the order of their queues, behind the queue `after`; at most `limit`.
    async fn submitted(&self, run: RunId, after: i64, limit: usize) -> Result<Vec<Submitted>, StoreError>;

    /// The outside job is gone: its task is ready again, under no lease, and what was called for it is in the ledger.
    /// Nothing changed if the task was settled or taken back before.
    async fn take_back(&self, handle: &str, left: Left) -> Result<bool, StoreError>;
}

/// The money of a run, and how its routes stand.
#[async_trait]
pub trait Budget: Send + Sync {
    /// The call of that lease may cost so much, and the sum of what the run has cost, may have cost and has reserved
    /// is not above the cap: that is durable, and counts as spent if the process dies. Or it would be above it, and
    /// what the lease has reserved is only what its earlier calls may have cost. Or the lease was lost.
    async fn reserve(&self, run: RunId, reservation: &Reservation, cap: Cost) -> Result<Hold, StoreError>;

    /// Tokens, money and waste of the run so far, from the ledger of attempts.
    async fn summary(&self, run: RunId) -> Result<RunSummary, StoreError>;

    /// The calls that gave nothing, by route and cause, the dearest first.
    async fn waste(&self, run: RunId) -> Result<Vec<Waste>, StoreError>;

    /// How these routes stand is known to whoever looks at the run.
    async fn note_routes(&self, run: RunId, routes: Vec<RouteState>) -> Result<(), StoreError>;

    /// How the run's routes stood when a change was last noticed.
    async fn routes(&self, run: RunId) -> Result<Vec<RouteState>, StoreError>;
}

/// What sessions have made so far, and how they stand.
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

    /// How the run's sessions stand, at most `limit`, those with unfinished requests first.
    async fn sessions(&self, run: RunId, limit: usize) -> Result<Vec<SessionCounts>, StoreError>;

    /// The tasks of a known request, if they are known: by its identity, the occurrence among equal lines (from 1),
    /// and its content.
    async fn planned(
        &self,
        run: RunId,
        identity: &Identity,
        occurrence: u64,
        content: Digest,
    ) -> Result<Option<KnownQueue>, StoreError>;
}

/// What is finished, and what was settled.
#[async_trait]
pub trait Results: Send + Sync {
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

    /// A number that grows whenever a line which may have been written is no longer true: superseded, put
    /// back, moved, taken out of the input, or back in it.
    async fn lines_epoch(&self, run: RunId) -> Result<i64, StoreError>;

    /// How the requests of the present input stand.
    async fn counts(&self, run: RunId) -> Result<Counts, StoreError>;
}

/// How far finished lines are written to which file.
#[async_trait]
pub trait Outputs: Send + Sync {
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
}

/// The processes that work on runs.
#[async_trait]
pub trait Workers: Send + Sync {
    /// The worker is known to whoever looks at the run.
    async fn register_worker(&self, run: RunId, worker: &Worker) -> Result<(), StoreError>;

    /// The worker is known to be alive and to have done so much. Leases that have run out are taken away, of any owner and
    /// run; a store that one process locks takes them away when it is opened.
    async fn heartbeat(&self, owner: &Owner, done: Done, lease_ms: i64) -> Result<(), StoreError>;

    /// The worker is known to have left in good order.
    async fn deregister_worker(&self, owner: &Owner, done: Done) -> Result<(), StoreError>;

    /// The processes that work on the run, or lately did. A store that one process locks lists none.
    async fn workers(&self, run: RunId) -> Result<Vec<WorkerState>, StoreError>;
}

/// The store as a whole.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// The whole store was read, and what the engine can tell of it is as it should be: pages and indexes in a file, and
    /// in both engines the sums and numbers of each run. Takes as long as reading it.
    async fn check(&self) -> Result<(), StoreError>;

    /// Why the store does not answer at the moment, in words.
    fn trouble(&self) -> Option<String>;

    /// Memory that only makes things faster is given back.
    async fn shed_caches(&self) -> Result<(), StoreError>;

    /// Nothing acknowledged is lost when the process ends now; files are in their tidy form.
    async fn close(&self) -> Result<(), StoreError>;
}
