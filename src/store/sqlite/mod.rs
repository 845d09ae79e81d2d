//! The store as one SQLite file, for one process that writes and any number that read.
//!
//! One thread owns the only writing connection and commits in groups with `synchronous=FULL`. Another thread reads, so
//! that the exporter never waits for a commit. A lock on the file keeps a second writer out. So the owner of every
//! lease that an opening process finds has ended.
//!
//! Deliberately absent: a cursor that stays open between calls (it would prevent checkpoints of the log), memory
//! mapping, and copying the file while it is in use.

mod actions;
mod bad_lines;
mod cache;
mod calls;
mod claim;
mod context;
mod cursors;
mod db_thread;
mod ending;
mod events;
mod failed_classes;
mod fault;
mod graph;
mod history;
mod identities;
mod ingest;
mod integrity;
mod ledger;
mod limits;
mod lock;
mod money;
mod open;
mod parts;
mod place;
mod plan;
mod quarantine;
#[cfg(test)]
mod query_plan_tests;
mod recovery;
mod redo;
mod results;
mod retry;
mod runs;
mod session_views;
mod sessions;
mod settle;
mod submitted;
mod task_counts;
mod task_result;
mod tasks;
mod versions;
mod workers;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;

pub use self::identities::Identities;

use self::db_thread::{DbThread, DbThreadKind};
use self::fault::JobFault;
use self::lock::StoreLock;
use self::place::StorePlace;
use super::StoreError;
use crate::clock;
use crate::domain::state::{IllegalTransition, QueueState};

/// A SQLite store.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// The reader comes first, because fields are dropped in order and the last checkpoint needs all readers closed.
    reader: Option<DbThread>,
    writer: Option<DbThread>,
}

impl SqliteStore {
    /// Opens the store to work on it, and makes it if it is absent. Waits up to `wait` for another process to leave it.
    /// `holder` is the text by which other processes name this one.
    pub fn open(path: &Path, wait: Duration, holder: &str) -> Result<Self, StoreError> {
        let path = path.to_path_buf();
        if path.as_os_str() == open::MEMORY {
            let writer = DbThread::start(open::in_memory(&path)?, DbThreadKind::Write, &path, None)?;
            return Ok(Self {
                path,
                reader: None,
                writer: Some(writer),
            });
        }
        let place = StorePlace::find(&path)?;
        let mut lock = StoreLock::take(&place, wait, holder)?;
        let connection = open::writer(&place, lock.died())?;
        db_thread::once(&connection, |c| {
            quarantine::void_all(c, lock.died(), clock::now_ms())?;
            money::count_orphans(c, clock::now_ms())
        })
        .map_err(|fault| fault.at(&path))?;
        lock.leave_clean();
        let writer = DbThread::start(connection, DbThreadKind::Write, &path, Some(lock))?;
        let reader = DbThread::start(open::reader(&place)?, DbThreadKind::Read, &path, None)?;
        Ok(Self {
            path,
            reader: Some(reader),
            writer: Some(writer),
        })
    }

    /// Opens an existing store to read it while other processes work on it.
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
        let reader = DbThread::start(
            open::reader(&StorePlace::find(&path)?)?,
            DbThreadKind::Read,
            &path,
            None,
        )?;
        Ok(Self {
            path,
            reader: Some(reader),
            writer: None,
        })
    }

    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&rusqlite::Connection) -> Result<T, JobFault> + Send + 'static,
    {
        self.writer()?.call(work).await
    }

    fn writer(&self) -> Result<&DbThread, StoreError> {
        self.writer.as_ref().ok_or_else(|| StoreError::Io {
            path: self.path.clone(),
            action: "writing",
            reason: "it was opened read-only".to_owned(),
        })
    }

    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&rusqlite::Connection) -> Result<T, JobFault> + Send + 'static,
    {
        match (&self.reader, &self.writer) {
            (Some(thread), _) | (None, Some(thread)) => thread.call(work).await,
            (None, None) => Err(StoreError::Closed),
        }
    }
}

fn state_of(value: ValueRef<'_>) -> Result<QueueState, JobFault> {
    let name = value.as_str().map_err(|error| JobFault::Row(error.to_string()))?;
    QueueState::parse(name).ok_or_else(|| JobFault::Row(format!("a queue is `{name}`")))
}

/// Turns a transition that the domain refuses into a fault of the row.
fn legal(state: Result<QueueState, IllegalTransition>) -> Result<QueueState, JobFault> {
    state.map_err(|error| JobFault::Row(error.to_string()))
}
