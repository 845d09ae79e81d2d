//! From input lines to queues: identity, versions, duplicates.
//!
//! A row stands for one content of one request. An edited line makes a new row and supersedes the old one. Undoing the
//! edit finds the old row again, with its answer if it has one.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::value::RawValue;

use super::SqliteStore;
use super::fault::JobFault;
use super::{sessions, tasks};
use crate::domain::ids::SessionId;
use crate::domain::request::Identity;
use crate::domain::state::QueueState;
use crate::store::versions::{Bad, Good, StoredVersion, Version};
use crate::store::{
    AddOutcome, Changes, Epoch, Failures, Ingest, InputMark, NewLine, NewRequest, RunId, StoreError, keys,
};

#[async_trait]
impl Ingest for SqliteStore {
    async fn begin_ingest(&self, run: RunId) -> Result<Epoch, StoreError> {
        self.write(move |c| begin(c, run)).await
    }

    async fn add(
        &self,
        run: RunId,
        epoch: Epoch,
        lines: Vec<NewLine>,
        changes: Changes,
    ) -> Result<Vec<AddOutcome>, StoreError> {
        self.write(move |c| add(c, run, epoch, &lines, changes, crate::clock::now_ms()))
            .await
    }

    async fn end_ingest(&self, run: RunId, epoch: Epoch, mark: &InputMark) -> Result<(), StoreError> {
        let mark = *mark;
        self.write(move |c| end(c, run, epoch, &mark)).await
    }

    async fn retry(&self, run: RunId, which: &Failures) -> Result<u64, StoreError> {
        let which = which.clone();
        self.write(move |c| super::retry::retry(c, run, &which)).await
    }
}

pub(super) fn begin(c: &Connection, run: RunId) -> Result<Epoch, JobFault> {
    let epoch = c.query_row(
        "UPDATE nova3_runs SET ingest=ingest+1, input_digest=NULL, input_bytes=NULL, input_requests=NULL
         WHERE run_id=?1 RETURNING ingest",
        [run.0],
        |row| row.get(0),
    )?;
    Ok(Epoch(epoch))
}

/// The state that all lines of one call share.
pub(super) struct Reading<'a> {
    pub(super) c: &'a Connection,
    pub(super) run: RunId,
    pub(super) epoch: Epoch,
    /// The last complete reading. Lines that only earlier readings saw are not part of the input.
    pub(super) complete: i64,
    changes: Changes,
    pub(super) now: i64,
    pub(super) next_seq: i64,
    /// Whether a line that may be in a result file is no longer true, or a removed line came back.
    pub(super) stale: bool,
}

