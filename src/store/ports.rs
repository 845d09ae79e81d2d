//! The ports of the store, one for each duty. Each method is documented by what is true when it returns `Ok`.

use async_trait::async_trait;

use super::{
    AddOutcome, Changes, Claimable, Claims, Cleared, CrashMark, Cursor, CursorPut, Epoch, EventPage,
    Failures, Feed, FileKey, FinishedPage, Hold, InputMark, KnownQueue, Lease, Material, NewLine, Order,
    Owner, PartOutcome, PlanSettlement, RedoneQueue, ReleasedLease, Reservation, RowMark, Run, RunId,
    RunOpening, SessionCounts, SessionEntry, SessionRecord, Settled, Settlement, StoreError, Submitted,
    TakeOver, Wanted, Worker, WorkerProgress, WorkerState,
};
use crate::domain::failure::Failure;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::request::{Digest, Identity, Request};
use crate::domain::tally::{Counts, FailedClass, RouteState, RunSummary, Waste};
use crate::domain::task_search::TaskSearch;
use crate::domain::usage::Cost;

/// The most queues that [`Runs::claimable_tasks`] reads of each kind.
pub const MOST_COUNTED: u32 = 10_000;

/// Runs: opening them, finding them, and whether they have work left.
#[async_trait]
pub trait Runs: Send + Sync {
    /// The run of that name exists, made now or before. A name that belongs to another input is refused
    /// ([`StoreError::OtherInput`]), unless the user chose the name. The run's terms are those of the opening, unless
    /// other workers use different terms at the moment. Then the stored terms stay, and an opening that does not accept
    /// them is refused ([`StoreError::ConfigMismatch`]).
    async fn open_run(&self, opening: &RunOpening) -> Result<Run, StoreError>;

    /// Returns the run of that name, if there is one. Without a name it returns the most recently used run.
    async fn find_run(&self, name: Option<&str>) -> Result<Option<Run>, StoreError>;

    /// Returns all runs, the most recently used first.
    async fn runs(&self) -> Result<Vec<Run>, StoreError>;

    /// Returns all runs with the counts of their requests and the sums of their calls, the most recently used first.
    async fn run_list(&self) -> Result<Vec<(Run, Counts, RunSummary)>, StoreError>;

    /// Returns runs with work left, the oldest first, each with whether a task can be claimed now.
    async fn open_runs(&self) -> Result<Vec<(Run, bool)>, StoreError>;

    /// Returns how many tasks of all runs can be claimed now, for displays and autoscalers. Reads at most [`MOST_COUNTED`]
    /// queues of each kind, those in quarantine and the others, so that the work is bounded. A queue that waits for a
    /// queue of its session in another run may be counted.
    async fn claimable_tasks(&self) -> Result<u64, StoreError>;

    /// Returns whether a queue of the present input is neither finished nor paused.
    async fn has_unfinished(&self, run: RunId) -> Result<bool, StoreError>;

    /// Returns an open queue of the present input of which no task can ever run, if there is one. Its rows are damaged.
    async fn stuck(&self, run: RunId) -> Result<Option<i64>, StoreError>;
}

/// From input lines to queues.
#[async_trait]
pub trait Ingest: Send + Sync {
    /// A new reading of the input has begun. Until [`Ingest::end_ingest`] only lines that it has seen can be claimed.
    /// Lines that it has not seen yet still count as part of the input.
    async fn begin_ingest(&self, run: RunId) -> Result<Epoch, StoreError>;

    /// Each line is durable under its identity, exactly once. New lines are queued, or failed if they are bad. Known
    /// lines are recognised. Changed lines replace their old version. Returns the outcomes in the order of `lines`.
    async fn add(
        &self,
        run: RunId,
        epoch: Epoch,
        lines: Vec<NewLine>,
        changes: Changes,
    ) -> Result<Vec<AddOutcome>, StoreError>;

    /// The reading is complete. Lines that it has not seen are no longer part of the input and do not run. The mark is
    /// stored, so that the same input is recognised by its digest.
    async fn end_ingest(&self, run: RunId, epoch: Epoch, mark: &InputMark) -> Result<(), StoreError>;

