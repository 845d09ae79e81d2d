//! From input lines to queues: identity, versions, duplicates. A chunk of lines is one transaction.
//!
//! A row stands for one content of one request. An edited line makes a new row and supersedes the old one. Undoing the
//! edit finds the old row again, with its answer if it has one. Common operations are gathered and written for all
//! lines at once; rare ones are done line by line. A chunk whose answer was lost is added again and finds its answer.

use std::collections::{BTreeSet, HashMap};
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;

use super::PostgresStore;
use super::fault::JobFault;
use super::names::Names;
use super::rows::{BadRows, Replaced, Rows};
use super::session_order::SessionKeys;
use super::versions::SeenLines;
use super::{answered, session_order, versions};
use crate::domain::request::{Claim, Identity};
use crate::postgres::{Connection, Param, text};
use crate::store::versions::{Bad, Good, StoredVersion, Version};
use crate::store::{
    AddOutcome, Changes, Epoch, Failures, Ingest, InputMark, NewLine, NewRequest, RunId, StoreError, keys,
};

#[async_trait]
impl Ingest for PostgresStore {
    async fn begin_ingest(&self, run: RunId) -> Result<Epoch, StoreError> {
        job!(self, |c| super::readings::begin(c, run))
    }

    async fn add(
        &self,
        run: RunId,
        epoch: Epoch,
        lines: Vec<NewLine>,
        changes: Changes,
    ) -> Result<Vec<AddOutcome>, StoreError> {
        let (lines, ticket) = (&lines, super::batch::ticket());
        let tickets = (self.last_chunk(run, epoch), ticket);
        let added = job!(self, |c| add(c, run, epoch, lines, changes, tickets))?;
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.insert((run.0, epoch.0), ticket);
        Ok(added)
    }

    async fn end_ingest(&self, run: RunId, epoch: Epoch, mark: &InputMark) -> Result<(), StoreError> {
        let before = self.last_chunk(run, epoch);
        job!(self, |c| super::readings::end(c, run, epoch, mark, before))
    }

    async fn retry(&self, run: RunId, which: &Failures) -> Result<u64, StoreError> {
        let told = &AtomicU64::new(0);
        job!(self, |c| super::retry::retry(c, run, which, told))
    }
}

/// The state that all lines of one call share.
pub(super) struct Reading<'a> {
    pub(super) c: &'a mut Connection,
    pub(super) run: RunId,
    pub(super) epoch: Epoch,
    /// The last complete reading. Lines that only earlier readings saw are not part of the input.
    pub(super) complete: i64,
    changes: Changes,
    next_seq: i64,
    next_queue: i64,
    first_queue: i64,
    /// Whether a line that may be in a result file is no longer true, or a removed line came back.
    pub(super) stale: bool,
    /// The versions by key that have been looked up.
    versions: HashMap<String, Vec<Version>>,
    /// The number of equal lines of each stem in this reading, for the stems that have been counted.
    occurrences: HashMap<String, u64>,
    rows: Rows,
    bad: BadRows,
    pub(super) seen: SeenLines,
    pub(super) replaced: Replaced,
    pub(super) names: Names,
    /// The sessions of the lines and of their versions. Their heads are locked, and the end of the chunk promotes
    /// queues in them.
    sessions: SessionKeys,
}

pub(super) async fn add(
    c: &mut Connection,
    run: RunId,
    epoch: Epoch,
    lines: &[NewLine],
    changes: Changes,
    (before, ticket): (Option<i64>, i64),
) -> Result<Vec<AddOutcome>, JobFault> {
    c.begin().await?;
    lock(c, run).await?;
    let row = c
        .row(
            "SELECT next_seq, next_queue, complete_ingest FROM nova3_runs WHERE run_id = $1",
            &[run.0.sent()],
        )
        .await?;
    let mut reading = Reading {
        run,
        epoch,
        complete: row.get(2),
        changes,
        next_seq: row.get(0),
        next_queue: row.get(1),
        first_queue: row.get(1),
        stale: false,
        versions: HashMap::new(),
        occurrences: HashMap::new(),
        rows: Rows::default(),
        bad: BadRows::default(),
        seen: SeenLines::default(),
        replaced: Replaced::default(),
        names: Names::default(),
        sessions: SessionKeys::new(),
        c,
    };
    if let Some(answered) = answered::find(reading.c, run, epoch, before, ticket).await? {
        reading.c.commit().await?;
        return Ok(answered);
    }
    reading.look_up(lines).await?;
    let mut outcomes = Vec::with_capacity(lines.len());
    for line in lines {
        outcomes.push(reading.line(line).await?);
    }
    answered::keep(reading.c, run, epoch, ticket, &outcomes).await?;
    reading.write().await?;
    Ok(outcomes)
}

