//! The store as a PostgreSQL database, for any number of processes on any hosts.
//!
//! Locks, uniqueness, durability and replication are PostgreSQL's. Each verb that many workers use at once is a
//! function in the database (`schema/postgres/functions`), so that it is one statement: no lock is ever held across the
//! network, where its holder may stand still. What is rare, or one process's alone, is a transaction from here.
//!
//! Failure behaviour: while the database does not answer, whoever asks waits. What was on its way is asked again when
//! it does, and finds what it did if it was done already. A worker that is frozen or cut off loses its leases to
//! others; what it offers later changes nothing but the ledger.
//!
//! Deliberately absent: session state (a pooler may stand between), notifications for each row, the clock of a host,
//! and anything in the database that there is once for each run: its tables, indexes, locks and plans are as many with a
//! thousand runs as with one.

/// Does a job on a connection, again and again while the database does not answer.
macro_rules! job {
    ($store:ident, |$c:ident| $work:expr) => {{
        let attempt = |within| {
            let opening = $store.database.connect_within(within);
            async {
                let mut connection = opening.await?;
                let $c = &mut connection;
                let done = $work.await?;
                connection.end_within().await?;
                Ok(done)
            }
        };
        let done: Result<_, Fault> = $store.database.patiently_within(attempt).await;
        done.map_err(|fault| fault.at($store.database.shown()))
    }};
}

mod answered;
mod batch;
mod cache;
mod calls;
mod context;
mod cursors;
mod events;
mod fault;
mod ingest;
mod integrity;
mod leases;
mod money;
mod names;
mod opening;
mod readings;
mod results;
mod retry;
mod rows;
mod runs;
mod schema;
mod session_order;
mod session_views;
mod settle;
mod versions;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use self::batch::Batch;
use self::fault::Fault;
use self::leases::Claim;
use self::money::Capped;
use super::{
    AddOutcome, Changes, Claimable, Claims, Cleared, CrashMark, Cursor, CursorPut, Done, Epoch, EventPage,
    Failures, Feed, FileKey, FinishedPage, Hold, InputMark, KnownQueue, Lease, Left, Material, NewLine,
    Order, Owner, PlanSettlement, Queues, Reservation, Results, RowMark, Run, RunId, RunOpening,
    SessionCounts, SessionEntry, SessionRecord, Sessions, Settled, Settlement, StoreError, TakeOver, Wanted,
    Worker, WorkerState, rounds,
};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::request::{Digest, Identity};
use crate::domain::state::{IllegalTransition, QueueState};
use crate::domain::tally::{Counts, RouteState, RunSummary, Waste};
use crate::domain::usage::Cost;
use crate::postgres::Database;

/// The lower bits of a queue's number count the queues of its run; those above are the run's number.
const RUN_BITS: u32 = 36;

/// How long a statement may take that touches every row of a run.
const LONG: Duration = Duration::from_secs(1800);

const fn run_of(queue: i64) -> i64 {
    queue >> RUN_BITS
}

/// Those of the queues that are of the run.
fn of_run(run: RunId, queues: Vec<i64>) -> Vec<i64> {
    let ours = |queue: &i64| run_of(*queue) == run.0;
    queues.into_iter().filter(ours).collect()
}

/// A PostgreSQL store.
#[derive(Debug)]
pub struct PostgresStore {
    database: Database,
    tasks: Batch<Settlement>,
    plans: Batch<PlanSettlement>,
    reservations: Batch<Capped>,
    /// Leases that are taken away in one statement at most.
    reaps: AtomicI64,
    /// The ticket of the last chunk that this process added to a reading.
    chunks: Mutex<HashMap<(i64, i64), i64>>,
}

impl PostgresStore {
    fn last_chunk(&self, run: RunId, epoch: Epoch) -> Option<i64> {
        let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.get(&(run.0, epoch.0)).copied()
    }
}

#[async_trait]
impl Queues for PostgresStore {
    async fn open_run(&self, opening: &RunOpening) -> Result<Run, StoreError> {
        let (shown, changed) = (self.database.shown(), &AtomicBool::new(false));
        job!(self, |c| runs::open(c, shown, opening, changed))
    }

    async fn begin_ingest(&self, run: RunId) -> Result<Epoch, StoreError> {
        job!(self, |c| readings::begin(c, run))
    }

