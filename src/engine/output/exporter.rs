//! Writes finished lines into the result file, exactly once.
//!
//! A batch of lines is announced in the store, appended with an fsync, and settled together with the next announcement.
//! The store has an epoch that grows when written lines are no longer true. Then the file is written anew beside the
//! old one and takes its place. The same happens when the store went back in time: it then holds another cursor than
//! the one that was stored last, or lacks the rows that were read.

mod rewrite;

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::cursors;
use crate::engine::RunError;
use crate::engine::job::{ExportPorts, Exported, Job};
use crate::engine::output::pages::{Rendered, page};
use crate::sink::{Existing, FileState, ResultFile};
use crate::store::{Cursor, CursorPut, Feed, FileKey, Order, RowMark, Run, RunId, StoreError};

/// Lines of one append at most. A page ends earlier when results are large.
const ROWS: usize = 512;

/// A batch of this many bytes is full, with any number of lines.
const LARGE: usize = 1 << 20;

/// The pause after an append that did not fill its batch. Lines that finish meanwhile share the next announcement and
/// the next `fsync`. A call takes seconds, so the delay does not matter.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a rewrite waits while the input is being read, so that all changes of one reading share one rewrite.
const READING: Duration = Duration::from_secs(10);

/// The time between two looks at whether requests are still being redone.
const REDO_PAUSE: Duration = Duration::from_secs(1);

/// How often a store may go back in time while one process writes. If it happens more often, no file can be written
/// from it, or another process with the same host name writes to a file of the same path.
const MOST_RETURNS: u32 = 3;

pub(in crate::engine) struct Exporter {
    ports: ExportPorts,
    run: RunId,
    run_name: String,
    key: FileKey,
    cursor: Cursor,
    /// The cursor that the store holds, unless it went back in time.
    stored: Option<Cursor>,
    /// How often the store went back in time.
    returns: u32,
    /// `None` while a blocking thread works on it.
    file: Option<ResultFile>,
    /// When the file may be rewritten next, unless the run ends before.
    next_rewrite: Instant,
    /// When the file may be rewritten although the input is still being read. `None` while all its lines are true.
    rewrite_by: Option<Instant>,
    /// Whether the stored cursor equals this one.
    saved: bool,
}

/// The outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExportStep {
    /// A full batch was written: there may be more.
    Full,
    /// A small batch was written: there is probably nothing more.
    Wrote,
    /// Lines of the file are no longer true. It is not rewritten yet, because it was a short while ago, or because the
    /// input is being read.
    Later,
    Nothing,
}

impl Exporter {
    /// Opens the file and makes file and cursor agree. Refuses a file whose content the cursor does not explain, unless
    /// `existing` allows it.
    pub(in crate::engine) async fn open(
        ports: ExportPorts,
        job: &Job,
        run: &Run,
        feed: Feed,
        path: &Path,
        existing: Existing,
    ) -> Result<Self, RunError> {
        let key = FileKey {
            host: job.host.clone(),
            path: path.to_string_lossy().into_owned(),
        };
        let stored = ports.store.cursor(run.id, &key).await?;
        // Ignore a cursor that was written for another feed.
        let known = stored.filter(|cursor| cursor.feed == feed);
        let order = match feed {
            Feed::Results => job.order,
            Feed::Events => Order::Completion,
        };
        let mark = match &known {
            Some(cursor) => Some(cursors::mark(cursor, announced(&ports, run, cursor).await?)),
            None => None,
        };
        let owned = path.to_path_buf();
        let (file, found) =
            blocking(move || ResultFile::open(&owned, mark.as_ref(), existing).map_err(RunError::from))
                .await?;
        let append = existing == Existing::Append;
        let fresh = |base, epoch| cursors::fresh(feed, order, append, base, file.tail(), epoch);
        let epoch = epoch(&ports, run.id, feed).await?;
        let cursor = match (known, found) {
            (Some(cursor), FileState::AsMarked) => Cursor {
                announced: 0,
                announced_after: cursor.after,
                after: if failpoint!("announced-counts-as-written") {
                    cursor.announced_after
                } else {
                    cursor.after
                },
                rewrite: None,
                ..cursor
            },
            // The replacement was written in the order of the cursor, which may not be the order of this invocation.
            (
                Some(
                    cursor @ Cursor {
                        rewrite: Some(rewrite),
                        ..
                    },
                ),
                FileState::Replaced,
            ) => cursors::replaced(cursor, cursor.base, rewrite),
            (_, FileState::Nothing { base }) => fresh(base, epoch),
            (_, FileState::AsMarked | FileState::Replaced) => fresh(file.length(), epoch),
        };
        let cursor = match feed {
            Feed::Results => cursors::with_rules(cursor, order, append, run.complete),
            Feed::Events => cursor,
        };
        let cursor = Cursor {
            writer: Some(std::process::id()),
            ..cursor
        };
        Ok(Self {
            ports,
            run: run.id,
            run_name: run.name.clone(),
            key,
            cursor,
            stored,
            returns: 0,
            file: Some(file),
            next_rewrite: Instant::now(),
            rewrite_by: None,
            saved: false,
        })
    }

