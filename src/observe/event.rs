//! The facts that observers see.

use std::time::Duration;

use crate::domain::tally::RouteState;
use crate::domain::tally::{Counts, RunSummary};
use crate::domain::usage::{Cost, Usage};

/// Something that happened to a run.
#[derive(Debug, Clone)]
pub enum RunEvent {
    /// The run was opened under this name.
    Opened {
        /// Its name.
        run: String,
    },
    /// The input is not what it was at its last complete reading.
    InputChanged {
        /// The run's name.
        run: String,
        /// How it differs.
        change: InputChange,
    },
    /// Its unfinished requests were begun with other models, prompts or settings than these.
    RecipeChanged,
    /// A worker has joined a run.
    Joined {
        /// Its name.
        run: String,
    },
    /// A worker has left a run, of which nothing was left for it, or which it was told to leave.
    Left {
        /// Its name.
        run: String,
        /// Requests that it finished.
        requests: u64,
        /// Tasks and plans that it settled.
        steps: u64,
    },
    /// A worker has found nothing to do, and looks again and again.
    Waiting {
        /// The only run it would work on.
        only: Option<String>,
    },
    /// A worker ends because nothing is left to do.
    NothingLeft {
        /// The only run it would have worked on.
        only: Option<String>,
    },
    /// A worker leaves a run to others.
    Refused {
        /// Why.
        reason: String,
    },
    /// So it stood a moment ago.
    Progressed(Snapshot),
    /// A route stands otherwise than before.
    RouteChanged(RouteState),
    /// A warning about a route, which is given once.
    RouteWarned {
        /// The route's name.
        route: String,
        /// The warning, after the name of the route.
        warning: String,
    },
    /// The run was told to end: nothing new is sent.
    Draining {
        /// What told it.
        cause: String,
        /// Calls on their way.
        calls: usize,
    },
    /// Calls on their way were given up.
    Cancelled,
    /// The database does not answer and is waited for.
    OutOfReach {
        /// What is known of it.
        trouble: String,
    },
    /// The database answers again.
    InReach,
    /// It is over.
    Ended(Box<Report>),
}

/// How an input differs from what it was at its last complete reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InputChange {
    /// Lines that were not in it.
    pub new: u64,
    /// Lines with other content.
    pub changed: u64,
    /// Lines that are in it no longer.
    pub removed: u64,
}

/// How a run stands.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Requests known so far.
    pub total: u64,
    /// Whether the input has been read to its end.
    pub total_known: bool,
    /// Finished ones, those of earlier invocations included.
    pub finished: u64,
    /// Failed ones among them.
    pub failed: u64,
    /// Finished by this invocation.
    pub finished_now: u64,
    /// Tasks and plans settled by this invocation.
    pub tasks: u64,
    /// Calls on their way.
    pub running: usize,
    /// Tokens used by this invocation.
    pub usage: Usage,
    /// Money spent by this invocation.
    pub cost: Cost,
    /// Since the start of this invocation.
    pub elapsed: Duration,
    /// What is waited for, in words.
    pub waits: Vec<String>,
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// There was nothing left to do.
    Finished,
    /// The input held no request: nothing was changed.
    NoRequests,
    /// A signal of that number ended it.
    Signal(i32),
    /// Whoever read its output has gone.
    ClosedPipe,
    /// No route is usable.
    NoRoute {
        /// What the providers said.
        reason: String,
    },
    /// So many requests failed (`--max-failures`).
    Failures {
        /// How many in this invocation.
        failed: u64,
    },
    /// The next call might have cost more than the run may (`--max-cost`).
    Budget {
        /// What it may cost.
        cap: Cost,
    },
    /// Its time was over (`--deadline`).
    Deadline,
    /// It has worked on as many requests as it was to (`--limit`).
    Limit,
}

impl Ending {
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

/// Why requests failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commonest {
    /// What the first of them was told.
    pub message: String,
    /// How many failed so.
    pub requests: u64,
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its name.
    pub run: String,
    /// Why it ended.
    pub ending: Ending,
    /// How the requests of the present input stand.
    pub counts: Counts,
    /// Whether the input was read to its end.
    pub input_read: bool,
    /// What the run has used, earlier invocations included.
    pub summary: RunSummary,
    /// Why most of the requests failed that failed in this invocation.
    pub commonest: Option<Commonest>,
    /// Calls of this invocation.
    pub calls_now: u64,
    /// Money spent by this invocation.
    pub cost_now: Cost,
    /// How long this invocation took.
    pub elapsed: Duration,
}
