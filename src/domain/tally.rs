//! How a run stands, in numbers.

use serde::Serialize;

use super::usage::{Cost, Usage};

/// How the requests of a run's present input stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests and bad lines.
    pub total: u64,
    /// Finished well, or in part.
    pub done: u64,
    /// Of those done: with tasks that failed (`--on-task-failure continue`).
    pub partial: u64,
    /// Finished and failed, bad lines included.
    pub failed: u64,
    /// Stopped on purpose.
    pub paused: u64,
    /// Stopped on purpose, and a later request of their session does the rest.
    pub continued: u64,
    /// Under a lease.
    pub running: u64,
    /// Behind another queue of their session.
    pub blocked: u64,
    /// Of those done: with other tasks or prompts than an invocation would use now.
    pub outdated: u64,
    /// Of those done and not counted there: with other models.
    pub other_models: u64,
    /// Unfinished ones that keep the tasks with which they were begun, although others are given now.
    pub kept: u64,
}

impl Counts {
    /// Those that have their line.
    pub const fn finished(&self) -> u64 {
        self.done + self.failed + self.paused + self.continued
    }

    /// Those whose line does not say `ok`.
    pub const fn bad(&self) -> u64 {
        self.failed + self.partial
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
    /// What calls may have cost beyond `cost`, because their answers were lost.
    pub uncertain: Cost,
    /// What is held back for calls on their way, under a cost cap.
    pub reserved: Cost,
}

/// Calls of one route that gave nothing for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waste {
    /// The route.
    pub route: String,
    /// A class of errors, `abandoned` (given up, or lost with its process) or `repeated` (answered too late).
    pub cause: String,
    /// How many.
    pub calls: u64,
    /// Tokens of their prompts, as far as they were counted.
    pub input_tokens: u64,
    /// Tokens of their answers, as far as they were counted.
    pub output_tokens: u64,
    /// What they cost for certain.
    pub cost: Cost,
    /// What they may have cost beyond that.
    pub uncertain: Cost,
}

/// How a route stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteState {
    /// Its name.
    pub route: String,
    /// `closed`, `open`, `half_open`, `paused` or `latched`.
    pub state: &'static str,
    /// Why it is not closed.
    pub reason: Option<String>,
    /// Unix milliseconds of the change.
    pub since: i64,
    /// Milliseconds for which its breaker has been open in all, this time aside.
    pub open_ms: u64,
}

/// The states that a route may have in the store.
pub const ROUTE_STATES: [&str; 5] = ["closed", "open", "half_open", "paused", "latched"];