    async fn add(
        &self,
        run: RunId,
        epoch: Epoch,
        lines: Vec<NewLine>,
        changes: Changes,
    ) -> Result<Vec<AddOutcome>, StoreError> {
        let (lines, ticket) = (&lines, batch::ticket());
        let tickets = (self.last_chunk(run, epoch), ticket);
        let added = job!(self, |c| ingest::add(c, run, epoch, lines, changes, tickets))?;
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.insert((run.0, epoch.0), ticket);
        Ok(added)
    }

    async fn end_ingest(&self, run: RunId, epoch: Epoch, mark: &InputMark) -> Result<(), StoreError> {
        let before = self.last_chunk(run, epoch);
        job!(self, |c| readings::end(c, run, epoch, mark, before))
    }

    async fn claim(
        &self,
        run: RunId,
        owner: &Owner,
        which: Claimable,
        limit: usize,
        lease_ms: i64,
    ) -> Result<Claims, StoreError> {
        let claim = &Claim {
            run,
            owner,
            which,
            limit,
            lease_ms,
            ticket: batch::ticket(),
        };
        job!(self, |c| leases::claim(c, claim))
    }

    async fn renew(&self, owner: &Owner, leases: &[Lease], lease_ms: i64) -> Result<Vec<Lease>, StoreError> {
        leases::renew_apart(&self.database, owner, leases, lease_ms).await
    }

    async fn mark(&self, lease: Lease, mark: CrashMark) -> Result<bool, StoreError> {
        job!(self, |c| leases::mark(c, lease, mark))
    }

    async fn note_panics(&self, lease: Lease, panics: u32) -> Result<bool, StoreError> {
        job!(self, |c| leases::note_panics(c, lease, panics))
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        self.tasks.write(settlement).await
    }

    async fn settle_plan(&self, settlement: PlanSettlement) -> Result<Settled, StoreError> {
        self.plans.write(settlement).await
    }

    async fn take_over(&self, lease: Lease) -> Result<TakeOver, StoreError> {
        let ticket = batch::ticket();
        job!(self, |c| leases::take_over(c, lease, ticket))
    }

    async fn release(&self, left: Vec<Left>) -> Result<(), StoreError> {
        let (left, ticket) = (&left, batch::ticket());
        job!(self, |c| leases::release(c, left, ticket))
    }

    async fn reserve(&self, _: RunId, reservation: &Reservation, cap: Cost) -> Result<Hold, StoreError> {
        let reservation = reservation.clone();
        self.reservations.write(Capped { reservation, cap }).await
    }

    async fn note_routes(&self, run: RunId, routes: Vec<RouteState>) -> Result<(), StoreError> {
        let routes = &routes;
        job!(self, |c| money::note_routes(c, run, routes))
    }

    async fn retry(&self, run: RunId, which: &Failures) -> Result<u64, StoreError> {
        let told = &AtomicU64::new(0);
        job!(self, |c| retry::retry(c, run, which, told))
    }

    async fn has_unfinished(&self, run: RunId) -> Result<bool, StoreError> {
        job!(self, |c| runs::has_unfinished(c, run))
    }

    async fn join(&self, run: RunId, worker: &Worker) -> Result<(), StoreError> {
        job!(self, |c| leases::join(c, run, worker))
    }

    async fn tend(&self, owner: &Owner, done: Done, lease_ms: i64) -> Result<(), StoreError> {
        job!(self, |c| leases::seen(c, owner, done))?;
        leases::reap_all(&self.database, &self.reaps, lease_ms).await
    }

    async fn leave(&self, owner: &Owner, done: Done) -> Result<(), StoreError> {
        job!(self, |c| leases::leave(c, owner, done))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn trouble(&self) -> Option<String> {
        self.database.trouble()
    }

    async fn shed_caches(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.tasks.close().await;
        self.plans.close().await;
        self.reservations.close().await;
        self.database.close();
        Ok(())
    }
}

#[async_trait]
impl Sessions for PostgresStore {
    async fn context(&self, wanted: &Wanted) -> Result<Material, StoreError> {
        let (material, rows) = job!(self, |c| context::context(c, wanted))?;
        Ok(rounds::with_rounds(material, rows))
    }

    async fn list_sessions(&self, limit: usize) -> Result<Vec<SessionEntry>, StoreError> {
        job!(self, |c| session_views::list(c, limit))
    }

    async fn session(&self, user: &UserId, session: &SessionId) -> Result<Option<SessionRecord>, StoreError> {
        job!(self, |c| session_views::one(c, user.as_str(), session.as_str()))
    }

