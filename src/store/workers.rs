//! The values of the port of workers.

use super::Owner;

/// A process that works on a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its owner name.
    pub owner: Owner,
    /// The host that it runs on.
    pub host: String,
    /// Its process id on that host.
    pub pid: u32,
    /// Its version of nova3.
    pub version: String,
}

/// The progress of a worker on a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerProgress {
    /// How many tasks and plans it has settled.
    pub settled: u64,
    /// How many requests it has finished.
    pub finished: u64,
}

/// The state of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerState {
    /// The worker.
    pub worker: Worker,
    /// Unix milliseconds at which it joined.
    pub joined_at: i64,
    /// Unix milliseconds of its last heartbeat.
    pub last_seen: i64,
    /// Milliseconds since then.
    pub silent_ms: u64,
    /// Whether it left properly.
    pub has_left: bool,
    /// Its progress.
    pub done: WorkerProgress,
    /// How many tasks it has leased.
    pub leases: u64,
}

impl WorkerState {
    /// Returns the tasks and plans that it settled per second since it joined.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn per_second(&self) -> f64 {
        let seconds = self.last_seen.saturating_sub(self.joined_at) as f64 / 1000.0;
        if seconds > 0.0 {
            (self.done.settled as f64 / seconds * 10.0).round() / 10.0
        } else {
            0.0
        }
    }
}