    /// Matching failed requests of the present input are ready to run again. Returns how many. Completed tasks and
    /// recorded costs stay.
    async fn retry(&self, run: RunId, which: &Failures) -> Result<u64, StoreError>;
}

/// Redos: finished requests of which some tasks are made anew.
#[async_trait]
pub trait Redos: Send + Sync {
    /// The given tasks of these requests are ready to be made anew, each as a new version, and their queues are
    /// unfinished. All of them are, or none. Requests that are not finished are left out, and requests outside of the
    /// present input too. Returns how many requests are redone.
    ///
    /// Until the last task of a queue settles, its result line is the earlier one. It stays the earlier one when the
    /// queue fails, unless that line is a failure too. Then the line has a warning with the reason.
    async fn redo(&self, run: RunId, queues: Vec<RedoneQueue>) -> Result<u64, StoreError>;

    /// Returns how many requests of the present input are being redone.
    async fn unfinished_redos(&self, run: RunId) -> Result<u64, StoreError>;

    /// Returns the stored requests of these queues of the run, in the order of `queues`. A queue of a bad line has
    /// none, and an unreadable request is left out.
    async fn requests(&self, run: RunId, queues: Vec<i64>) -> Result<Vec<(i64, Request)>, StoreError>;
}

/// Leases: claiming, renewing and releasing them.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Up to `limit` tasks of the present input are leased to `owner` for `lease_ms` milliseconds, each under a fence
    /// that its queue never gave before.
    ///
    /// Over all runs, one queue of a session at a time has leased tasks. The first queue with a lease keeps this right
    /// until it ends or pauses, or until none of its tasks is leased and its run has no workers.
    ///
    /// Fewer than `limit` tasks mean that no more can be claimed now. A claim of quarantined tasks leases one group.
    async fn claim(
        &self,
        run: RunId,
        owner: &Owner,
        which: Claimable,
        limit: usize,
        lease_ms: i64,
    ) -> Result<Claims, StoreError>;

    /// The leases that `owner` still holds run for another `lease_ms` milliseconds. Returns the leases that were lost.
    /// A renewal also clears a crash that was recorded for the owner.
    async fn renew(&self, owner: &Owner, leases: &[Lease], lease_ms: i64) -> Result<Vec<Lease>, StoreError>;

    /// The tasks are ready again as if never claimed, without a counted attempt. Their calls are in the ledger, and
    /// their reservations are released.
    async fn release(&self, left: Vec<ReleasedLease>) -> Result<(), StoreError>;

    /// The crash mark of a recorded task is durable. Returns whether the lease is still valid.
    async fn mark(&self, lease: Lease, mark: CrashMark) -> Result<bool, StoreError>;

    /// The number of panics on the task is durable. Returns whether the lease is still valid.
    async fn note_panics(&self, lease: Lease, panics: u32) -> Result<bool, StoreError>;
}

/// The outcomes of leased tasks.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// The outcome of one task is durable, together with its attempts, the numbers of its items, the tasks that it adds
    /// or unblocks, the progress of its queue, and the promotion of the session's next queue. The lease is handed on to
    /// the next runnable task of the queue.
    ///
    /// When the lease was lost, nothing changes but the ledger of attempts, which keeps the cost. A task of an outside
    /// job is settled once, under its handle and its last fence.
    async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError>;

    /// Returns the outcomes of the settled parts of a planned task, in their order.
    async fn parts(&self, queue: i64, task: usize) -> Result<Vec<PartOutcome>, StoreError>;

    /// Returns the result of a planned task's search, or its failure. Returns `None` if the task has no settled search.
    async fn task_search(
        &self,
        queue: i64,
        task: usize,
    ) -> Result<Option<Result<TaskSearch, Failure>>, StoreError>;

    /// The queue's plan is durable together with its tasks and its cost, and the first task follows under the same
    /// lease. Or planning failed and the queue with it. When the lease was lost, nothing changes but the ledger. A
    /// queue that has a plan never gets another.
    async fn settle_plan(&self, settlement: PlanSettlement) -> Result<Settled, StoreError>;

    /// The pending tasks of the session's last paused queue belong to this queue, under its lease, and the paused queue
    /// is marked `continued`. Otherwise nothing changed. The tasks are pending again when this queue is superseded.
    async fn take_over(&self, lease: Lease) -> Result<TakeOver, StoreError>;
}