pub(super) fn add(
    c: &Connection,
    run: RunId,
    epoch: Epoch,
    lines: &[NewLine],
    changes: Changes,
    now: i64,
) -> Result<Vec<AddOutcome>, JobFault> {
    let (next_seq, complete) = c
        .prepare_cached("SELECT next_seq, complete_ingest FROM nova3_runs WHERE run_id=?1")?
        .query_row([run.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut reading = Reading {
        c,
        run,
        epoch,
        complete,
        changes,
        now,
        next_seq,
        stale: false,
    };
    let outcomes = lines
        .iter()
        .map(|line| reading.line(line))
        .collect::<Result<_, _>>()?;
    c.prepare_cached("UPDATE nova3_runs SET next_seq=?2, lines_epoch=lines_epoch+?3 WHERE run_id=?1")?
        .execute(params![run.0, reading.next_seq, reading.stale])?;
    Ok(outcomes)
}

impl Reading<'_> {
    fn line(&mut self, line: &NewLine) -> Result<AddOutcome, JobFault> {
        match &line.content {
            NewRequest::Bad {
                digest,
                claim,
                failure,
            } => {
                let bad = Bad {
                    line,
                    digest,
                    claim,
                    failure,
                };
                self.bad(&bad).map(AddOutcome::Bad)
            }
            NewRequest::Good {
                request,
                identity,
                content,
                notes,
                plan,
                stops,
            } => {
                let key = match identity {
                    Identity::Custom(_) => keys::key(identity, 1),
                    Identity::Content(digest) => self.free_key(&keys::content_stem(digest))?,
                };
                let versions = self.versions(&key)?;
                let good = Good {
                    line,
                    request,
                    content,
                    notes,
                    stops,
                    plan,
                };
                if versions.iter().any(|version| version.ingest == self.epoch.0) {
                    let twice = (good.claim(), good.stands_twice());
                    return self.bad(&good.twice(&twice)).map(AddOutcome::Duplicate);
                }
                self.take_name(request.custom_id.as_deref())?;
                self.good(&good, &key, &versions)
            }
        }
    }

    /// Adds a request under its key: new, known or changed.
    fn good(&mut self, good: &Good<'_>, key: &str, versions: &[Version]) -> Result<AddOutcome, JobFault> {
        let (latest, undone) = match good.among(versions) {
            StoredVersion::Nothing => {
                self.insert(good, key, None)?;
                return Ok(AddOutcome::Queued);
            }
            StoredVersion::Same(version) => return self.recognise(good, version),
            StoredVersion::Other { latest, undone } => (latest, undone),
        };
        if self.changes == Changes::Refuse {
            return Err(self.frozen(good)?.into());
        }
        self.supersede(latest)?;
        let outcome = if let Some(old) = undone {
            self.revive(good, old)?
        } else {
            self.insert(good, key, Some(latest))?;
            AddOutcome::Changed
        };
        // The old version may have blocked others of its session, which can be another session than the new version's.
        self.in_order(&latest.user, latest.session.as_deref())?;
        Ok(outcome)
    }

    fn frozen(&self, good: &Good<'_>) -> Result<StoreError, JobFault> {
        let run = self.c.query_row(
            "SELECT name FROM nova3_runs WHERE run_id=?1",
            [self.run.0],
            |row| row.get(0),
        )?;
        let id = good.request.custom_id.clone().unwrap_or_default();
        Ok(StoreError::Frozen {
            run,
            id,
            line: good.line.line,
        })
    }

    /// Returns the key of the next occurrence of an equal line in this reading. The occurrences seen so far are
    /// numbered 1 to k without a gap, so a binary search finds k.
    pub(super) fn free_key(&self, stem: &str) -> Result<String, JobFault> {
        let key = |occurrence: u64| keys::occurrence_of(stem, occurrence);
        let seen = |occurrence: u64| -> Result<bool, JobFault> {
            let found = self
                .c
                .prepare_cached(
                    "SELECT 1 FROM nova3_queues WHERE run_id=?1 AND queue_key=?2 AND ingest=?3 LIMIT 1",
                )?
                .query_row(params![self.run.0, key(occurrence), self.epoch.0], |_| Ok(()))
                .optional()?;
            Ok(found.is_some())
        };
        let mut high = 1;
        while seen(high)? {
            high *= 2;
        }
        let mut low = high / 2;
        while low + 1 < high {
            let middle = low.midpoint(high);
            if seen(middle)? {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(key(high))
    }

    /// Adds a row for the line. When it replaces `old`, it takes the place of `old` in the order of arrival.
    fn insert(&mut self, good: &Good<'_>, key: &str, old: Option<&Version>) -> Result<(), JobFault> {
        let request = good.request;
        let session = request.session.as_ref().map(SessionId::as_str);
        let user = request.user.as_str();
        let state = match session {
            Some(_) if old.is_some() => QueueState::Blocked,
            Some(_) if failpoint!("sessions-without-order") => QueueState::Open,
            Some(session) if sessions::has_open(self.c, self.run.0, user, session)? => QueueState::Blocked,
            _ => QueueState::Open,
        };
        let seq = old.map_or(self.next_seq, |old| old.seq);
        self.next_seq += i64::from(old.is_none());
        let tasks = Some(good.plan.len()).filter(|tasks| *tasks > 0);
        self.c
            .prepare_cached(
                "INSERT INTO nova3_queues(run_id, seq, ingest, line_index, line, queue_key, content_digest, notes_digest,
                   custom_id, user_id, session_id, state, priority, task_count, given_tasks, created_at, last_accessed, ready)
                 VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?16,?17)",
            )?
            .execute(params![
                self.run.0,
                seq,
                self.epoch.0,
                good.line.index,
                good.line.line,
                key,
                &good.content.as_bytes()[..],
                &good.notes.as_bytes()[..],
                request.custom_id,
                user,
                session,
                state.as_str(),
                request.priority,
                tasks,
                good.given_tasks(),
                self.now,
                good.ready_at_first(),
            ])?;
        let queue_id = self.c.last_insert_rowid();
        self.c
            .prepare_cached("INSERT INTO nova3_requests(queue_id, request, metadata) VALUES(?1,?2,?3)")?
            .execute(params![
                queue_id,
                request.to_stored(),
                request.metadata.as_deref().map(RawValue::get)
            ])?;
        tasks::write(self.c, queue_id, good.plan, self.now)?;
        if old.is_some() {
            self.in_order(user, session)?;
        }
        Ok(())
    }

    /// Restores the session's order after one of its queues was added or removed.
    pub(super) fn in_order(&self, user: &str, session: Option<&str>) -> Result<(), JobFault> {
        match session {
            Some(session) => sessions::promote(self.c, self.run.0, self.epoch.0, user, session),
            None => Ok(()),
        }
    }
}

/// Ends a reading: lines that it has not seen are not part of the input.
pub(super) fn end(c: &Connection, run: RunId, epoch: Epoch, mark: &InputMark) -> Result<(), JobFault> {
    let removed = removed_finished(c, run, epoch)?;
    c.execute(
        "UPDATE nova3_runs SET complete_ingest=?2, input_digest=?3, input_bytes=?4, input_requests=?5,
           lines_epoch=lines_epoch+?6 WHERE run_id=?1",
        params![
            run.0,
            epoch.0,
            &mark.digest[..],
            mark.bytes,
            mark.requests,
            removed
        ],
    )?;
    sessions::hold_back_unseen(c, run.0, epoch.0)
}

/// Whether a finished line leaves the input with this reading.
fn removed_finished(c: &Connection, run: RunId, epoch: Epoch) -> Result<bool, JobFault> {
    // Each finished state has a small index, so the table itself is not read.
    for state in ["done", "failed", "paused", "continued"] {
        let sql = format!(
            "SELECT EXISTS(SELECT 1 FROM nova3_queues WHERE state='{state}' AND run_id=?1 AND ingest<?2
               AND ingest>=(SELECT complete_ingest FROM nova3_runs WHERE run_id=?1))"
        );
        if c.query_row(&sql, params![run.0, epoch.0], |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}
