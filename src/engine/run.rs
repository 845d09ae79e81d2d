//! One whole run: open it, open its outputs, read and work in parallel, finish.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::domain::ids::shortened;
use crate::domain::tally::{Counts, FailedClass, RunSummary};
use crate::engine::RunError;
use crate::engine::begin::{Begun, begin, open_run, until_signal};
use crate::engine::dispatch::Dispatcher;
use crate::engine::dispatch::shutdown::LAST_WAIT;
use crate::engine::job::{Driven, InputProgress, Job, Services, Target};
use crate::engine::signals::Signals;
use crate::limit::Limits;
use crate::llm::Stop;
use crate::observe::{Report, RunEnding, RunEvent};
use crate::search::route_name;
use crate::store::{Owner, Run, RunId, StoreError, Worker};

/// The counts, the summary and the failures of a run.
type FinalState = (Counts, RunSummary, Vec<FailedClass>);

/// Runs a job to its end, or continues it from where an earlier invocation stopped.
///
/// On return the store holds every settled task. The output holds every finished line, unless it failed or the run ended
/// at once.
pub async fn run_batch(
    services: &mut Services,
    job: &Job,
    signals: &mut Signals,
) -> Result<Report, RunError> {
    let began = Instant::now();
    let span = run_span(&job.name);
    signals.take();
    let run = until_signal(services, signals, open_run(services, job)).await?;
    keep_terms(services, &run);
    let services = &*services;
    let begun = until_signal(services, signals, begin(services, job, &run))
        .instrument(span.clone())
        .await;
    if let Err(error) = &begun {
        end_action(services, job, run.id, &format!("failed: {error}")).await;
    }
    let Begun {
        before,
        owner,
        wakes,
        intake,
        exporting,
        reading,
    } = begun?;
    // On a shared run the stored terms override ours.
    let mut ours = job.clone();
    ours.conditions.max_cost = run.terms.max_cost;
    ours.terms = run.terms.clone();
    let dispatcher = Dispatcher::new(services, &ours, run.id, owner, Stop::default(), wakes, began);
    let driven = dispatcher
        .drive(intake, exporting, signals)
        .instrument(span)
        .await;
    let stand = stand(services, run.id, &driven).await;
    let reading = *reading.borrow();
    let is_whole = driven.ending != RunEnding::Finished || is_whole(services, &run, reading).await?;
    close(services, &ours, run.id, &driven).await?;
    let Driven {
        ending,
        failed,
        commonest,
        change,
        done,
        ..
    } = driven;
    if let Some(error) = failed {
        return Err(error);
    }
    let (counts, summary, failures) = stand?;
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
        change,
        commonest,
        failures,
        files: files(job),
        finished_now: done.finished,
        calls_now: summary.attempts - before.attempts,
        usage_now: summary.usage.since(before.usage),
        cost_now: crate::domain::usage::Cost(summary.cost.0 - before.cost.0),
        elapsed: began.elapsed(),
    };
    services
        .events
        .publish_run(RunEvent::Ended(Box::new(report.clone())));
    Ok(report)
}

/// The span of a run's log lines. The spans of its requests are inside it.
pub(in crate::engine) fn run_span(name: &str) -> Span {
    tracing::info_span!("run", run.name = name)
}

/// Makes a random owner name, so that no other process has the same one.
pub(in crate::engine) fn owner() -> Owner {
    Owner(format!("{:016x}", fastrand::u64(..)))
}

/// Applies the run's terms to the services: the planner takes its tasks and pauses from them, and the client keeps each
/// route's and each search provider's limits.
pub(in crate::engine) fn keep_terms(services: &mut Services, run: &Run) {
    services.planner = Arc::new(services.planner.under(&run.terms));
    services.client.keep_limits(&|route| {
        let crate::store::StoredRouteLimits { rpm, tpm } =
            run.terms.limits.get(route).copied().unwrap_or_default();
        Limits { rpm, tpm }
    });
    services.searcher.keep_limits(&|provider| {
        let limits = run.terms.limits.get(&route_name(provider))?;
        Some(Limits {
            rpm: limits.rpm,
            tpm: None,
        })
    });
}

/// This process as the store and other processes see it.
pub(in crate::engine) fn worker(owner: &Owner, job: &Job) -> Worker {
    Worker {
        owner: owner.clone(),
        host: job.host.clone(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Closes the limits and the store. If the end of the process has a fixed time, closing is given up at that time.
async fn close(services: &Services, job: &Job, run: RunId, driven: &Driven) -> Result<(), RunError> {
    let ending = match &driven.failed {
        Some(error) => format!("failed: {error}"),
        None => driven.ending.name().to_owned(),
    };
    let closing = async {
        end_action(services, job, run, &ending).await;
        if let Some(traces) = &services.traces {
            traces.drain().await;
        }
        services.client.close().await;
        services.searcher.close().await;
        services.store.close().await
    };
    match driven.ends {
        None => Ok(closing.await?),
        Some(ends) => Ok(tokio::time::timeout_at(ends, closing).await.unwrap_or(Ok(()))?),
    }
}

/// Records the end of the invocation. A store that cannot record it does not change how the run ends.
pub(in crate::engine) async fn end_action(services: &Services, job: &Job, run: RunId, ending: &str) {
    let ending = shortened(ending, 200);
    let recorded = services.store.end_action(run, job.action.action_no, &ending);
    let reason = match tokio::time::timeout(LAST_WAIT, recorded).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the store does not answer".to_owned(),
    };
    tracing::warn!("the end of this invocation is not in the record of the run: {reason}");
}

/// Whether the store still holds every line that was read from the input. It does not if a database went back in time.
async fn is_whole(services: &Services, run: &Run, reading: InputProgress) -> Result<bool, RunError> {
    let Some(complete) = reading.complete() else {
        return Ok(true);
    };
    let now = services.store.find_run(Some(&run.name)).await?;
    Ok(now.is_some_and(|now| now.id == run.id && now.complete >= complete))
}

/// The result files of the job.
fn files(job: &Job) -> Vec<PathBuf> {
    let files = job.outputs.iter().filter_map(|output| match &output.target {
        Target::File { path, .. } => Some(path.clone()),
        Target::Stdout | Target::Terminal => None,
    });
    files.collect()
}

/// The counts, the summary and the failures of the run at its end. If the run ended early, the store has limited time to answer, and
/// a store that does not answer is [`RunError::OutOfReach`].
async fn stand(services: &Services, run: RunId, driven: &Driven) -> Result<FinalState, RunError> {
    let store = &services.store;
    let asked = futures::future::try_join3(store.counts(run), store.summary(run), store.failed_classes(run));
    if driven.ending == RunEnding::Finished {
        return Ok(asked.await?);
    }
    let ends = driven.ends.unwrap_or_else(|| Instant::now() + LAST_WAIT);
    match tokio::time::timeout_at(ends, asked).await {
        Ok(stand) => Ok(stand?),
        Err(_) => Err(RunError::OutOfReach {
            trouble: services.store.trouble().unwrap_or_default(),
            signal: match driven.ending {
                RunEnding::Signal(number) => Some(number),
                _ => None,
            },
        }),
    }
}
