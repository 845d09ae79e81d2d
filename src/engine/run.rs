//! The whole job on one screen: open the run, open its outputs, read and work together, finish.

use std::sync::Arc;

use tokio::time::Instant;

use crate::domain::tally::{Counts, RunSummary};
use crate::engine::RunError;
use crate::engine::begin::{Begun, begin, open_run, until_signal};
use crate::engine::dispatch::Dispatcher;
use crate::engine::dispatch::shutdown::LAST_WAIT;
use crate::engine::job::{Driven, Job, Reading, Services};
use crate::engine::signals::Signals;
use crate::limit::Limits;
use crate::llm::Stop;
use crate::observe::{Ending, Report, RunEvent};
use crate::store::{Owner, Run, RunId, StoreError, Worker};

/// Does the whole job, or goes on with it where it was left.
///
/// On return the store holds every settled task and the output every finished line, whatever the ending.
pub async fn run_batch(
    services: &mut Services,
    job: &Job,
    signals: &mut Signals,
) -> Result<Report, RunError> {
    let began = Instant::now();
    signals.take();
    let run = until_signal(services, signals, open_run(services, job)).await?;
    keep_terms(services, &run);
    let services = &*services;
    let Begun {
        before,
        owner,
        wakes,
        intake,
        exporting,
        reading,
    } = until_signal(services, signals, begin(services, job, &run)).await?;
    // On a shared run the stored terms override ours.
    let mut ours = job.clone();
    ours.conditions.max_cost = run.terms.max_cost;
    ours.terms = run.terms.clone();
    let dispatcher = Dispatcher::new(services, &ours, run.id, owner, Stop::default(), wakes, began);
    let driven = dispatcher.drive(intake, exporting, signals).await;
    let stand = stand(services, run.id, &driven).await;
    let reading = *reading.borrow();
    let is_whole = driven.ending != Ending::Finished || is_whole(services, &run, reading).await?;
    close(services, &driven).await?;
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
    services
        .announcer
        .announce(RunEvent::Ended(Box::new(report.clone())));
    Ok(report)
}

/// A name that no other process has.
pub(in crate::engine) fn owner() -> Owner {
    Owner(format!("{:016x}", fastrand::u64(..)))
}

/// Tasks and pauses are those of the run's terms, and no route is asked for more than they allow.
pub(in crate::engine) fn keep_terms(services: &mut Services, run: &Run) {
    services.planner = Arc::new(services.planner.under(&run.terms));
    services.client.keep_limits(&|route| {
        let crate::store::RouteLimits { rpm, tpm } = run.terms.limits.get(route).copied().unwrap_or_default();
        Limits { rpm, tpm }
    });
}

/// Who this process is to others.
pub(in crate::engine) fn worker(owner: &Owner, job: &Job) -> Worker {
    Worker {
        owner: owner.clone(),
        host: job.host.clone(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Leaves limits and store in good order. A process whose time is over does not wait for it.
async fn close(services: &Services, driven: &Driven) -> Result<(), RunError> {
    let closing = async {
        services.client.close().await;
        services.store.close().await
    };
    match driven.ends {
        None => Ok(closing.await?),
        Some(ends) => Ok(tokio::time::timeout_at(ends, closing).await.unwrap_or(Ok(()))?),
    }
}

/// Whether the store still holds all that was read of the input: a database may have gone back in time.
async fn is_whole(services: &Services, run: &Run, reading: Reading) -> Result<bool, RunError> {
    let Some(complete) = reading.complete() else {
        return Ok(true);
    };
    let now = services.store.find_run(Some(&run.name)).await?;
    Ok(now.is_some_and(|now| now.id == run.id && now.complete >= complete))
}

/// How the run stands at its end. A process that was told to end does not wait for ever for a store to tell.
async fn stand(services: &Services, run: RunId, driven: &Driven) -> Result<(Counts, RunSummary), RunError> {
    let asked = futures::future::try_join(services.store.counts(run), services.store.summary(run));
    if driven.ending == Ending::Finished {
        return Ok(asked.await?);
    }
    let ends = driven.ends.unwrap_or_else(|| Instant::now() + LAST_WAIT);
    match tokio::time::timeout_at(ends, asked).await {
        Ok(stand) => Ok(stand?),
        Err(_) => Err(RunError::OutOfReach {
            trouble: services.store.trouble().unwrap_or_default(),
            signal: match driven.ending {
                Ending::Signal(number) => Some(number),
                _ => None,
            },
        }),
    }
}