    /// Writes finished lines until every request is finished and written.
    pub(in crate::engine) async fn run(mut self) -> Result<Exported, RunError> {
        failpoint!("exporter", "");
        loop {
            // Read before the rows: the next round finds a request that finishes after the flag was set.
            let finishing = *self.ports.finishing.borrow();
            match self.step().await? {
                ExportStep::Full => continue,
                ExportStep::Wrote => {
                    self.pause().await;
                    continue;
                }
                ExportStep::Later => {
                    self.save().await?;
                    let latest = self
                        .next_rewrite
                        .max(self.rewrite_by.unwrap_or(self.next_rewrite));
                    tokio::select! {
                        () = self.ports.wake.notified() => {}
                        Ok(()) = self.ports.reading.changed() => {}
                        () = tokio::time::sleep_until(latest) => {}
                    }
                    continue;
                }
                ExportStep::Nothing if failpoint!("cursor-stays-announced") => {}
                ExportStep::Nothing => self.save().await?,
            }
            if finishing {
                if failpoint!("cursor-stays-announced") || self.finish().await? {
                    return Ok(Exported::All);
                }
                continue;
            }
            self.ports.wake.notified().await;
        }
    }

    async fn pause(&mut self) {
        // An error means that the dispatcher has ended, which aborts this task.
        let finishing = self.ports.finishing.wait_for(|finishing| *finishing);
        drop(tokio::time::timeout(PAUSE, finishing).await);
    }

    /// Writes one batch, or the whole file if its lines are no longer true.
    async fn step(&mut self) -> Result<ExportStep, RunError> {
        let epoch = epoch(&self.ports, self.run, self.cursor.feed).await?;
        if epoch != self.cursor.epoch {
            let now = Instant::now();
            let rewrite_by = *self.rewrite_by.get_or_insert(now + READING);
            let read = self.ports.reading.borrow().is_over() || now >= rewrite_by;
            let finishing = *self.ports.finishing.borrow();
            if finishing || (read && now >= self.next_rewrite && !self.waits_for_redos(now).await?) {
                self.rewrite_by = None;
                self.rewrite(epoch).await?;
                return Ok(ExportStep::Full);
            }
            // Replacing lines wait; they would stand beside their old versions.
            return Ok(ExportStep::Later);
        }
        self.keep_from_now();
        let page = self.page(self.cursor.after).await?;
        if page.rows == 0 {
            return Ok(ExportStep::Nothing);
        }
        // A redo that ended after the first look has a line in the page whose earlier version is in the file.
        if epoch != self::epoch(&self.ports, self.run, self.cursor.feed).await? {
            return Ok(ExportStep::Full);
        }
        let lines = page.lines;
        let full = page.rows >= ROWS || lines.len() >= LARGE;
        self.cursor.announced = lines.len() as u64;
        self.cursor.announced_after = page.after;
        let announced = self.cursor;
        if failpoint!("settled-before-append") {
            self.cursor.settled += announced.announced;
            self.cursor.announced = 0;
            self.cursor.after = page.after;
        }
        if !failpoint!("nothing-announced") && !self.put(page.newest).await? {
            self.cursor.announced = 0;
            return Ok(ExportStep::Full);
        }
        if failpoint!("settled-before-append") {
            self.cursor = Cursor {
                stamp: self.cursor.stamp,
                ..announced
            };
        }
        let file = self
            .with_file(move |mut file| file.append(&lines).map(|()| file))
            .await?;
        self.cursor.settled += self.cursor.announced;
        self.cursor.after = page.after;
        self.cursor.announced = 0;
        self.cursor.tail = file.tail();
        self.file = Some(file);
        self.saved = false;
        Ok(if full { ExportStep::Full } else { ExportStep::Wrote })
    }

    /// Whether the file is not rewritten yet because requests are being redone. A redo that ends during a rewrite would
    /// leave both versions of its line in the file. The file keeps the earlier lines until all redos have ended.
    async fn waits_for_redos(&mut self, now: Instant) -> Result<bool, RunError> {
        let waits = self.ports.store.unfinished_redos(self.run).await? > 0;
        if waits {
            self.next_rewrite = now + REDO_PAUSE;
        }
        Ok(waits)
    }

