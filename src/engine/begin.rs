//! The beginning of a run: it is opened, its outputs are, and its input is being read. Nothing is sent before.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::exporter::Exporter;
use super::ingest::Intake;
use super::outage::telling;
use super::printer::Printer;
use super::signals::Signals;
use super::{ExportPorts, Exporting, Input, Job, Reading, RunError, Target, Wakes, World, owner, worker};
use crate::domain::tally::RunSummary;
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
pub(super) async fn begin(world: &World, job: &Job, run: &Run) -> Result<Begun, RunError> {
    let before = world.store.summary(run.id).await?;
    let mut wakes = Wakes::default();
    let (report_reading, reading) = watch::channel(Reading::Unknown);
    let (seen, seen_lines) = mpsc::channel(8);
    let exporting = open_exports(world, job, run, &mut wakes, &reading, seen_lines).await?;
    let intake = Intake::start(world, job, run, report_reading, seen).await?;
    let owner = owner();
    world.store.join(run.id, &worker(&owner, job)).await?;
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
    world: &World,
    signals: &mut Signals,
    part: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    let signal = tokio::select! {
        done = telling(world, part) => return done,
        signal = signals.next() => signal,
    };
    drop(tokio::time::timeout(LEAVE, world.store.close()).await);
    Err(RunError::Interrupted { signal })
}

/// How long a store is waited for that is left before anything was sent.
const LEAVE: Duration = Duration::from_secs(1);

/// The run under its terms.
pub(super) async fn open_run(world: &World, job: &Job) -> Result<Run, RunError> {
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
    let run = world.store.open_run(&opening).await?;
    if let Some(which) = &job.retry {
        world.store.retry(run.id, which).await?;
    }
    world.announcer.announce(RunEvent::Opened {
        run: run.name.clone(),
    });
    if run.recipe_changed {
        world.announcer.announce(RunEvent::RecipeChanged);
    }
    Ok(run)
}

/// Files are opened and compared before anything is spent.
async fn open_exports(
    world: &World,
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
            store: Arc::clone(&world.store),
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
                let terminal = is_terminal.then(|| world.announcer.screen());
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
