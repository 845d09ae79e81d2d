//! The store as one SQLite file, for one process that writes and any number that read.
//!
//! One thread owns the only writing connection and commits in groups with `synchronous=FULL`; another
//! reads, so that the exporter never waits for a commit. A lock on the file keeps a second writer
//! out, which makes every lease found at the opening a dead one.
//!
//! Deliberately absent: a cursor that stays open between calls (it would keep the log from being folded
//! back), memory mapping, and copying the file while it is in use.

mod cache;
mod claim;
mod context;
mod cursors;
mod events;
mod fault;
mod identities;
mod ingest;
mod integrity;
mod lane;
mod ledger;
mod limits;
mod lock;
mod money;
mod open;
mod place;
mod plan;
#[cfg(test)]
mod plans;
mod quarantine;
mod recovery;
mod results;
mod retry;
mod runs;
mod session_views;
mod sessions;
mod settle;
mod versions;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::types::ValueRef;

pub use self::identities::Identities;

use self::fault::Fault;
use self::lane::{Kind, Lane};
use self::lock::StoreLock;
use self::place::Place;
use super::{
    AddOutcome, Changes, Claimable, Claims, Cleared, CrashMark, Cursor, CursorPut, Epoch, EventPage,
    Failures, Feed, FileKey, FinishedPage, Hold, InputMark, KnownQueue, Lease, Left, Material, NewLine,
    Order, Owner, PlanSettlement, Queues, Reservation, Results, RowMark, Run, RunId, RunOpening,
    SessionCounts, SessionEntry, SessionRecord, Sessions, Settled, Settlement, StoreError, TakeOver, Wanted,
    rounds,
};
use crate::clock;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::request::{Digest, Identity};
use crate::domain::state::{IllegalTransition, QueueState};
use crate::domain::tally::{Counts, RouteState, RunSummary, Waste};
use crate::domain::usage::Cost;

/// A SQLite store.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// Before the writer, because fields are dropped in order and the log can be folded back only when
    /// nobody reads it any more.
    reader: Option<Lane>,
    writer: Option<Lane>,
}

impl SqliteStore {
    /// Opens the store to work on it; makes it if it is absent. Waits up to `wait` for another process to
    /// leave it; `holder` is what others are told about us meanwhile.
    pub fn open(path: &Path, wait: Duration, holder: &str) -> Result<Self, StoreError> {
        let path = path.to_path_buf();
        if path.as_os_str() == open::MEMORY {
            let writer = Lane::start(open::in_memory(&path)?, Kind::Write, &path, None)?;
            return Ok(Self {
                path,
                reader: None,
                writer: Some(writer),
            });
        }
        let place = Place::find(&path)?;
        let mut lock = StoreLock::take(&place, wait, holder)?;
        let connection = open::writer(&place, lock.died())?;
        lane::once(&connection, |c| {
            quarantine::void_all(c, lock.died(), clock::now_ms())?;
            money::count_orphans(c, clock::now_ms())
        })
        .map_err(|fault| fault.at(&path))?;
        lock.leave_clean();
        let writer = Lane::start(connection, Kind::Write, &path, Some(lock))?;
        let reader = Lane::start(open::reader(&place)?, Kind::Read, &path, None)?;
        Ok(Self {
            path,
            reader: Some(reader),
            writer: Some(writer),
        })
    }

    /// Opens a store that exists, to look at it while others work on it.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let path = path.to_path_buf();
        if !path.exists() {
            return Err(StoreError::Io {
                path,
                action: "opening it",
                reason: "there is no such file (start a run first, or name its store with `--store`)"
                    .to_owned(),
            });
        }
        let reader = Lane::start(open::reader(&Place::find(&path)?)?, Kind::Read, &path, None)?;
        Ok(Self {
            path,
            reader: Some(reader),
            writer: None,
        })
    }

    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&rusqlite::Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.writer()?.call(work).await
    }

    fn writer(&self) -> Result<&Lane, StoreError> {
        self.writer.as_ref().ok_or_else(|| StoreError::Io {
            path: self.path.clone(),
            action: "writing",
            reason: "it was opened to be read only".to_owned(),
        })
    }

    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&rusqlite::Connection) -> Result<T, Fault> + Send + 'static,
    {
        match (&self.reader, &self.writer) {
            (Some(lane), _) | (None, Some(lane)) => lane.call(work).await,
            (None, None) => Err(StoreError::Closed),
        }
    }
}

#[async_trait]
impl Queues for SqliteStore {
    async fn open_run(&self, opening: &RunOpening) -> Result<Run, StoreError> {
        let opening = opening.clone();
        let path = self.path.clone();
        self.write(move |c| runs::open(c, &path, &opening, clock::now_ms()))
            .await
    }