    /// Fixes the reading from which on an append-only file keeps its lines: the first one that is complete.
    fn keep_from_now(&mut self) {
        if self.cursor.append && self.cursor.since.is_none() {
            self.cursor.since = self.ports.reading.borrow().complete();
            self.saved &= self.cursor.since.is_none();
        }
    }

    /// Stores that no lines are announced: bytes behind the settled ones are not ours.
    async fn save(&mut self) -> Result<(), RunError> {
        if !self.saved {
            self.saved = self.put(None).await?;
        }
        Ok(())
    }

    /// Stores the cursor in the place of the one that was stored last. False if the store went back in time, or no
    /// longer has the row that was read last. Then nothing was stored, and the rows have to be read again.
    async fn put(&mut self, newest: Option<RowMark>) -> Result<bool, RunError> {
        self.cursor.stamp = fastrand::i64(1..);
        let store = &self.ports.store;
        let put = store.put_cursor(self.run, &self.key, self.stored.as_ref(), &self.cursor, newest);
        match put.await? {
            CursorPut::Stored => {
                self.stored = Some(self.cursor);
                Ok(true)
            }
            CursorPut::RowGone => Ok(false),
            CursorPut::OtherCursor => {
                self.went_back().await?;
                Ok(false)
            }
        }
    }

    /// Stores that no process writes the file any more. False if the store went back in time after the last write: it
    /// would give numbers again that are in the file.
    async fn finish(&mut self) -> Result<bool, RunError> {
        if !self.saved {
            return Ok(false);
        }
        let file = self.with_file(|mut file| file.check().map(|()| file)).await?;
        self.file = Some(file);
        self.cursor.writer = None;
        let finished = self.put(None).await?;
        self.cursor.writer = Some(std::process::id());
        Ok(finished)
    }

    /// Handles a store that holds another cursor than the one that was stored last. Results in the file may be missing
    /// there and their numbers given to others, so the file is written anew.
    async fn went_back(&mut self) -> Result<(), RunError> {
        self.returns += 1;
        if self.returns > MOST_RETURNS {
            let reason = format!(
                "what it holds of result file `{}` was changed again and again",
                self.key.path
            );
            return Err(StoreError::WentBack { reason }.into());
        }
        tracing::warn!(
            file.path = self.key.path,
            "the store went back in time; the file is written anew from it"
        );
        self.stored = self.ports.store.cursor(self.run, &self.key).await?;
        self.cursor.epoch = -1;
        self.saved = false;
        self.next_rewrite = Instant::now();
        self.rewrite_by = Some(self.next_rewrite);
        Ok(())
    }

    async fn page(&self, after: i64) -> Result<Rendered, RunError> {
        page(
            &*self.ports.store,
            self.run,
            &self.run_name,
            &self.cursor,
            after,
            ROWS,
        )
        .await
    }

    async fn with_file<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(ResultFile) -> Result<T, crate::sink::SinkError> + Send + 'static,
    ) -> Result<T, RunError> {
        let file = self.file.take().ok_or_else(|| RunError::Broken {
            part: "the result file".to_owned(),
        })?;
        blocking(move || work(file).map_err(RunError::from)).await
    }
}

/// The number that grows when written lines stop being true. Event rows are immutable: it is always 0 for them.
async fn epoch(ports: &ExportPorts, run: RunId, feed: Feed) -> Result<i64, RunError> {
    match feed {
        Feed::Results => Ok(ports.store.lines_epoch(run).await?),
        Feed::Events => Ok(0),
    }
}

/// The lines that an interrupted append may have left in the file, complete or in part. `None` if they are not known
/// any more: rows may have changed, and another version of nova3 may write them differently.
async fn announced(ports: &ExportPorts, run: &Run, cursor: &Cursor) -> Result<Option<Vec<u8>>, RunError> {
    if cursor.announced == 0 || epoch(ports, run.id, cursor.feed).await? != cursor.epoch {
        return Ok(None);
    }
    let page = page(&*ports.store, run.id, &run.name, cursor, cursor.after, ROWS).await?;
    if epoch(ports, run.id, cursor.feed).await? != cursor.epoch {
        return Ok(None);
    }
    // Rows that finished since then follow the announced lines.
    let length = usize::try_from(cursor.announced).unwrap_or(usize::MAX);
    let lines = page.lines.get(..length);
    Ok(lines.filter(|lines| lines.ends_with(b"\n")).map(<[u8]>::to_vec))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RunError> + Send + 'static,
) -> Result<T, RunError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| RunError::Broken {
            part: "a file thread".to_owned(),
        })?
}
