//! Finished lines into the result file, exactly once.
//!
//! A batch of lines is announced in the store, appended with an fsync, and settled together with the next
//! announcement. When lines in the file are no longer true (an epoch of the store says so), the file is
//! written anew beside itself and takes its place.

mod rewrite;

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use self::rewrite::replaced;
use super::{ExportPorts, Exported, Job, RunError};
use crate::clock;
use crate::domain::{result_line, stream_event};
use crate::sink::{Existing, Found, Mark, ResultFile};
use crate::store::{Cursor, EventPage, Feed, FileKey, FinishedPage, Order, Results, Run, RunId};

/// Lines in one append at most; pages end earlier when results are large.
const ROWS: usize = 512;

/// A batch of so many bytes is a full one, however few lines it has.
const LARGE: usize = 1 << 20;

/// The pause after an append that did not fill its batch: lines that finish meanwhile share the next announcement
/// and the next `fsync`, and nobody who waits for calls of seconds sees the difference.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Exporter {
    ports: ExportPorts,
    run: RunId,
    run_name: String,
    key: FileKey,
    cursor: Cursor,
    /// Taken while a blocking thread works on it.
    file: Option<ResultFile>,
    /// When the file may be rewritten again before the end of the input.
    next_rewrite: Instant,
    /// Whether the store knows everything that the cursor says.
    saved: bool,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// So much that there may be more.
    Full,
    /// Little: it is nearly all there was.
    Wrote,
    Nothing,
}

/// The row before the first one, in each order.
pub(super) const fn beginning(order: Order) -> i64 {
    match order {
        Order::Completion => 0,
        Order::Input => -1,
    }
}

impl Exporter {
    /// Opens the file and brings file and cursor into agreement, or refuses a file that is someone else's.
    pub(super) async fn open(
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
        // Of a file that held something else, nothing is ours.
        let known = ports
            .store
            .cursor(run.id, &key)
            .await?
            .filter(|cursor| cursor.feed == feed);
        let order = match feed {
            Feed::Results => job.order,
            Feed::Events => Order::Completion,
        };
        let mark = known.map(|cursor| Mark {
            base: cursor.base,
            settled: cursor.settled,
            announced: cursor.announced,
            tail: cursor.tail,
            replacement: cursor.rewrite.map(|rewrite| (rewrite.length, rewrite.tail)),
        });
        let owned = path.to_path_buf();
        let (file, found) =
            blocking(move || ResultFile::open(&owned, mark.as_ref(), existing).map_err(RunError::from))
                .await?;
        let append = existing == Existing::Append;
        let fresh = |base, epoch| Cursor {
            base,
            settled: 0,
            announced: 0,
            after: beginning(order),
            announced_after: beginning(order),
            tail: file.tail(),
            order,
            append,
            epoch,
            rewrite: None,
            feed,
        };
        let epoch = epoch(&ports, run.id, feed).await?;
        let cursor = match (known, found) {
            (Some(cursor), Found::AsMarked) => Cursor {
                announced: 0,
                announced_after: cursor.after,
                rewrite: None,
                ..cursor
            },
            // What took the file's place was written in the order of the cursor, whatever is asked for now.
            (
                Some(
                    cursor @ Cursor {
                        rewrite: Some(rewrite),
                        ..
                    },
                ),
                Found::Replaced,
            ) => replaced(cursor, cursor.base, rewrite),
            (_, Found::Nothing { base }) => fresh(base, epoch),
            (_, Found::AsMarked | Found::Replaced) => fresh(file.length(), epoch),
        };
        // Another order means another file, and so does a rule that keeps or takes out the lines of removed
        // requests; its epoch is never the present one.
        let same = cursor.order == order && cursor.append == append;
        let cursor = if same || feed == Feed::Events {
            cursor
        } else {
            Cursor {
                order,
                append,
                epoch: -1,
                ..cursor
            }
        };
        Ok(Self {
            ports,
            run: run.id,
            run_name: run.name.clone(),
            key,
            cursor,
            file: Some(file),
            next_rewrite: Instant::now(),
            saved: false,
        })
    }