    async fn begin_ingest(&self, run: RunId) -> Result<Epoch, StoreError> {
        self.write(move |c| ingest::begin(c, run)).await
    }

    async fn add(
        &self,
        run: RunId,
        epoch: Epoch,
        lines: Vec<NewLine>,
        changes: Changes,
    ) -> Result<Vec<AddOutcome>, StoreError> {
        self.write(move |c| ingest::add(c, run, epoch, &lines, changes, clock::now_ms()))
            .await
    }

    async fn end_ingest(&self, run: RunId, epoch: Epoch, mark: &InputMark) -> Result<(), StoreError> {
        let mark = *mark;
        self.write(move |c| ingest::end(c, run, epoch, &mark)).await
    }

    async fn claim(
        &self,
        run: RunId,
        owner: &Owner,
        which: Claimable,
        limit: usize,
        lease_ms: i64,
    ) -> Result<Claims, StoreError> {
        let owner = owner.clone();
        let rows = self
            .writer()?
            .call_first(move |c| claim::claim(c, run, &owner, which, limit, lease_ms, clock::now_ms()))
            .await?;
        Ok(claim::read(rows))
    }

    async fn renew(&self, _owner: &Owner, leases: &[Lease], lease_ms: i64) -> Result<Vec<Lease>, StoreError> {
        let leases = leases.to_vec();
        self.write(move |c| claim::renew(c, &leases, lease_ms, clock::now_ms()))
            .await
    }

    async fn mark(&self, lease: Lease, mark: CrashMark) -> Result<bool, StoreError> {
        self.write(move |c| quarantine::mark(c, lease, mark)).await
    }

    async fn note_panics(&self, lease: Lease, panics: u32) -> Result<bool, StoreError> {
        self.write(move |c| quarantine::note_panics(c, lease, panics))
            .await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        let bytes = settlement.bytes();
        self.writer()?
            .call_of(bytes, move |c| settle::settle(c, &settlement, clock::now_ms()))
            .await
    }

    async fn settle_plan(&self, settlement: PlanSettlement) -> Result<Settled, StoreError> {
        self.write(move |c| plan::settle(c, &settlement, clock::now_ms()))
            .await
    }

    async fn take_over(&self, lease: Lease) -> Result<TakeOver, StoreError> {
        self.write(move |c| plan::take_over(c, lease, clock::now_ms()))
            .await
    }

    async fn release(&self, left: Vec<Left>) -> Result<(), StoreError> {
        self.write(move |c| claim::release(c, &left, clock::now_ms()))
            .await
    }

    async fn reserve(&self, run: RunId, reservation: &Reservation, cap: Cost) -> Result<Hold, StoreError> {
        let reservation = reservation.clone();
        self.write(move |c| money::reserve(c, run, &reservation, cap, clock::now_ms()))
            .await
    }

    async fn note_routes(&self, run: RunId, routes: Vec<RouteState>) -> Result<(), StoreError> {
        self.write(move |c| money::note_routes(c, run, &routes)).await
    }

    async fn retry(&self, run: RunId, which: &Failures) -> Result<u64, StoreError> {
        let which = which.clone();
        self.write(move |c| retry::retry(c, run, &which)).await
    }

    async fn has_unfinished(&self, run: RunId) -> Result<bool, StoreError> {
        self.read(move |c| runs::has_unfinished(c, run)).await
    }

    async fn shed_caches(&self) -> Result<(), StoreError> {
        let shrink = |c: &rusqlite::Connection| Ok(c.execute_batch("PRAGMA shrink_memory")?);
        self.read(shrink).await?;
        self.write(shrink).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        if let Some(reader) = &self.reader {
            reader.close().await;
        }
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
        Ok(())
    }
}

#[async_trait]
impl Sessions for SqliteStore {
    async fn context(&self, wanted: &Wanted) -> Result<Material, StoreError> {
        let wanted = wanted.clone();
        let (material, rounds) = self.read(move |c| context::context(c, &wanted)).await?;
        Ok(rounds::with_rounds(material, rounds))
    }

    async fn list_sessions(&self, limit: usize) -> Result<Vec<SessionEntry>, StoreError> {
        self.read(move |c| session_views::list(c, limit)).await
    }

    async fn session(&self, user: &UserId, session: &SessionId) -> Result<Option<SessionRecord>, StoreError> {
        let (user, session) = (user.clone(), session.clone());
        let found = self
            .read(move |c| session_views::one(c, user.as_str(), session.as_str()))
            .await?;
        Ok(found.map(|row| SessionRecord {
            rounds: row.rounds.into_iter().map(rounds::RoundRow::parsed).collect(),
            items: row.items,
            queue: row.queue,
            pending: row.pending,
        }))
    }

