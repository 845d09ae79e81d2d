//! How a run stands, in numbers.

use super::usage::{Cost, Usage};

/// How the requests of a run's present input stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests and bad lines.
    pub total: u64,
    /// Finished well, or in part.
    pub done: u64,
    /// Finished and failed, bad lines included.
    pub failed: u64,
    /// Stopped on purpose.
    pub paused: u64,
    /// Under a lease.
    pub running: u64,
    /// Behind another queue of their session.
    pub blocked: u64,
}

impl Counts {
    /// Those that have their line.
    pub const fn finished(&self) -> u64 {
        self.done + self.failed + self.paused
    }

    /// Those that still need work.
    pub const fn unfinished(&self) -> u64 {
        self.total.saturating_sub(self.finished())
    }
}

/// What a run has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// Calls made.
    pub attempts: u64,
    /// Calls that gave no answer.
    pub failed_attempts: u64,
    /// Tokens of all calls.
    pub usage: Usage,
    /// Money of all calls with a price.
    pub cost: Cost,
    /// The part of it that gave nothing.
    pub wasted: Cost,
    /// Calls without a price.
    pub unpriced: u64,
}
