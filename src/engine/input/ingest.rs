//! Stores the lines that the reader reads, while the first requests are already worked on.

use std::fs::File;
use std::io::Read;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tracing::Instrument;

use crate::domain::tally::Counts;
use crate::engine::RunError;
use crate::engine::input::reader::{self, InputError, InputPart};
use crate::engine::job::{Input, InputProgress, Job, Services};
use crate::observe::{InputChange, InputPosition};
use crate::store::{AddOutcome, Changes, Epoch, InputMark, Run, RunId, Store};

/// The facts that ingest sends to the dispatcher.
#[derive(Debug)]
pub(in crate::engine) enum IngestFact {
    /// A reading has begun, and requests that it has seen may be claimed. If the run is known and the input is a file,
    /// this fact comes after the last line, so that the changes of the input are reported before any work begins.
    Begun {
        /// The run's name.
        run: String,
        /// How the input differs from its last complete reading, if it was compared.
        change: Option<InputChange>,
    },
    /// The input holds no request: nothing was changed.
    Empty,
    /// Lines were stored.
    Added {
        /// The number of lines.
        lines: u64,
        /// How many of them are finished, bad ones included.
        finished: u64,
        /// How many of them are bad.
        bad: u64,
    },
    /// So many bytes of the input were read.
    Position(InputPosition),
    /// The input is the same as at the last complete reading.
    Unchanged(Counts),
    /// Every line was read and stored.
    Ended,
    /// Reading or storing failed. Lines that were stored stay stored.
    Failed(RunError),
}

/// An ingest that is under way.
#[derive(Debug)]
pub(in crate::engine) struct Intake {
    pub(in crate::engine) facts: mpsc::Receiver<IngestFact>,
}

impl Intake {
    /// Starts to read, unless the input is known to be unchanged.
    ///
    /// `reading` reports how far the input is read; `seen` receives the queue numbers of known requests and of bad lines.
    pub(in crate::engine) async fn start(
        services: &Services,
        job: &Job,
        run: &Run,
        reading: watch::Sender<InputProgress>,
        seen: mpsc::Sender<Vec<i64>>,
    ) -> Result<Self, RunError> {
        // Small, because the dispatcher takes facts at once.
        let (tell, facts) = mpsc::channel(8);
        if let Some(counts) = unchanged(services, job, run).await? {
            // Both facts are sent before the dispatcher listens: the channel has room for them.
            drop(tell.try_send(IngestFact::Unchanged(counts)));
            tracing::info!("the input is unchanged");
            drop(tell.try_send(IngestFact::Ended));
            reading.send_replace(InputProgress::Unchanged(run.complete));
            return Ok(Self { facts });
        }
        // Opened here as well as on the thread, so that a missing file is an error before any work starts.
        job.input.probe()?;
        let chunks = spawn_reader(services, job)?;
        reading.send_replace(InputProgress::UnderWay);
        let ingest = IngestTask {
            store: Arc::clone(&services.store),
            run: run.id,
            name: run.name.clone(),
            is_compared: run.complete > 0 && job.input.is_whole(),
            length: job.input.length(),
            changes: job.changes,
            tell,
            seen,
        };
        let reading_on = async move {
            let all = AssertUnwindSafe(ingest.all(chunks)).catch_unwind();
            let end = all.await.unwrap_or_else(|_| {
                Err(RunError::Broken {
                    part: "reading the input into the store".to_owned(),
                })
            });
            let fact = match end {
                Ok(Some(epoch)) => {
                    reading.send_replace(InputProgress::Ended(epoch.0));
                    IngestFact::Ended
                }
                Ok(None) => IngestFact::Empty,
                Err(error) => IngestFact::Failed(error),
            };
            drop(ingest.tell.send(fact).await);
        };
        tokio::spawn(reading_on.in_current_span());
        Ok(Self { facts })
    }
}

/// The counts of the requests, if the input is unchanged and needs no reading. A queue that kept its old tasks makes
/// another reading necessary: it may have been put back since without having begun.
async fn unchanged(services: &Services, job: &Job, run: &Run) -> Result<Option<Counts>, RunError> {
    let Some(mark) = run.mark else {
        return Ok(None);
    };
    let counts = services.store.counts(run.id).await?;
    let unchanged = counts.kept == 0 && is_unchanged(services, job, mark).await?;
    Ok(unchanged.then_some(counts))
}

/// Whether a file of the same length has the same digest as last time. No line is parsed.
async fn is_unchanged(services: &Services, job: &Job, mark: InputMark) -> Result<bool, RunError> {
    let (Input::File(path) | Input::Spooled(path)) = &job.input else {
        return Ok(false);
    };
    let path = path.clone();
    let mut hasher = job.form.hasher(&job.input, &services.planner);
    let compared = tokio::task::spawn_blocking(move || -> std::io::Result<bool> {
        // A pipe is not opened here: its writer would take this open for the reading, which would then wait for ever.
        let data = std::fs::metadata(&path)?;
        if !data.is_file() || data.len() != mark.bytes {
            return Ok(false);
        }
        let mut file = File::open(&path)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok(*hasher.finalize().as_bytes() == mark.digest);
            }
            hasher.update(&buffer[..read]);
        }
    });
    // An error counts as changed: the reading that follows reports it.
    Ok(compared
        .await
        .map_err(|_| RunError::Broken {
            part: "comparing the input".to_owned(),
        })?
        .unwrap_or(false))
}