/// Takes the lock under which one reading of a run at a time adds lines or ends.
pub(super) async fn lock(c: &mut Connection, run: RunId) -> Result<(), JobFault> {
    c.rows("SELECT nova3_lock_ingest($1)", &[run.0.sent()]).await?;
    Ok(())
}

impl Reading<'_> {
    /// Looks up in advance, in few statements, what most lines need.
    async fn look_up(&mut self, lines: &[NewLine]) -> Result<(), JobFault> {
        let mut stems = BTreeSet::new();
        let mut wanted = Vec::new();
        for line in lines {
            match &line.content {
                NewRequest::Bad { digest, .. } => drop(stems.insert(keys::bad_stem(digest))),
                NewRequest::Good {
                    identity: Identity::Content(digest),
                    ..
                } => drop(stems.insert(keys::content_stem(digest))),
                NewRequest::Good { identity, .. } => wanted.push(text(&keys::key(identity, 1))),
            }
        }
        wanted.extend(self.names.look_up(self.c, self.run, self.epoch, lines).await?);
        let stems: Vec<String> = stems.into_iter().collect();
        self.count(&stems).await?;
        let mut next: HashMap<String, u64> = self.occurrences.clone();
        for line in lines {
            let stem = match &line.content {
                NewRequest::Bad { digest, .. } => keys::bad_stem(digest),
                NewRequest::Good {
                    identity: Identity::Content(digest),
                    ..
                } => keys::content_stem(digest),
                NewRequest::Good { .. } => continue,
            };
            let occurrence = next.entry(stem.clone()).or_default();
            *occurrence += 1;
            wanted.push(keys::occurrence_of(&stem, *occurrence));
        }
        self.find(wanted).await?;
        // The heads are locked before any queue. Each transaction that changes the order of a session does so.
        self.sessions = session_order::sessions(lines, self.versions.values().flatten());
        session_order::add_heads(self.c, self.run, &self.sessions).await
    }

    /// Counts the equal lines of each stem in this reading. They are numbered from 1 without a gap, so a search for the
    /// last number takes few steps.
    async fn count(&mut self, stems: &[String]) -> Result<(), JobFault> {
        if stems.is_empty() {
            return Ok(());
        }
        let rows = self
            .c
            .rows(
                "SELECT i.stem, nova3_occurrences($1, $2, i.stem) FROM unnest($3) i(stem)",
                &[self.run.0.sent(), self.epoch.0.sent(), stems.to_vec().sent()],
            )
            .await?;
        let counted = rows
            .iter()
            .map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs()));
        self.occurrences.extend(counted);
        Ok(())
    }

    async fn find(&mut self, wanted: Vec<String>) -> Result<(), JobFault> {
        let found = versions::of_keys(self.c, self.run, &wanted).await?;
        for key in wanted {
            self.versions.entry(key).or_default();
        }
        for (key, version) in found {
            self.versions.entry(key).or_default().push(version);
        }
        Ok(())
    }

    /// Returns all versions under that key; at most one of them is not superseded.
    async fn versions(&mut self, key: &str) -> Result<Vec<Version>, JobFault> {
        if !self.versions.contains_key(key) {
            self.find(vec![key.to_owned()]).await?;
        }
        Ok(self.versions.get(key).cloned().unwrap_or_default())
    }

    /// Returns the key of the next occurrence of an equal line in this reading.
    async fn free_key(&mut self, stem: String) -> Result<String, JobFault> {
        if !self.occurrences.contains_key(&stem) {
            self.count(std::slice::from_ref(&stem)).await?;
        }
        let occurrence = self.occurrences.entry(stem.clone()).or_default();
        *occurrence += 1;
        Ok(keys::occurrence_of(&stem, *occurrence))
    }

    async fn line(&mut self, line: &NewLine) -> Result<AddOutcome, JobFault> {
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
                self.bad(&bad).await.map(AddOutcome::Bad)
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
                    Identity::Custom(_) => text(&keys::key(identity, 1)),
                    Identity::Content(digest) => self.free_key(keys::content_stem(digest)).await?,
                };
                let versions = self.versions(&key).await?;
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
                    let queue = self.bad(&good.twice(&twice)).await?;
                    return Ok(AddOutcome::Duplicate(queue));
                }
                self.stale |= self.names.take(request.custom_id.as_deref());
                self.good(&good, &key, &versions).await
            }
        }
    }

    /// Adds a request under its key: new, known or changed.
    async fn good(&mut self, good: &Good<'_>, key: &str, known: &[Version]) -> Result<AddOutcome, JobFault> {
        let (latest, undone) = match good.among(known) {
            StoredVersion::Nothing => {
                self.insert(good, key, None);
                return Ok(AddOutcome::Queued);
            }
            StoredVersion::Same(version) => {
                self.mark(key, version);
                return self.recognise(good, version).await;
            }
            StoredVersion::Other { latest, undone } => (latest, undone),
        };
        if self.changes == Changes::Refuse {
            return Err(self.frozen(good).await?.into());
        }
        self.supersede(latest).await?;
        let outcome = if let Some(old) = undone {
            self.mark(key, old);
            self.revive(good, old).await?
        } else {
            self.insert(good, key, Some(latest));
            AddOutcome::Changed
        };
        Ok(outcome)
    }

    /// Marks a known version as seen by this reading.
    fn mark(&mut self, key: &str, seen: &Version) {
        let known = self.versions.get_mut(key).into_iter().flatten();
        known
            .filter(|known| known.queue_id == seen.queue_id)
            .for_each(|known| known.ingest = self.epoch.0);
    }

    async fn frozen(&mut self, good: &Good<'_>) -> Result<StoreError, JobFault> {
        let row = self
            .c
            .row(
                "SELECT name FROM nova3_runs WHERE run_id = $1",
                &[self.run.0.sent()],
            )
            .await?;
        Ok(StoreError::Frozen {
            run: row.get::<_, crate::postgres::PgText>(0).0,
            id: good.request.custom_id.clone().unwrap_or_default(),
            line: good.line.line,
        })
    }

    async fn bad(&mut self, bad: &Bad<'_>) -> Result<i64, JobFault> {
        let line = bad.line;
        let name = self.free_name(bad.claim).await?;
        let key = self.free_key(keys::bad_stem(bad.digest)).await?;
        if let Some(version) = self.versions(&key).await?.into_iter().next() {
            self.see(line, None, &version).await?;
            self.stale |= self
                .names
                .give(version.queue_id, name, version.custom_id.as_deref());
            return Ok(version.queue_id);
        }
        let queue = self.queue();
        self.bad.add(queue, self.next_seq, key, bad)?;
        self.names.give(queue, name, None);
        self.next_seq += 1;
        Ok(queue)
    }

    /// Returns the `custom_id` of a bad line, unless another line of this reading has it.
    async fn free_name(&mut self, claim: &Claim) -> Result<Option<String>, JobFault> {
        let Some(name) = claim.custom_id.clone() else {
            return Ok(None);
        };
        let key = text(&keys::key(&Identity::Custom(name.clone()), 1));
        let epoch = self.epoch.0;
        let versions = self.versions(&key).await?;
        let of_request = versions.iter().any(|known| known.ingest == epoch);
        Ok(Some(name).filter(|name| !of_request && !self.names.is_given(name)))
    }

    /// Returns the number of a new queue. Its upper bits are the run's number.
    fn queue(&mut self) -> i64 {
        self.next_queue += 1;
        (self.run.0 << super::RUN_BITS) | self.next_queue
    }

    /// Adds a row for the line. When it replaces `old`, it takes the place of `old` in the order of arrival.
    fn insert(&mut self, good: &Good<'_>, key: &str, old: Option<&Version>) {
        let seq = old.map_or(self.next_seq, |old| old.seq);
        self.next_seq += i64::from(old.is_none());
        let queue = self.queue();
        self.rows.add(queue, seq, good, key);
        let version = Version::new(queue, seq, self.epoch.0, good);
        self.versions.entry(key.to_owned()).or_default().push(version);
    }

    /// Writes the gathered rows and ends the transaction.
    async fn write(self) -> Result<(), JobFault> {
        let (c, run, epoch) = (self.c, self.run, self.epoch);
        let stale = self.seen.write(c, epoch).await? || self.stale;
        self.replaced.write(c, run).await?;
        self.rows.write(c, run, epoch).await?;
        session_order::promote(c, run, &self.sessions).await?;
        c.execute(
            "UPDATE nova3_runs SET next_seq = $2, next_queue = $3, lines_epoch = lines_epoch + $4 WHERE run_id = $1",
            &[
                run.0.sent(),
                self.next_seq.sent(),
                self.next_queue.sent(),
                i64::from(stale).sent(),
            ],
        )
        .await?;
        if super::rows::has_grown(self.first_queue, self.next_queue) {
            c.rows("SELECT nova3_analyze()", &[]).await?;
        }
        // Bad lines are last, because they lock the row that every settlement writes.
        self.bad.write(c, run, epoch).await?;
        self.names.write(c).await?;
        Ok(c.commit().await?)
    }
}