    async fn clear_session(&self, user: &UserId, session: &SessionId) -> Result<Cleared, StoreError> {
        let told = &Mutex::new(Cleared::default());
        job!(self, |c| session_views::clear(
            c,
            user.as_str(),
            session.as_str(),
            told
        ))
    }
}

#[async_trait]
impl Results for PostgresStore {
    async fn find_run(&self, name: Option<&str>) -> Result<Option<Run>, StoreError> {
        job!(self, |c| runs::find(c, name))
    }

    async fn open_runs(&self) -> Result<Vec<(Run, bool)>, StoreError> {
        job!(self, |c| runs::open_runs(c))
    }

    async fn runs(&self) -> Result<Vec<Run>, StoreError> {
        job!(self, |c| runs::all(c))
    }

    async fn cursor(&self, run: RunId, file: &FileKey) -> Result<Option<Cursor>, StoreError> {
        job!(self, |c| cursors::one(c, run, file))
    }

    async fn cursors(&self, run: RunId) -> Result<Vec<(FileKey, Cursor)>, StoreError> {
        job!(self, |c| cursors::all(c, run))
    }

    async fn put_cursor(
        &self,
        run: RunId,
        file: &FileKey,
        expected: Option<&Cursor>,
        cursor: &Cursor,
        newest: Option<RowMark>,
    ) -> Result<CursorPut, StoreError> {
        let expected = expected.map(|cursor| cursor.stamp);
        job!(self, |c| cursors::put(c, run, file, expected, cursor, newest))
    }

    async fn has_rows(&self, run: RunId, feed: Feed, rows: Vec<RowMark>) -> Result<bool, StoreError> {
        let rows = &rows;
        job!(self, |c| cursors::has_rows(c, run, feed, rows))
    }

    async fn lines_epoch(&self, run: RunId) -> Result<i64, StoreError> {
        job!(self, |c| runs::lines_epoch(c, run))
    }

    async fn finished(
        &self,
        run: RunId,
        order: Order,
        since: Option<i64>,
        after: i64,
        rows: usize,
    ) -> Result<FinishedPage, StoreError> {
        job!(self, |c| results::finished(c, run, order, since, after, rows))
    }

    async fn finished_by_id(&self, run: RunId, queues: Vec<i64>) -> Result<FinishedPage, StoreError> {
        let queues = &of_run(run, queues);
        job!(self, |c| results::by_id(c, queues))
    }

    async fn events(
        &self,
        run: RunId,
        present: bool,
        after: i64,
        rows: usize,
    ) -> Result<EventPage, StoreError> {
        job!(self, |c| events::page(c, run, present, after, rows))
    }

    async fn events_of(&self, run: RunId, queues: Vec<i64>, up_to: i64) -> Result<EventPage, StoreError> {
        let queues = &of_run(run, queues);
        job!(self, |c| events::of(c, queues, up_to))
    }

    async fn planned(
        &self,
        run: RunId,
        identity: &Identity,
        occurrence: u64,
        content: Digest,
    ) -> Result<Option<KnownQueue>, StoreError> {
        job!(self, |c| session_views::planned(
            c, run, identity, occurrence, content
        ))
    }

    async fn counts(&self, run: RunId) -> Result<Counts, StoreError> {
        job!(self, |c| runs::counts(c, run))
    }

    async fn summary(&self, run: RunId) -> Result<RunSummary, StoreError> {
        job!(self, |c| runs::summary(c, run))
    }

    async fn waste(&self, run: RunId) -> Result<Vec<Waste>, StoreError> {
        job!(self, |c| money::waste(c, run))
    }

    async fn routes(&self, run: RunId) -> Result<Vec<RouteState>, StoreError> {
        job!(self, |c| money::routes(c, run))
    }

    async fn sessions(&self, run: RunId, limit: usize) -> Result<Vec<SessionCounts>, StoreError> {
        job!(self, |c| runs::sessions(c, run, limit))
    }

    async fn workers(&self, run: RunId) -> Result<Vec<WorkerState>, StoreError> {
        job!(self, |c| leases::workers(c, run))
    }
}

/// A transition that the domain refuses is a row that should not be there.
fn legal(state: Result<QueueState, IllegalTransition>) -> Result<QueueState, Fault> {
    state.map_err(|error| Fault::Row(error.to_string()))
}
