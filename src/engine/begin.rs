//! Begins a run: opens the run and its outputs, and starts to read the input. No call is sent here.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::domain::tally::RunSummary;
use crate::engine::RunError;
use crate::engine::dispatch::outage::reporting_outage;
use crate::engine::input::ingest::Intake;
use crate::engine::job::{ExportPorts, Exporting, Input, InputProgress, Job, Services, Target};
use crate::engine::output::exporter::Exporter;
use crate::engine::output::printer::Printer;
use crate::engine::run::{owner, worker};
use crate::engine::signals::Signals;
use crate::engine::wakes::Wakes;
use crate::observe::RunEvent;
use crate::store::{Owner, Run, RunOpening};

/// A run with open outputs whose input is being read. No call was sent yet.
pub(super) struct Begun {
    pub(super) before: RunSummary,
    pub(super) owner: Owner,
    pub(super) wakes: Wakes,
    pub(super) intake: Intake,
    pub(super) exporting: Exporting,
    pub(super) reading: watch::Receiver<InputProgress>,
}

/// Opens the outputs and starts to read the input.
pub(super) async fn begin(services: &Services, job: &Job, run: &Run) -> Result<Begun, RunError> {
    let before = services.store.summary(run.id).await?;
    let mut wakes = Wakes::default();
    let (report_reading, reading) = watch::channel(InputProgress::Unknown);
    let (seen, seen_lines) = mpsc::channel(8);
    let exporting = open_exports(services, job, run, &mut wakes, &reading, seen_lines).await?;
    let intake = Intake::start(services, job, run, report_reading, seen).await?;
    let owner = owner();
    services
        .store
        .register_worker(run.id, &worker(&owner, job))
        .await?;
    Ok(Begun {
        before,
        owner,
        wakes,
        intake,
        exporting,
        reading,
    })
}

/// Does one part of the beginning, and reports while the database does not answer. The first signal drops the part,
/// which loses nothing, and closes the store within [`LEAVE`] if the database answers.
pub(super) async fn until_signal<T>(
    services: &Services,
    signals: &mut Signals,
    part: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    let signal = tokio::select! {
        done = reporting_outage(services, part) => return done,
        signal = signals.next() => signal,
    };
    drop(tokio::time::timeout(LEAVE, services.store.close()).await);
    Err(RunError::Interrupted { signal })
}

/// How long a signal before the first call waits for the store to close.
const LEAVE: Duration = Duration::from_secs(1);

/// Opens the run under its terms, and puts failed requests back if the job retries them.
pub(super) async fn open_run(services: &Services, job: &Job) -> Result<Run, RunError> {
    let input = match &job.input {
        Input::File(path) => Some(path.clone()),
        Input::Stdin | Input::Spooled(_) => None,
    };
    let opening = RunOpening {
        name: job.name.clone(),
        input,
        named: job.named,
        rehearsal: job.rehearsal,
        recipe: job.recipe.clone(),
        terms: job.terms.clone(),
        accept_drift: job.accept_drift,
    };
    let run = services.store.open_run(&opening).await?;
    services.store.begin_action(run.id, &job.action).await?;
    if let Some(which) = &job.retry {
        services.store.retry(run.id, which).await?;
    }
    services.events.publish_run(RunEvent::Opened {
        run: run.name.clone(),
    });
    if run.recipe_changed {
        services.events.publish_run(RunEvent::RecipeChanged);
    }
    Ok(run)
}

/// Opens the outputs. Files are opened and compared with the store before any money is spent.
async fn open_exports(
    services: &Services,
    job: &Job,
    run: &Run,
    wakes: &mut Wakes,
    reading: &watch::Receiver<InputProgress>,
    seen: mpsc::Receiver<Vec<i64>>,
) -> Result<Exporting, RunError> {
    let (finish, finishing) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut seen = Some(seen);
    for output in &job.outputs {
        let ports = ExportPorts {
            store: Arc::clone(&services.store),
            wake: wakes.add(),
            reading: reading.clone(),
            finishing: finishing.clone(),
        };
        match (&output.target, seen.take()) {
            (Target::File { path, existing }, unused) => {
                seen = unused;
                let exporter = Exporter::open(ports, job, run, output.feed, path, *existing).await?;
                tasks.spawn(exporter.run().in_current_span());
            }
            (Target::Stdout | Target::Terminal, Some(seen)) => {
                let is_terminal = output.target == Target::Terminal;
                let terminal = is_terminal.then(|| services.screen.clone());
                tasks.spawn(
                    Printer::new(ports, job, run, output.feed, seen, terminal)
                        .run()
                        .in_current_span(),
                );
            }
            (Target::Stdout | Target::Terminal, None) => {
                return Err(RunError::Broken {
                    part: "standard output, which can be written once only".to_owned(),
                });
            }
        }
    }
    Ok(Exporting { tasks, finish })
}
