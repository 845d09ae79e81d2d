//! The events of a run, and their data.

use std::path::PathBuf;
use std::time::Duration;

use super::task_event::TaskEvent;
use crate::domain::tally::RouteState;
use crate::domain::tally::{Counts, FailedClass, RunSummary};
use crate::domain::usage::{Cost, Usage};

/// An event.
#[derive(Debug, Clone)]
pub enum Event {
    /// An event of the run.
    Run(RunEvent),
    /// An event of a task, a part or a call.
    Task(TaskEvent),
}

/// An event of a run.
#[derive(Debug, Clone)]
pub enum RunEvent {
    /// The run was opened under this name.
    Opened {
        /// Its name.
        run: String,
    },
    /// The input differs from its last complete reading.
    InputChanged {
        /// The run's name.
        run: String,
        /// How it differs.
        change: InputChange,
    },
    /// The run's unfinished requests were begun with other models, prompts or settings than the present ones.
    RecipeChanged,
    /// A worker has joined a run.
    Joined {
        /// Its name.
        run: String,
    },
    /// A worker has left a run. It could claim nothing more, or was stopped.
    Left {
        /// Its name.
        run: String,
        /// Requests that the worker finished.
        requests: u64,
        /// Tasks and plans that the worker settled.
        steps: u64,
    },
    /// A worker has found nothing to do, and polls.
    Waiting {
        /// The only run that it may work on.
        only: Option<String>,
    },
    /// A worker ends because nothing is left to do.
    NothingLeft {
        /// The only run that it could work on.
        only: Option<String>,
    },
    /// A worker does not join a run.
    Refused {
        /// The reason.
        reason: String,
    },
    /// A snapshot of the progress.
    Progressed(Box<Snapshot>),
    /// The state of a route changed.
    RouteChanged(RouteState),
    /// A warning about a route, given once.
    RouteWarned {
        /// The route's name.
        route: String,
        /// The warning, without the route's name.
        warning: String,
    },
    /// A warning about a search provider, given once.
    SearchWarned {
        /// The warning.
        warning: String,
    },
    /// The run drains: no new call is sent.
    Draining {
        /// The cause.
        cause: String,
        /// Calls in flight.
        calls: usize,
    },
    /// Calls in flight were cancelled.
    Cancelled,
    /// The database does not answer, and the run waits for it.
    OutOfReach {
        /// Why it does not answer.
        trouble: String,
    },
    /// The database answers again.
    InReach,
    /// The run is over.
    Ended(Box<Report>),
}

/// How an input differs from its last complete reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InputChange {
    /// Lines that are new.
    pub new: u64,
    /// Lines with other content.
    pub changed: u64,
    /// Lines that were removed.
    pub removed: u64,
}

/// How far the input has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputPosition {
    /// The bytes that were read so far, as they are stored.
    pub bytes: u64,
    /// The length of the input, if it is a file.
    pub length: Option<u64>,
}

/// The call that has been in flight for the longest time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowestCall {
    /// The `custom_id` or the line of its request, if it is known.
    pub request: Option<String>,
    /// Its route.
    pub route: String,
    /// Time since it was sent.
    pub age: Duration,
}

/// A call in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallAge {
    /// The queue of its request, if it belongs to one.
    pub queue: Option<i64>,
    /// Time since it was sent.
    pub age: Duration,
}

/// The calls of this process on one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTraffic {
    /// The route's name.
    pub route: String,
    /// Calls in flight.
    pub in_flight: usize,
    /// Calls that were sent in the last minute.
    pub requests: u64,
    /// The limit of requests a minute.
    pub rpm: Option<u32>,
    /// Tokens of the calls of the last minute.
    pub tokens: u64,
    /// The limit of tokens a minute.
    pub tpm: Option<u64>,
    /// Calls that were answered.
    pub answered: u64,
    /// The duration that half of the answered calls did not exceed.
    pub p50: Option<Duration>,
    /// The duration that 95 % of the answered calls did not exceed.
    pub p95: Option<Duration>,
    /// The call in flight that was sent first.
    pub slowest: Option<CallAge>,
    /// `closed`, `open`, `half_open`, `paused` or `latched`.
    pub state: &'static str,
    /// A message about everything that its calls wait for.
    pub wait: Option<String>,
}

