//! A worker: it joins a run of a shared store that has claimable work, and then the next one.
//!
//! A worker reads no input and writes no result file. The `nova3 run` that loaded the run does both. A worker joins a
//! run only if its own terms equal the run's, unless `--accept-drift` is given.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::Instrument;

use crate::domain::conditions::Conditions;
use crate::engine::RunError;
use crate::engine::dispatch::Dispatcher;
use crate::engine::dispatch::heartbeat::unless_slow;
use crate::engine::dispatch::outage::reporting_outage;
use crate::engine::dispatch::poll_backoff::PollBackoff;
use crate::engine::input::ingest::Intake;
use crate::engine::job::{Driven, Exporting, Job, Services};
use crate::engine::signals::Signals;
use crate::engine::wakes::Wakes;
use crate::llm::Stop;
use crate::observe::{RunEnding, RunEvent};
use crate::store::{Owner, Run, RunId, StoreError};

/// The options of a worker.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The job for every run. The run itself gives the name, the terms and the cost cap.
    pub job: Job,
    /// The only run to join.
    pub only: Option<String>,
    /// Whether the worker ends when nothing is left to do.
    pub until_idle: bool,
}

/// A run whose cost cap is reached is skipped for this long.
const RESTS: Duration = Duration::from_secs(60);

/// Works on runs until a signal or an error ends the worker, or until nothing is left if `until_idle` is set.
pub async fn work_on_runs(
    services: &mut Services,
    options: &WorkerOptions,
    signals: &mut Signals,
) -> Result<RunEnding, RunError> {
    signals.take();
    let mut search = Search::new(options);
    loop {
        let next = tokio::select! {
            next = reporting_outage(services, search.next(services)) => next?,
            signal = signals.next() => return Ok(RunEnding::Signal(signal)),
        };
        let Some(run) = next else {
            return Ok(RunEnding::Finished);
        };
        let ending = work_on(services, options, &search.owner, &run, signals).await?;
        match ending {
            RunEnding::Finished => {}
            // The run's money is spent, or is reserved by other processes until they settle.
            RunEnding::Budget { .. } => search.rest(run.id),
            other => return Ok(other),
        }
    }
}

/// Searches for a run to work on.
struct Search<'a> {
    options: &'a WorkerOptions,
    owner: Owner,
    /// Runs that are skipped, and since when.
    resting: HashMap<i64, Instant>,
    /// Runs with other terms than ours, which were reported.
    told: Vec<RunId>,
    next_tend: Instant,
    poll_backoff: PollBackoff,
    /// Whether the wait for work was reported since the last work was found.
    waits: bool,
}

impl<'a> Search<'a> {
    fn new(options: &'a WorkerOptions) -> Self {
        Self {
            options,
            owner: crate::engine::run::owner(),
            resting: HashMap::new(),
            told: Vec::new(),
            next_tend: Instant::now(),
            poll_backoff: PollBackoff::new(),
            waits: false,
        }
    }

    /// The next run to work on; `None` if nothing is left and `until_idle` is set. Cancel-safe.
    async fn next(&mut self, services: &Services) -> Result<Option<Run>, RunError> {
        loop {
            self.poll_backoff.due().await;
            self.heartbeat(services).await?;
            let mut left = false;
            for (run, claimable) in services.store.open_runs().await? {
                if !self.is_ours(services, &run)? {
                    continue;
                }
                left = true;
                if claimable {
                    self.poll_backoff.found();
                    self.waits = false;
                    return Ok(Some(run));
                }
            }
            let only = self.options.only.clone();
            if !left && self.options.until_idle {
                services.events.publish_run(RunEvent::NothingLeft { only });
                return Ok(None);
            }
            if !std::mem::replace(&mut self.waits, true) {
                services.events.publish_run(RunEvent::Waiting { only });
            }
        }
    }

    /// Registers that the worker is alive, and takes expired leases away, also while the worker has no run.
    async fn heartbeat(&mut self, services: &Services) -> Result<(), RunError> {
        if Instant::now() >= self.next_tend {
            self.next_tend = Instant::now() + self.options.job.lease / 3;
            let lease_ms = i64::try_from(self.options.job.lease.as_millis()).unwrap_or(i64::MAX);
            let done = crate::store::WorkerProgress::default();
            let tended = services.store.heartbeat(&self.owner, done, lease_ms);
            unless_slow(tended.await)?;
        }
        Ok(())
    }