    async fn clear_session(&self, user: &UserId, session: &SessionId) -> Result<Cleared, StoreError> {
        let (user, session) = (user.clone(), session.clone());
        self.write(move |c| session_views::clear(c, user.as_str(), session.as_str()))
            .await
    }
}

#[async_trait]
impl Results for SqliteStore {
    async fn find_run(&self, name: Option<&str>) -> Result<Option<Run>, StoreError> {
        let name = name.map(str::to_owned);
        self.read(move |c| runs::find(c, name.as_deref())).await
    }

    async fn runs(&self) -> Result<Vec<Run>, StoreError> {
        self.read(runs::all).await
    }

    async fn cursor(&self, run: RunId, file: &FileKey) -> Result<Option<Cursor>, StoreError> {
        let file = file.clone();
        self.read(move |c| cursors::one(c, run, &file)).await
    }

    async fn cursors(&self, run: RunId) -> Result<Vec<(FileKey, Cursor)>, StoreError> {
        self.read(move |c| cursors::all(c, run)).await
    }

    async fn put_cursor(
        &self,
        run: RunId,
        file: &FileKey,
        expected: Option<&Cursor>,
        cursor: &Cursor,
        newest: Option<RowMark>,
    ) -> Result<CursorPut, StoreError> {
        let (file, cursor, expected) = (file.clone(), *cursor, expected.map(|cursor| cursor.stamp));
        self.write(move |c| cursors::put(c, run, &file, expected, &cursor, newest))
            .await
    }

    async fn has_rows(&self, run: RunId, feed: Feed, rows: Vec<RowMark>) -> Result<bool, StoreError> {
        self.read(move |c| cursors::has_rows(c, run, feed, &rows)).await
    }

    async fn lines_epoch(&self, run: RunId) -> Result<i64, StoreError> {
        self.read(move |c| runs::lines_epoch(c, run)).await
    }

    async fn finished(
        &self,
        run: RunId,
        order: Order,
        since: Option<i64>,
        after: i64,
        rows: usize,
    ) -> Result<FinishedPage, StoreError> {
        self.read(move |c| results::finished(c, run, order, since, after, rows))
            .await
    }

    async fn finished_by_id(&self, run: RunId, queues: Vec<i64>) -> Result<FinishedPage, StoreError> {
        self.read(move |c| results::by_id(c, run, &queues)).await
    }

    async fn events(
        &self,
        run: RunId,
        present: bool,
        after: i64,
        rows: usize,
    ) -> Result<EventPage, StoreError> {
        self.read(move |c| events::page(c, run, present, after, rows))
            .await
    }

    async fn events_of(&self, run: RunId, queues: Vec<i64>, up_to: i64) -> Result<EventPage, StoreError> {
        self.read(move |c| events::of(c, run, &queues, up_to)).await
    }

    async fn planned(
        &self,
        run: RunId,
        identity: &Identity,
        occurrence: u64,
        content: Digest,
    ) -> Result<Option<KnownQueue>, StoreError> {
        let identity = identity.clone();
        self.read(move |c| session_views::planned(c, run, &identity, occurrence, content))
            .await
    }

    async fn counts(&self, run: RunId) -> Result<Counts, StoreError> {
        self.read(move |c| runs::counts(c, run)).await
    }

    async fn summary(&self, run: RunId) -> Result<RunSummary, StoreError> {
        self.read(move |c| runs::summary(c, run)).await
    }

    async fn waste(&self, run: RunId) -> Result<Vec<Waste>, StoreError> {
        self.read(move |c| money::waste(c, run)).await
    }

    async fn routes(&self, run: RunId) -> Result<Vec<RouteState>, StoreError> {
        self.read(move |c| money::routes(c, run)).await
    }

    async fn sessions(&self, run: RunId, limit: usize) -> Result<Vec<SessionCounts>, StoreError> {
        self.read(move |c| runs::sessions(c, run, limit)).await
    }
}

fn state_of(value: ValueRef<'_>) -> Result<QueueState, Fault> {
    let name = value.as_str().map_err(|error| Fault::Row(error.to_string()))?;
    QueueState::parse(name).ok_or_else(|| Fault::Row(format!("a queue is `{name}`")))
}

/// A transition that the domain refuses is a row that should not be there.
fn legal(state: Result<QueueState, IllegalTransition>) -> Result<QueueState, Fault> {
    state.map_err(|error| Fault::Row(error.to_string()))
}