/// The progress of a run.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Requests known so far.
    pub total: u64,
    /// Whether the input has been read to its end.
    pub total_known: bool,
    /// Finished requests, with those of earlier invocations.
    pub finished: u64,
    /// Failed requests among them.
    pub failed: u64,
    /// Requests that this invocation finished.
    pub finished_now: u64,
    /// Tasks and plans that this invocation settled.
    pub tasks: u64,
    /// Calls in flight.
    pub running: usize,
    /// Requests that this process works on.
    pub queues: usize,
    /// The limit of memory in bytes, if one is known.
    pub memory_limit: Option<u64>,
    /// Tokens that this invocation used.
    pub usage: Usage,
    /// Money that this invocation spent.
    pub cost: Cost,
    /// Time since the start of this invocation.
    pub elapsed: Duration,
    /// How far the input has been read, while it is read.
    pub input: Option<InputPosition>,
    /// The calls on each route.
    pub routes: Vec<RouteTraffic>,
    /// The slowest call in flight.
    pub slowest: Option<SlowestCall>,
    /// Messages about everything that the run waits for, beside its routes.
    pub waits: Vec<String>,
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnding {
    /// All its work is done.
    Finished,
    /// The input holds no request. Nothing was changed.
    NoRequests,
    /// A signal of that number ended the run.
    Signal(i32),
    /// The reader of its output closed it.
    ClosedPipe,
    /// No route is usable.
    NoRoute {
        /// The providers' messages.
        reason: String,
    },
    /// Too many requests failed (`--max-failures`).
    Failures {
        /// The number of failures in this invocation.
        failed: u64,
    },
    /// The next call could exceed the cost cap (`--max-cost`).
    Budget {
        /// The cap.
        cap: Cost,
    },
    /// The deadline came (`--deadline`).
    Deadline,
    /// As many requests were begun as the limit allows (`--limit`).
    Limit,
}

impl RunEnding {
    /// One word for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Signal(_) => "signal",
            Self::ClosedPipe => "closed_pipe",
            Self::NoRoute { .. } => "no_route",
            Self::Failures { .. } => "max_failures",
            Self::Budget { .. } => "max_cost",
            Self::Deadline => "deadline",
            Self::Limit => "limit",
            Self::NoRequests => "no_requests",
        }
    }
}

/// The most frequent reason of failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commonest {
    /// The message of the first of these failures.
    pub message: String,
    /// How many requests failed for this reason.
    pub requests: u64,
}

/// The outcome of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// The run's name.
    pub run: String,
    /// Why it ended.
    pub ending: RunEnding,
    /// The counts of the requests of the present input.
    pub counts: Counts,
    /// Whether the input was read to its end.
    pub input_read: bool,
    /// The calls, tokens and money that the run has used, with earlier invocations.
    pub summary: RunSummary,
    /// How the input differs from its last complete reading, if it was compared.
    pub change: Option<InputChange>,
    /// The most frequent reason of failures in this invocation.
    pub commonest: Option<Commonest>,
    /// The failed requests by error class, the most frequent class first.
    pub failures: Vec<FailedClass>,
    /// The result files.
    pub files: Vec<PathBuf>,
    /// Requests that this invocation finished.
    pub finished_now: u64,
    /// Calls of this invocation.
    pub calls_now: u64,
    /// Tokens that this invocation used.
    pub usage_now: Usage,
    /// Money spent by this invocation.
    pub cost_now: Cost,
    /// How long this invocation took.
    pub elapsed: Duration,
}