    fn is_ours(&mut self, services: &Services, run: &Run) -> Result<bool, RunError> {
        if self.options.only.as_ref().is_some_and(|only| *only != run.name) {
            return Ok(false);
        }
        self.resting.retain(|_, since| since.elapsed() < RESTS);
        if self.resting.contains_key(&run.id.0) {
            return Ok(false);
        }
        let differences = self.differences(run);
        if differences.is_empty() {
            return Ok(true);
        }
        let drift = StoreError::ConfigMismatch {
            run: run.name.clone(),
            differences,
        };
        if self.options.only.is_some() {
            return Err(drift.into());
        }
        if !self.told.contains(&run.id) {
            self.told.push(run.id);
            let reason = drift.to_string();
            services.events.publish_run(RunEvent::Refused { reason });
        }
        Ok(false)
    }

    fn differences(&self, run: &Run) -> Vec<String> {
        let job = &self.options.job;
        if run.rehearsal != job.rehearsal {
            let what = |mock| {
                if mock {
                    "a rehearsal (`--mock`)"
                } else {
                    "a real run"
                }
            };
            return vec![format!(
                "it is {}, and this is {}",
                what(run.rehearsal),
                what(job.rehearsal)
            )];
        }
        if job.accept_drift {
            return Vec::new();
        }
        // The cap, the tasks and the pauses are the run's. A worker's own settings do not count for them.
        let ours = crate::store::RunConstraints {
            max_cost: run.terms.max_cost,
            until: run.terms.until.clone(),
            tasks: run.terms.tasks.clone(),
            on_failure: run.terms.on_failure,
            ..job.terms.clone()
        };
        run.terms.differences(&ours)
    }

    fn rest(&mut self, run: RunId) {
        self.resting.insert(run.0, Instant::now());
    }
}

/// Works on one run until this process can claim nothing more in it.
async fn work_on(
    services: &mut Services,
    options: &WorkerOptions,
    owner: &Owner,
    run: &Run,
    signals: &mut Signals,
) -> Result<RunEnding, RunError> {
    crate::engine::run::keep_terms(services, run);
    let job = Job {
        name: run.name.clone(),
        conditions: Conditions {
            max_cost: run.terms.max_cost,
            ..options.job.conditions
        },
        terms: run.terms.clone(),
        leaves_to_others: true,
        ..options.job.clone()
    };
    let worker = crate::engine::run::worker(owner, &job);
    tokio::select! {
        joined = reporting_outage(services, services.store.register_worker(run.id, &worker)) => joined?,
        signal = signals.next() => return Ok(RunEnding::Signal(signal)),
    }
    // A worker that joins a run again has one action there.
    services.store.begin_action(run.id, &job.action).await?;
    services.events.publish_run(RunEvent::Joined {
        run: run.name.clone(),
    });
    let stop = Stop::default();
    let dispatcher = Dispatcher::new(
        services,
        &job,
        run.id,
        owner.clone(),
        stop,
        Wakes::default(),
        Instant::now(),
    );
    let Driven {
        ending, failed, done, ..
    } = dispatcher
        .drive(Intake::nothing(), Exporting::nothing(), signals)
        .instrument(crate::engine::run::run_span(&run.name))
        .await;
    let how = failed
        .as_ref()
        .map_or_else(|| ending.name().to_owned(), |error| format!("failed: {error}"));
    crate::engine::run::end_action(services, &job, run.id, &how).await;
    if let Some(error) = failed {
        return Err(error);
    }
    services.events.publish_run(RunEvent::Left {
        run: run.name.clone(),
        requests: done.finished,
        steps: done.settled,
    });
    Ok(ending)
}

impl Intake {
    /// The intake of a worker. It reads no input, because the process that loaded the run does.
    fn nothing() -> Self {
        let (tell, facts) = mpsc::channel(1);
        // The channel has room for one fact.
        drop(tell.try_send(crate::engine::input::ingest::IngestFact::Ended));
        Self { facts }
    }
}

impl Exporting {
    /// The exporters of a worker: none, because the process with `-o` writes the result file.
    fn nothing() -> Self {
        Self {
            tasks: tokio::task::JoinSet::new(),
            finish: watch::Sender::new(false),
        }
    }
}