/// Tasks that outside jobs work on.
#[async_trait]
pub trait OutsideJobs: Send + Sync {
    /// The task belongs to the outside job of that handle: it has no lease, it cannot be claimed, and its reservation
    /// stays. When the lease was lost, nothing changed. Returns whether the task was submitted.
    async fn submit(&self, lease: Lease, handle: &str) -> Result<bool, StoreError>;

    /// Returns at most `limit` tasks of the run that outside jobs work on, in the order of their queues, from the queue
    /// after `after` on.
    async fn submitted(&self, run: RunId, after: i64, limit: usize) -> Result<Vec<Submitted>, StoreError>;

    /// The outside job is gone: its task is ready again without a lease, and its calls are in the ledger. Nothing
    /// changed if the task was settled or taken back before. Returns whether it was taken back.
    async fn take_back(&self, handle: &str, left: ReleasedLease) -> Result<bool, StoreError>;
}

/// The money of a run, and the state of its routes.
#[async_trait]
pub trait Budget: Send + Sync {
    /// The call's worst cost is reserved durably, and the sum of the run's cost, uncertain cost and reservations is not
    /// above the cap. A reservation counts as spent if the process crashes. When the sum would be above the cap, the
    /// lease keeps only a reservation for what its earlier calls may have cost. The lease may also have been lost.
    async fn reserve(&self, run: RunId, reservation: &Reservation, cap: Cost) -> Result<Hold, StoreError>;

    /// Returns the tokens, cost and waste of the run so far, from the ledger of attempts.
    async fn summary(&self, run: RunId) -> Result<RunSummary, StoreError>;

    /// Returns the calls without a result, grouped by route and cause, the most expensive first.
    async fn waste(&self, run: RunId) -> Result<Vec<Waste>, StoreError>;

    /// The states of these routes are stored for readers of the run.
    async fn note_routes(&self, run: RunId, routes: Vec<RouteState>) -> Result<(), StoreError>;

    /// Returns the stored states of the run's routes.
    async fn routes(&self, run: RunId) -> Result<Vec<RouteState>, StoreError>;
}

/// The results of sessions, and the state of sessions.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Returns the context of a task: earlier results of its queue and of the queues that it continues; the session's
    /// items with the wanted ids; the session's last rounds, oldest first. A request without a session gets its own
    /// results only.
    async fn context(&self, wanted: &Wanted) -> Result<Material, StoreError>;

    /// Returns at most `limit` sessions of the store, the most recently used first.
    async fn list_sessions(&self, limit: usize) -> Result<Vec<SessionEntry>, StoreError>;

    /// Returns the record of a session. `None` if it has no rounds, no items and no queue.
    async fn session(&self, user: &UserId, session: &SessionId) -> Result<Option<SessionRecord>, StoreError>;

    /// The session's history, items and pending tasks are deleted. Results stay with their runs. Item numbers continue
    /// where they were, so that an id is never reused.
    async fn clear_session(&self, user: &UserId, session: &SessionId) -> Result<Cleared, StoreError>;

    /// Returns the counts of at most `limit` sessions of the run, those with unfinished requests first.
    async fn sessions(&self, run: RunId, limit: usize) -> Result<Vec<SessionCounts>, StoreError>;

    /// Returns the queue of a known request. The request is found by its identity, its occurrence among equal lines
    /// (from 1), and its content.
    async fn planned(
        &self,
        run: RunId,
        identity: &Identity,
        occurrence: u64,
        content: Digest,
    ) -> Result<Option<KnownQueue>, StoreError>;
}

/// Finished requests and settled events.
#[async_trait]
pub trait Results: Send + Sync {
    /// Returns at most `rows` finished requests after `after` in the given order, each in its latest version. Requests
    /// of removed lines are included only if the reading `since` or a later one saw them. Input order has none of
    /// removed lines, and its page ends before the first unfinished request.
    async fn finished(
        &self,
        run: RunId,
        order: Order,
        since: Option<i64>,
        after: i64,
        rows: usize,
    ) -> Result<FinishedPage, StoreError>;

