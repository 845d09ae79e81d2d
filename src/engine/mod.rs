//! The whole job: requests in, work side by side, results out.
//!
//! ```text
//! reader (thread) ──chunks──▶ ingest ──▶ store ◀── settle ── worker ──▶ model
//!                               │                    ▲  │
//!                             facts              spawns │ facts
//!                               ▼                    │  ▼
//!                            dispatcher: counters, claims, cancellation ──wake──▶ exporter ──▶ file
//! ```
//!
//! One loop, the dispatcher, owns the truth; the others send it facts and share no state. Everything that
//! matters is in the store: a kill at any point loses at most the calls that were on their way.

mod begin;
mod board;
mod contain;
mod cursors;
mod dispatcher;
mod errands;
mod error;
mod exporter;
#[cfg(debug_assertions)]
mod fleet;
mod halts;
mod ingest;
mod keeper;
mod looks;
mod marks;
mod memory;
mod outage;
mod pages;
mod perform;
mod planning;
mod printer;
mod purse;
mod quarantine;
mod reader;
mod reasons;
mod routes;
mod shutdown;
mod signals;
mod slots;
mod turn;
mod verify;
mod wakes;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use error::RunError;
pub use fleet::{Crew, work_on_runs};
pub use reader::{InputError, Seen, read_input};
pub use signals::{Listener, Signals};
pub use verify::{Held, Proof, verify};

use self::begin::{Begun, begin, open_run, until_signal};
use self::dispatcher::Dispatcher;
use self::shutdown::LAST_WAIT;
use self::wakes::Wakes;
use crate::agent::{Agents, Planner};
use crate::config::ContextBudget;
use crate::domain::conditions::Conditions;
use crate::domain::request::Rules;
use crate::domain::tally::{Counts, RunSummary};
use crate::limit::Limits;
use crate::llm::{Client, Stop};
use crate::observe::{Announcer, Commonest, Ending, Report, RunEvent};
use crate::sink::Existing;
use crate::store::{
    Changes, Done, Failures, Feed, Order, Owner, Recipe, Run, RunId, Store, StoreError, Terms, Worker,
};

