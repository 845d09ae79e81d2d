//! The counts and sums of a run.

use serde::Serialize;

use super::failure::Class;
use super::usage::{Cost, Usage};

/// The requests of a run's present input by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All requests, bad lines included.
    pub total: u64,
    /// Finished, completely or in part.
    pub done: u64,
    /// The part of `done` with failed tasks (`--on-task-failure continue`).
    pub partial: u64,
    /// Finished and failed, bad lines included.
    pub failed: u64,
    /// Stopped on purpose.
    pub paused: u64,
    /// Stopped on purpose; a later request of their session does the rest.
    pub continued: u64,
    /// With a leased task.
    pub running: u64,
    /// Waiting behind another queue of their session.
    pub blocked: u64,
    /// The part of `done` whose tasks or prompts differ from the present ones.
    pub outdated: u64,
    /// The part of `done` whose models, but not tasks or prompts, differ from the present ones.
    pub other_models: u64,
    /// Unfinished requests that keep the tasks with which they began, although the present input or flags give others.
    pub kept: u64,
}

impl Counts {
    /// Requests that have their result line.
    pub const fn finished(&self) -> u64 {
        self.done + self.failed + self.paused + self.continued
    }

    /// Requests whose result line has `ok: false`.
    pub const fn bad(&self) -> u64 {
        self.failed + self.partial
    }

    /// Requests that still need work.
    pub const fn unfinished(&self) -> u64 {
        self.total.saturating_sub(self.finished())
    }
}

/// The failed requests of one error class, with one of them as an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedClass {
    /// The error class.
    pub class: Class,
    /// How many requests of the present input failed for it, completely or in part.
    pub requests: u64,
    /// The `custom_id` of the first of them, if it has one.
    pub custom_id: Option<String>,
    /// The input line of the first of them, if the line itself is bad.
    pub line: Option<u64>,
    /// The message of the first of them.
    pub message: String,
}

/// The calls, tokens and costs of a run so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// Calls made.
    pub attempts: u64,
    /// Calls that gave no answer.
    pub failed_attempts: u64,
    /// Tokens of all calls.
    pub usage: Usage,
    /// Cost of all calls that have a price.
    pub cost: Cost,
    /// The part of `cost` without a usable answer.
    pub wasted: Cost,
    /// Calls without a price.
    pub unpriced: u64,
    /// The cost that may come on top of `cost`, because answers were lost.
    pub uncertain: Cost,
    /// The budget reserved for calls in progress, under a cost cap.
    pub reserved: Cost,
}

/// Calls of one route without a usable answer, for one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waste {
    /// The route.
    pub route: String,
    /// An error class, `abandoned` (given up, or lost in a crash) or `repeated` (answered too late).
    pub cause: String,
    /// How many calls.
    pub calls: u64,
    /// Tokens of their prompts, as far as they were counted.
    pub input_tokens: u64,
    /// Tokens of their answers, as far as they were counted.
    pub output_tokens: u64,
    /// Their known cost.
    pub cost: Cost,
    /// The cost that may come on top.
    pub uncertain: Cost,
}

/// The state of a route.
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
    /// Milliseconds for which its breaker has been open in total, without the present time.
    pub open_ms: u64,
}

/// The states of a route in the store.
pub const ROUTE_STATES: [&str; 5] = ["closed", "open", "half_open", "paused", "latched"];
