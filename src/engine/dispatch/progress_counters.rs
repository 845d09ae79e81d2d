//! The counters that the display shows.

use tokio::time::Instant;

use crate::domain::usage::{Cost, Usage};
use crate::engine::input::ingest::IngestFact;
use crate::observe::{InputChange, RouteTraffic, SlowestCall, Snapshot};
use crate::store::{Settled, WorkerProgress};

/// The progress of a run, as the display shows it.
pub(in crate::engine) struct ProgressCounters {
    begun: Instant,
    snapshot: Snapshot,
    /// How the input differs from its last complete reading, if it was compared.
    change: Option<InputChange>,
}

impl ProgressCounters {
    pub(in crate::engine) fn new(begun: Instant) -> Self {
        Self {
            begun,
            snapshot: Snapshot::default(),
            change: None,
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
            IngestFact::Position(position) => self.snapshot.input = Some(*position),
            IngestFact::Ended => self.snapshot.total_known = true,
            IngestFact::Begun { change, .. } => self.change = *change,
            IngestFact::Empty | IngestFact::Failed(_) => {}
        }
    }

    /// The numbers of tasks and requests that this process finished.
    pub(in crate::engine) const fn done(&self) -> WorkerProgress {
        WorkerProgress {
            settled: self.snapshot.tasks,
            finished: self.snapshot.finished_now,
        }
    }

    /// How the input differs from its last complete reading, if it was compared.
    pub(in crate::engine) const fn change(&self) -> Option<InputChange> {
        self.change
    }

    /// A snapshot of the present progress.
    pub(in crate::engine) fn shown(&mut self, now: PresentCalls) -> Snapshot {
        let PresentCalls {
            running,
            queues,
            memory_limit,
            waits,
            routes,
            slowest,
        } = now;
        Snapshot {
            running,
            queues,
            memory_limit,
            waits,
            routes,
            slowest,
            elapsed: self.begun.elapsed(),
            ..self.snapshot.clone()
        }
    }
}

/// The calls at this moment, and everything that they wait for.
pub(in crate::engine) struct PresentCalls {
    pub(in crate::engine) running: usize,
    pub(in crate::engine) queues: usize,
    pub(in crate::engine) memory_limit: Option<u64>,
    pub(in crate::engine) waits: Vec<String>,
    pub(in crate::engine) routes: Vec<RouteTraffic>,
    pub(in crate::engine) slowest: Option<SlowestCall>,
}
