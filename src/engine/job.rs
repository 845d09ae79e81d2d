//! The job of a run, the services that it uses, and the types that its parts share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::agent::{Agents, Planner};
use crate::config::ContextBudget;
use crate::domain::conditions::Conditions;
use crate::engine::RunError;
use crate::engine::input::form::InputForm;
use crate::llm::Client;
use crate::observe::{Commonest, EventBus, InputChange, RunEnding, Screen};
use crate::search::Searcher;
use crate::sink::Existing;
use crate::store::{
    Changes, ConfigFingerprint, Failures, Feed, NewAction, Order, RunConstraints, Store, WorkerProgress,
};
use crate::trace::TraceExporter;

/// The services that a run uses.
pub struct Services {
    /// The durable store.
    pub store: Arc<dyn Store>,
    /// The client for models.
    pub client: Arc<Client>,
    /// The agents.
    pub agents: Arc<Agents>,
    /// Decides the tasks of each request.
    pub planner: Arc<Planner>,
    /// Asks the search providers.
    pub searcher: Searcher,
    /// How much of earlier work a prompt may hold.
    pub budget: ContextBudget,
    /// Sends events to the sinks.
    pub events: EventBus,
    /// The terminal that a bar and printed results share.
    pub screen: Screen,
    /// Sends the traces of requests, if a variable switches them on.
    pub traces: Option<Arc<TraceExporter>>,
}

/// Where requests come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, by its absolute path.
    File(PathBuf),
    /// Standard input, which may still be written while it is read.
    Stdin,
    /// Standard input, copied completely to this file.
    Spooled(PathBuf),
}

/// One output of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The kind of lines.
    pub feed: Feed,
    /// Where they are written.
    pub target: Target,
}

/// Where a run writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file, by its absolute path.
    File {
        /// The path.
        path: PathBuf,
        /// How to treat a file whose content the cursor does not explain.
        existing: Existing,
    },
    /// Standard output, as lines for programs. At most one output may use it.
    Stdout,
    /// Standard output that is a terminal: results are written as text, above the bar.
    Terminal,
}

/// Everything that an invocation was asked to do.
#[derive(Debug, Clone)]
pub struct Job {
    /// The run's name.
    pub name: String,
    /// Whether the user chose the name.
    pub named: bool,
    /// Whether a mock server answers.
    pub rehearsal: bool,
    /// Where requests come from.
    pub input: Input,
    /// How the input is read.
    pub form: InputForm,
    /// How a changed line is treated.
    pub changes: Changes,
    /// The outputs.
    pub outputs: Vec<Output>,
    /// In which order results are written.
    pub order: Order,
    /// Whether queues are planned and not worked on.
    pub plan_only: bool,
    /// The models, prompts and settings that determine answers beside the requests.
    pub recipe: ConfigFingerprint,
    /// The terms that all processes of the run must agree on.
    pub terms: RunConstraints,
    /// Whether this process accepts the stored terms when they differ from its own and others work under them.
    pub accept_drift: bool,
    /// Failed requests to put back before the work begins.
    pub retry: Option<Failures>,
    /// Calls in flight at most.
    pub concurrency: usize,
    /// Queues in memory at most.
    pub max_queues: usize,
    /// The limit of memory in bytes. `None`: the container's or machine's limit.
    pub memory_limit: Option<u64>,
    /// The conditions that stop the run before its work is done.
    pub conditions: Conditions,
    /// How long calls in flight may take after the run begins to drain.
    pub grace: Duration,
    /// How long a lease is good. It is renewed three times in that time, so a task may take longer.
    pub lease: Duration,
    /// Whether the run ends for this process when it can claim nothing more, although other processes may still work on
    /// it.
    pub leaves_to_others: bool,
    /// This host's name. It is part of a cursor's key, with the run and the path.
    pub host: String,
    /// The invocation, for the record of the run.
    pub action: NewAction,
}

/// How the dispatcher's loop ended.
pub(in crate::engine) struct Driven {
    pub(in crate::engine) ending: RunEnding,
    /// When the process stops to wait for the store. `None` if the calls in flight were not cancelled.
    pub(in crate::engine) ends: Option<Instant>,
    /// The number of tasks and requests that this process finished.
    pub(in crate::engine) done: WorkerProgress,
    /// The most frequent reason for which requests failed.
    pub(in crate::engine) commonest: Option<Commonest>,
    /// How the input differs from its last complete reading, if it was compared.
    pub(in crate::engine) change: Option<InputChange>,
    pub(in crate::engine) failed: Option<RunError>,
}

/// How far the input has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum InputProgress {
    /// The input is being compared with the last complete reading in the store.
    Unknown,
    /// The input is being read.
    UnderWay,
    /// The input was read to its end, by the reading of that number.
    Ended(i64),
    /// The input is the same as at the reading of that number, which was complete.
    Unchanged(i64),
}

impl InputProgress {
    /// Whether the store knows every line of the input.
    pub(in crate::engine) const fn is_over(self) -> bool {
        self.complete().is_some()
    }

    /// The number of the reading that saw the whole input.
    pub(in crate::engine) const fn complete(self) -> Option<i64> {
        match self {
            Self::Ended(reading) | Self::Unchanged(reading) => Some(reading),
            Self::Unknown | Self::UnderWay => None,
        }
    }
}

/// The store and the signals that an exporter uses.
pub(in crate::engine) struct ExportPorts {
    pub(in crate::engine) store: Arc<dyn Store>,
    /// Notified when a request may have finished.
    pub(in crate::engine) wake: Arc<Notify>,
    /// How far the input has been read.
    pub(in crate::engine) reading: watch::Receiver<InputProgress>,
    /// True when no more requests will finish.
    pub(in crate::engine) finishing: watch::Receiver<bool>,
}

/// How an exporter ended without an error.
#[derive(Debug)]
pub(in crate::engine) enum Exported {
    /// Every finished line is written.
    All,
    /// The reader of the output closed it.
    Closed,
}

/// The running exporters.
pub(in crate::engine) struct Exporting {
    pub(in crate::engine) tasks: JoinSet<Result<Exported, RunError>>,
    pub(in crate::engine) finish: watch::Sender<bool>,
}