/// What a run works with.
pub struct World {
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

/// Does the whole job, or goes on with it where it was left.
///
/// On return the store holds every settled task and the output every finished line, whatever the ending.
pub async fn run_batch(world: &mut World, job: &Job, signals: &mut Signals) -> Result<Report, RunError> {
    let began = Instant::now();
    signals.take();
    let run = until_signal(world, signals, open_run(world, job)).await?;
    keep_terms(world, &run);
    let world = &*world;
    let Begun {
        before,
        owner,
        wakes,
        intake,
        exporting,
        reading,
    } = until_signal(world, signals, begin(world, job, &run)).await?;
    // Where others are at work, the run's cap is theirs.
    let mut ours = job.clone();
    ours.conditions.max_cost = run.terms.max_cost;
    let dispatcher = Dispatcher::new(world, &ours, run.id, owner, Stop::default(), wakes, began);
    let driven = dispatcher.drive(intake, exporting, signals).await;
    let stand = stand(world, run.id, &driven).await;
    let reading = *reading.borrow();
    let is_whole = driven.ending != Ending::Finished || is_whole(world, &run, reading).await?;
    close(world, &driven).await?;
    let Driven {
        ending,
        failed,
        commonest,
        ..
    } = driven;
    if let Some(error) = failed {
        return Err(error);
    }
    let (counts, summary) = stand?;
    if !is_whole {
        let reason = "it has lost lines of the input that were stored".to_owned();
        return Err(StoreError::WentBack { reason }.into());
    }
    let report = Report {
        run: run.name,
        ending,
        counts,
        summary,
        input_read: reading.is_over(),
        commonest,
        calls_now: summary.attempts - before.attempts,
        cost_now: crate::domain::usage::Cost(summary.cost.0 - before.cost.0),
        elapsed: began.elapsed(),
    };
    world
        .announcer
        .announce(RunEvent::Ended(Box::new(report.clone())));
    Ok(report)
}

/// A name that no other process has.
fn owner() -> Owner {
    Owner(format!("{:016x}", fastrand::u64(..)))
}

/// Tasks and pauses are those of the run's terms, and no route is asked for more than they allow.
fn keep_terms(world: &mut World, run: &Run) {
    world.planner = Arc::new(world.planner.under(&run.terms));
    world.client.keep_limits(&|route| {
        let crate::store::RouteLimits { rpm, tpm } = run.terms.limits.get(route).copied().unwrap_or_default();
        Limits { rpm, tpm }
    });
}

/// Who this process is to others.
fn worker(owner: &Owner, job: &Job) -> Worker {
    Worker {
        owner: owner.clone(),
        host: job.host.clone(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Leaves limits and store in good order. A process whose time is over does not wait for it.
async fn close(world: &World, driven: &Driven) -> Result<(), RunError> {
    let closing = async {
        world.client.close().await;
        world.store.close().await
    };
    match driven.ends {
        None => Ok(closing.await?),
        Some(ends) => Ok(tokio::time::timeout_at(ends, closing).await.unwrap_or(Ok(()))?),
    }
}

/// Whether a store that others share still holds all that was read of the input.
async fn is_whole(world: &World, run: &Run, reading: Reading) -> Result<bool, RunError> {
    let Some(complete) = reading.complete().filter(|_| world.store.is_shared()) else {
        return Ok(true);
    };
    let now = world.store.find_run(Some(&run.name)).await?;
    Ok(now.is_some_and(|now| now.id == run.id && now.complete >= complete))
}

/// How the run stands at its end. A process that was told to end does not wait for ever for a store to tell.
async fn stand(world: &World, run: RunId, driven: &Driven) -> Result<(Counts, RunSummary), RunError> {
    let asked = futures::future::try_join(world.store.counts(run), world.store.summary(run));
    if !world.store.is_shared() || driven.ending == Ending::Finished {
        return Ok(asked.await?);
    }
    let ends = driven.ends.unwrap_or_else(|| Instant::now() + LAST_WAIT);
    match tokio::time::timeout_at(ends, asked).await {
        Ok(stand) => Ok(stand?),
        Err(_) => Err(RunError::OutOfReach {
            trouble: world.store.trouble().unwrap_or_default(),
            signal: match driven.ending {
                Ending::Signal(number) => Some(number),
                _ => None,
            },
        }),
    }
}

/// How a drive ended.
struct Driven {
    ending: Ending,
    /// Until when a run that gave up its calls waits for its store.
    ends: Option<Instant>,
    /// What this process did in it.
    done: Done,
    /// Why most of its requests failed.
    commonest: Option<Commonest>,
    failed: Option<RunError>,
}

/// How far the input has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
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
    const fn is_over(self) -> bool {
        self.complete().is_some()
    }

    /// The reading that saw the whole input.
    const fn complete(self) -> Option<i64> {
        match self {
            Self::Ended(reading) | Self::Unchanged(reading) => Some(reading),
            Self::Unknown | Self::UnderWay => None,
        }
    }
}

/// What an exporter listens to.
struct ExportPorts {
    store: Arc<dyn Store>,
    /// Something may have finished.
    wake: Arc<Notify>,
    /// How far the input has been read.
    reading: watch::Receiver<Reading>,
    /// Whether everything that will finish has.
    finishing: watch::Receiver<bool>,
}

/// How an exporter ended before it was told to.
#[derive(Debug)]
enum Exported {
    /// Everything finished is written.
    All,
    /// Whoever read the output has gone.
    Closed,
}

/// The running exporters.
struct Exporting {
    tasks: JoinSet<Result<Exported, RunError>>,
    finish: watch::Sender<bool>,
}
