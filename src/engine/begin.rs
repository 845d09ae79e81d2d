//! The beginning of a run: it is opened, its outputs are, and its input is being read. Nothing is sent before.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::domain::tally::RunSummary;
use crate::engine::RunError;
use crate::engine::dispatch::outage::telling;
use crate::engine::input::ingest::Intake;
use crate::engine::job::{ExportPorts, Exporting, Input, Job, Reading, Services, Target};
use crate::engine::output::exporter::Exporter;
use crate::engine::output::printer::Printer;
use crate::engine::run::{owner, worker};
use crate::engine::signals::Signals;
use crate::engine::wakes::Wakes;
use crate::observe::RunEvent;
use crate::store::{Owner, Run, RunOpening};

/// A run whose input is being read and whose outputs are open. Nothing was sent yet.
pub(super) struct Begun {
    pub(super) before: RunSummary,
    pub(super) owner: Owner,
    pub(super) wakes: Wakes,
    pub(super) intake: Intake,
    pub(super) exporting: Exporting,
    pub(super) reading: watch::Receiver<Reading>,
}

/// Opens the outputs and begins to read the input.
pub(super) async fn begin(services: &Services, job: &Job, run: &Run) -> Result<Begun, RunError> {
    let before = services.store.summary(run.id).await?;
    let mut wakes = Wakes::default();
    let (report_reading, reading) = watch::channel(Reading::Unknown);
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

/// Does a part of the beginning, and says meanwhile if the database is waited for. Nothing is lost by leaving at the first
/// signal; the store is left in good order if it answers.
pub(super) async fn until_signal<T>(
    services: &Services,
    signals: &mut Signals,
    part: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    let signal = tokio::select! {
        done = telling(services, part) => return done,
        signal = signals.next() => signal,
    };
    drop(tokio::time::timeout(LEAVE, services.store.close()).await);
    Err(RunError::Interrupted { signal })
}

/// How long a store is waited for that is left before anything was sent.
const LEAVE: Duration = Duration::from_secs(1);

/// The run under its terms.
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
    if let Some(which) = &job.retry {
        services.store.retry(run.id, which).await?;
    }
    services.announcer.announce(RunEvent::Opened {
        run: run.name.clone(),
    });
    if run.recipe_changed {
        services.announcer.announce(RunEvent::RecipeChanged);
    }
    Ok(run)
}

/// Files are opened and compared before anything is spent.
async fn open_exports(
    services: &Services,
    job: &Job,
    run: &Run,
    wakes: &mut Wakes,
    reading: &watch::Receiver<Reading>,
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
                tasks.spawn(exporter.run());
            }
            (Target::Stdout | Target::Terminal, Some(seen)) => {
                let is_terminal = output.target == Target::Terminal;
                let terminal = is_terminal.then(|| services.announcer.screen());
                tasks.spawn(Printer::new(ports, job, run, output.feed, seen, terminal).run());
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