/// Starts the reader on a thread and not as a task: a read from a pipe may block for ever and must not keep the process
/// alive.
fn spawn_reader(
    services: &Services,
    job: &Job,
) -> Result<mpsc::Receiver<Result<InputPart, InputError>>, RunError> {
    // One chunk is stored while the next is parsed. A larger channel would only use memory.
    let (chunks, receiver) = mpsc::channel(2);
    let (input, form, planner) = (job.input.clone(), job.form.clone(), Arc::clone(&services.planner));
    std::thread::Builder::new()
        .name("reader".to_owned())
        .spawn(move || {
            let end = reader::read_input(&input, &form, &planner, |seen| {
                chunks.blocking_send(Ok(seen)).is_ok()
            });
            if let Err(error) = end {
                drop(chunks.blocking_send(Err(error)));
            }
        })
        .map_err(|error| RunError::Broken {
            part: format!("the reader's thread: {error}"),
        })?;
    Ok(receiver)
}

struct IngestTask {
    store: Arc<dyn Store>,
    run: RunId,
    name: String,
    /// Whether the whole input is compared with the store before any request is claimed.
    is_compared: bool,
    /// The length of the input in bytes, if it is a file.
    length: Option<u64>,
    changes: Changes,
    tell: mpsc::Sender<IngestFact>,
    seen: mpsc::Sender<Vec<i64>>,
}

impl IngestTask {
    /// Stores all lines; `None` if the input has none. A reading begins with its first line, so an empty input changes
    /// nothing.
    async fn all(
        &self,
        mut chunks: mpsc::Receiver<Result<InputPart, InputError>>,
    ) -> Result<Option<Epoch>, RunError> {
        let mut begun = None;
        let (mut known, mut changed) = (0, 0);
        failpoint!("ingest", "");
        while let Some(chunk) = chunks.recv().await {
            match (chunk?, begun) {
                (InputPart::Lines(lines), epoch) => {
                    let epoch = if let Some(epoch) = epoch {
                        epoch
                    } else {
                        known = self.store.counts(self.run).await?.total;
                        self.begin().await?
                    };
                    begun = Some(epoch);
                    let outcomes = self.store.add(self.run, epoch, lines, self.changes).await?;
                    changed += count(&outcomes, AddOutcome::Changed);
                    self.report(&outcomes).await;
                }
                (InputPart::Position(bytes), _) => {
                    let position = InputPosition {
                        bytes,
                        length: self.length,
                    };
                    drop(self.tell.send(IngestFact::Position(position)).await);
                }
                (InputPart::End(mark), Some(epoch)) => {
                    self.end(epoch, &mark, known, changed).await?;
                    return Ok(Some(epoch));
                }
                (InputPart::End(_), None) => return Ok(None),
            }
        }
        Err(RunError::Broken {
            part: "the reader".to_owned(),
        })
    }

    async fn begin(&self) -> Result<Epoch, RunError> {
        let epoch = self.store.begin_ingest(self.run).await?;
        if !self.is_compared {
            self.tell_begun(None).await;
        }
        Ok(epoch)
    }

    /// Ends the reading, and reports how the input differs from the `known` requests of the last one.
    async fn end(&self, epoch: Epoch, mark: &InputMark, known: u64, changed: u64) -> Result<(), RunError> {
        if !self.is_compared {
            return Ok(self.store.end_ingest(self.run, epoch, mark).await?);
        }
        // Until its end a reading only adds to the input, so the total still includes removed lines.
        let with_all = self.store.counts(self.run).await?.total;
        self.store.end_ingest(self.run, epoch, mark).await?;
        let now = self.store.counts(self.run).await?.total;
        let change = InputChange {
            new: with_all.saturating_sub(known),
            changed,
            removed: with_all.saturating_sub(now),
        };
        self.tell_begun(Some(change)).await;
        Ok(())
    }

    async fn tell_begun(&self, change: Option<InputChange>) {
        let run = self.name.clone();
        drop(self.tell.send(IngestFact::Begun { run, change }).await);
    }

    async fn report(&self, outcomes: &[AddOutcome]) {
        let mut known = Vec::new();
        let (mut finished, mut bad) = (0, 0);
        for outcome in outcomes {
            match outcome {
                AddOutcome::Finished(queue) => {
                    finished += 1;
                    known.push(*queue);
                }
                AddOutcome::Bad(queue) | AddOutcome::Duplicate(queue) => {
                    finished += 1;
                    bad += 1;
                    known.push(*queue);
                }
                // Its settled tasks are printed again where events are printed.
                AddOutcome::Waiting(queue) => known.push(*queue),
                AddOutcome::Queued | AddOutcome::Changed => {}
            }
        }
        let lines = outcomes.len() as u64;
        // A send fails only if the dispatcher or the printer has ended.
        drop(self.tell.send(IngestFact::Added { lines, finished, bad }).await);
        if !known.is_empty() {
            drop(self.seen.send(known).await);
        }
    }
}

fn count(outcomes: &[AddOutcome], which: AddOutcome) -> u64 {
    outcomes.iter().filter(|outcome| **outcome == which).count() as u64
}
