//! What a run works with, what it is told to do, and what its parts have in common.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::agent::{Agents, Planner};
use crate::config::ContextBudget;
use crate::domain::conditions::Conditions;
use crate::domain::request::Rules;
use crate::engine::RunError;
use crate::llm::Client;
use crate::observe::{Announcer, Commonest, Ending};
use crate::sink::Existing;
use crate::store::{Changes, Done, Failures, Feed, Order, Recipe, Store, Terms};

/// What a run works with.
pub struct Services {
    /// The durable store.
    pub store: Arc<dyn Store>,
    /// The way to models.
    pub client: Arc<Client>,
    /// The agents.
    pub agents: Arc<Agents>,
    /// Decides the tasks of requests.
    pub planner: Arc<Planner>,
    /// How much of earlier work may stand in a prompt.
    pub budget: ContextBudget,
    /// Shows what happens.
    pub announcer: Announcer,
}

/// Where requests come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, by its absolute path.
    File(PathBuf),
    /// Standard input, perhaps while it is still being written.
    Stdin,
    /// Standard input, copied to this file as a whole.
    Spooled(PathBuf),
}

/// Something that a run writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What is written.
    pub feed: Feed,
    /// Where to.
    pub target: Target,
}

/// Where a run writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file, by its absolute path.
    File {
        /// The path.
        path: PathBuf,
        /// What to do with a file that is not ours.
        existing: Existing,
    },
    /// Standard output, in lines for programs; of one output at most.
    Stdout,
    /// Standard output that is a terminal: results are written as text, beside the bar.
    Terminal,
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Job {
    /// The run's name.
    pub name: String,
    /// Whether a person chose it.
    pub named: bool,
    /// Whether a mock server answers.
    pub rehearsal: bool,
    /// Where requests come from.
    pub input: Input,
    /// How strictly lines are read.
    pub rules: Rules,
    /// What a changed line does.
    pub changes: Changes,
    /// What is written where.
    pub outputs: Vec<Output>,
    /// In which order results are written.
    pub order: Order,
    /// Whether queues are only planned, and nothing else is done.
    pub plan_only: bool,
    /// What makes answers what they are beside the requests.
    pub recipe: Recipe,
    /// What everybody who works on the run has to agree on.
    pub terms: Terms,
    /// Whether other terms are accepted, where others work under them.
    pub accept_drift: bool,
    /// Failed requests to put back first.
    pub retry: Option<Failures>,
    /// Calls at once.
    pub concurrency: usize,
    /// Queues in memory at most.
    pub max_queues: usize,
    /// Bytes of memory to stay below, instead of the container's or machine's limit.
    pub memory_limit: Option<u64>,
    /// What stops the run before its work is done.
    pub conditions: Conditions,
    /// Time to finish calls after a first signal.
    pub grace: Duration,
    /// How long a lease is good; it is renewed three times in that time. The length of a task does not matter.
    pub lease: Duration,
    /// Whether the run is over for this process when nothing is left that it could claim, though others may be at work.
    pub leaves_to_others: bool,
    /// This host's name: a cursor is by run, host and path.
    pub host: String,
}

/// How a drive ended.
pub(in crate::engine) struct Driven {
    pub(in crate::engine) ending: Ending,
    /// Until when a run that gave up its calls waits for its store.
    pub(in crate::engine) ends: Option<Instant>,
    /// What this process did in it.
    pub(in crate::engine) done: Done,
    /// Why most of its requests failed.
    pub(in crate::engine) commonest: Option<Commonest>,
    pub(in crate::engine) failed: Option<RunError>,
}

/// How far the input has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Reading {
    /// It is being compared with what the store knows.
    Unknown,
    /// It is being read.
    UnderWay,
    /// It was read to its end, by the reading of that number.
    Ended(i64),
    /// It is what the store knows of the reading of that number.
    Unchanged(i64),
}

impl Reading {
    /// Whether the store knows the whole input.
    pub(in crate::engine) const fn is_over(self) -> bool {
        self.complete().is_some()
    }

    /// The reading that saw the whole input.
    pub(in crate::engine) const fn complete(self) -> Option<i64> {
        match self {
            Self::Ended(reading) | Self::Unchanged(reading) => Some(reading),
            Self::Unknown | Self::UnderWay => None,
        }
    }
}

/// What an exporter listens to.
pub(in crate::engine) struct ExportPorts {
    pub(in crate::engine) store: Arc<dyn Store>,
    /// Something may have finished.
    pub(in crate::engine) wake: Arc<Notify>,
    /// How far the input has been read.
    pub(in crate::engine) reading: watch::Receiver<Reading>,
    /// Whether everything that will finish has.
    pub(in crate::engine) finishing: watch::Receiver<bool>,
}

/// How an exporter ended before it was told to.
#[derive(Debug)]
pub(in crate::engine) enum Exported {
    /// Everything finished is written.
    All,
    /// Whoever read the output has gone.
    Closed,
}

/// The running exporters.
pub(in crate::engine) struct Exporting {
    pub(in crate::engine) tasks: JoinSet<Result<Exported, RunError>>,
    pub(in crate::engine) finish: watch::Sender<bool>,
}