    /// Returns finished requests by the store's own number, in the order of `queues`. A page ends early when results
    /// are large: its `after` is the number of queues that it covers.
    async fn finished_by_id(&self, run: RunId, queues: Vec<i64>) -> Result<FinishedPage, StoreError>;

    /// Returns at most `rows` settled events of the run after `after`, in the order of settling. A page ends early when
    /// results are large. `present` leaves out events of superseded requests and of requests outside the present input.
    /// Without `present`, earlier events never change: new ones are only added at the end.
    async fn events(
        &self,
        run: RunId,
        present: bool,
        after: i64,
        rows: usize,
    ) -> Result<EventPage, StoreError>;

    /// Returns the events of these queues up to an event number. A page ends early when results are large: its `after`
    /// is the number of queues that it covers.
    async fn events_of(&self, run: RunId, queues: Vec<i64>, up_to: i64) -> Result<EventPage, StoreError>;

    /// Returns a number that grows when a line that may have been written is no longer true: its request was
    /// superseded, put back, moved, removed from the input, or added to it again.
    async fn lines_epoch(&self, run: RunId) -> Result<i64, StoreError>;

    /// Returns the counts of the present input's requests by state.
    async fn counts(&self, run: RunId) -> Result<Counts, StoreError>;

    /// Returns the failed requests of the present input by error class, the most frequent class first. A request that
    /// is done in part counts with its first failure.
    async fn failed_classes(&self, run: RunId) -> Result<Vec<FailedClass>, StoreError>;
}

/// The cursors of output files.
#[async_trait]
pub trait Outputs: Send + Sync {
    /// Returns the run's cursor for that file, if there is one.
    async fn cursor(&self, run: RunId, file: &FileKey) -> Result<Option<Cursor>, StoreError>;

    /// Returns all cursors of the run with their files.
    async fn cursors(&self, run: RunId) -> Result<Vec<(FileKey, Cursor)>, StoreError>;

    /// The cursor is durable in place of `expected` (`None`: there was no cursor), and the store held the row `newest`
    /// at that moment. Otherwise nothing changed. A database that went back in time has another cursor, or lacks that
    /// row.
    async fn put_cursor(
        &self,
        run: RunId,
        file: &FileKey,
        expected: Option<&Cursor>,
        cursor: &Cursor,
        newest: Option<RowMark>,
    ) -> Result<CursorPut, StoreError>;

    /// Returns whether the store holds all of these rows. The rows are distinct.
    async fn has_rows(&self, run: RunId, feed: Feed, rows: Vec<RowMark>) -> Result<bool, StoreError>;
}

/// The processes that work on runs.
#[async_trait]
pub trait Workers: Send + Sync {
    /// The worker is listed for readers of the run.
    async fn register_worker(&self, run: RunId, worker: &Worker) -> Result<(), StoreError>;

    /// The worker's heartbeat and progress are stored. Expired leases of any owner and run are taken away. A store that
    /// one process locks takes them away at its opening instead.
    async fn heartbeat(&self, owner: &Owner, done: WorkerProgress, lease_ms: i64) -> Result<(), StoreError>;

    /// The worker is recorded as having left properly.
    async fn deregister_worker(&self, owner: &Owner, done: WorkerProgress) -> Result<(), StoreError>;

    /// Returns the processes that work on the run, or did recently. A store that one process locks returns none.
    async fn workers(&self, run: RunId) -> Result<Vec<WorkerState>, StoreError>;
}

/// The store as a whole.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// The whole store was read and is consistent as far as the engine can tell: SQLite checks pages and indexes, both
    /// engines check the sums and numbers of each run. It takes as long as reading the store.
    async fn check(&self) -> Result<(), StoreError>;

    /// Returns why the store does not answer at the moment, as text for people.
    fn trouble(&self) -> Option<String>;

    /// Memory that only serves as a cache is released.
    async fn shed_caches(&self) -> Result<(), StoreError>;

    /// No acknowledged write is lost if the process ends now. Files are in their tidy form.
    async fn close(&self) -> Result<(), StoreError>;
}
