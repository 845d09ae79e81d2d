//! What goes through the ports about those who work.

use super::Owner;

/// A process that works on a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its name.
    pub owner: Owner,
    /// The host that it runs on.
    pub host: String,
    /// Its number there.
    pub pid: u32,
    /// Its version of nova3.
    pub version: String,
}

/// What a worker has done on a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Tasks and plans settled.
    pub settled: u64,
    /// Requests finished.
    pub finished: u64,
}

/// How a worker stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerState {
    /// Who it is.
    pub worker: Worker,
    /// Unix milliseconds at which it joined.
    pub joined_at: i64,
    /// Unix milliseconds at which it was last seen.
    pub last_seen: i64,
    /// Milliseconds since then.
    pub silent_ms: u64,
    /// Whether it left in good order.
    pub has_left: bool,
    /// What it has done.
    pub done: Done,
    /// Queues that it holds.
    pub leases: u64,
}

impl WorkerState {
    /// Tasks and plans that it has settled in a second, since it joined.
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
