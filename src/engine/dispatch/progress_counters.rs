//! The counters that the display shows.

use tokio::time::Instant;

use crate::domain::usage::{Cost, Usage};
use crate::engine::input::ingest::IngestFact;
use crate::observe::Snapshot;
use crate::store::{Settled, WorkerProgress};

/// The progress of a run, as the display shows it.
pub(in crate::engine) struct ProgressCounters {
    begun: Instant,
    snapshot: Snapshot,
}

impl ProgressCounters {
    pub(in crate::engine) fn new(begun: Instant) -> Self {
        Self {
            begun,
            snapshot: Snapshot::default(),
        }
    }

    pub(in crate::engine) fn settled(&mut self, settled: Settled, usage: Usage, cost: Cost) {
        self.snapshot.usage = self.snapshot.usage.plus(usage);
        self.snapshot.cost = self.snapshot.cost.plus(cost);
        self.snapshot.tasks += u64::from(settled != Settled::LostLease);
        if let Settled::Finished { ok } = settled {
            self.snapshot.finished += 1;
            self.snapshot.finished_now += 1;
            self.snapshot.failed += u64::from(!ok);
        }
    }

    pub(in crate::engine) const fn ingested(&mut self, fact: &IngestFact) {
        match fact {
            IngestFact::Unchanged(counts) => {
                self.snapshot.total = counts.total;
                self.snapshot.finished = counts.finished();
                self.snapshot.failed = counts.bad();
            }
            IngestFact::Added { lines, finished, bad } => {
                self.snapshot.total += *lines;
                self.snapshot.finished += *finished;
                self.snapshot.failed += *bad;
            }
            IngestFact::Ended => self.snapshot.total_known = true,
            IngestFact::Begun { .. } | IngestFact::Empty | IngestFact::Failed(_) => {}
        }
    }

    /// The numbers of tasks and requests that this process finished.
    pub(in crate::engine) const fn done(&self) -> WorkerProgress {
        WorkerProgress {
            settled: self.snapshot.tasks,
            finished: self.snapshot.finished_now,
        }
    }

    /// A snapshot of the present progress.
    pub(in crate::engine) fn shown(&mut self, running: usize, waits: Vec<String>) -> Snapshot {
        self.snapshot.running = running;
        self.snapshot.elapsed = self.begun.elapsed();
        self.snapshot.waits = waits;
        self.snapshot.clone()
    }
}