    /// Writes finished lines until everything is finished and written.
    pub(super) async fn run(mut self) -> Result<Exported, RunError> {
        loop {
            // Looked at before the rows: what finishes after the flag was set is found by the next turn.
            let finishing = *self.ports.finishing.borrow();
            match self.step().await? {
                Step::Full => continue,
                Step::Wrote => {
                    self.pause().await;
                    continue;
                }
                Step::Nothing => self.save().await?,
            }
            if finishing {
                self.with_file(|mut file| file.check()).await?;
                return Ok(Exported::All);
            }
            self.ports.wake.notified().await;
        }
    }

    async fn pause(&mut self) {
        // An error means that nobody will say that it is the end, which comes all the same.
        let finishing = self.ports.finishing.wait_for(|finishing| *finishing);
        drop(tokio::time::timeout(PAUSE, finishing).await);
    }

    /// Writes one batch.
    async fn step(&mut self) -> Result<Step, RunError> {
        let epoch = epoch(&self.ports, self.run, self.cursor.feed).await?;
        if epoch != self.cursor.epoch {
            let ingested = self.ports.reading.borrow().is_over();
            let finishing = *self.ports.finishing.borrow();
            if ingested || finishing || Instant::now() >= self.next_rewrite {
                self.rewrite(epoch).await?;
                return Ok(Step::Full);
            }
            // Lines that replace others wait; they would stand beside their old versions.
            return Ok(Step::Nothing);
        }
        let page = self.page(self.cursor.after).await?;
        if page.rows == 0 {
            return Ok(Step::Nothing);
        }
        let lines = page.lines;
        let full = page.rows >= ROWS || lines.len() >= LARGE;
        self.cursor.announced = lines.len() as u64;
        self.cursor.announced_after = page.after;
        self.ports
            .store
            .put_cursor(self.run, &self.key, &self.cursor)
            .await?;
        let file = self
            .with_file(move |mut file| file.append(&lines).map(|()| file))
            .await?;
        self.cursor.settled += self.cursor.announced;
        self.cursor.after = page.after;
        self.cursor.announced = 0;
        self.cursor.tail = file.tail();
        self.file = Some(file);
        self.saved = false;
        Ok(if full { Step::Full } else { Step::Wrote })
    }

    /// Nothing is announced any more: every byte behind the settled ones is someone else's.
    async fn save(&mut self) -> Result<(), RunError> {
        if !self.saved {
            self.ports
                .store
                .put_cursor(self.run, &self.key, &self.cursor)
                .await?;
            self.saved = true;
        }
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

/// What may have made lines of a file untrue; a log of events only ever grows.
async fn epoch(ports: &ExportPorts, run: RunId, feed: Feed) -> Result<i64, RunError> {
    match feed {
        Feed::Results => Ok(ports.store.lines_epoch(run).await?),
        Feed::Events => Ok(0),
    }
}

/// A page as it is written.
pub(super) struct Rendered {
    pub(super) lines: Vec<u8>,
    /// Rows of the store that it was made from.
    pub(super) rows: usize,
    /// Where the next page begins.
    pub(super) after: i64,
}

/// The page of a file behind `after`, by the rules of its cursor.
pub(super) async fn page(
    store: &dyn Results,
    run: RunId,
    name: &str,
    cursor: &Cursor,
    after: i64,
    rows: usize,
) -> Result<Rendered, RunError> {
    match cursor.feed {
        Feed::Results => {
            let page = store
                .finished(run, cursor.order, cursor.append, after, rows)
                .await?;
            render(name, &page)
        }
        Feed::Events => render_events(name, &store.events(run, false, after, rows).await?),
    }
}

/// The lines of finished requests.
pub(super) fn render(run: &str, page: &FinishedPage) -> Result<Rendered, RunError> {
    let mut lines = Vec::new();
    for finished in &page.rows {
        result_line::write(run, finished, clock::rfc3339, &mut lines).map_err(|error| unwritable(&error))?;
    }
    Ok(Rendered {
        lines,
        rows: page.rows.len(),
        after: page.after,
    })
}

/// The lines of events.
pub(super) fn render_events(run: &str, page: &EventPage) -> Result<Rendered, RunError> {
    let mut lines = Vec::new();
    for event in &page.rows {
        stream_event::write(run, event, clock::rfc3339, &mut lines).map_err(|error| unwritable(&error))?;
    }
    Ok(Rendered {
        lines,
        rows: page.rows.len(),
        after: page.after,
    })
}

fn unwritable(error: &serde_json::Error) -> RunError {
    RunError::Broken {
        part: format!("rendering a line: {error}"),
    }
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
