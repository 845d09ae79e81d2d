//! The metrics of `run`, `redo` and `worker`: what they count, where they can be read, and what the store adds to them.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ArgMatches;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::args::{Global, MetricsArgs};
use super::exit::{Exit, decided};
use super::metrics_file::{MetricsFile, MetricsWriter};
use super::setup::given;
use crate::agent::{Agents, COMPLETION, SUPERVISOR};
use crate::config::{Config, Flags, MetricsSettings};
use crate::domain::usage::Cost;
use crate::engine::{Input, Output};
use crate::observe::{DroppedTraces, EventTap, LabelNames, MetricsEndpoint, RunMetrics, tell};
use crate::search::{CACHED, DEFAULT, Providers};
use crate::store::{Store, StoreError};

/// The interval at which the store is asked.
const INTERVAL: Duration = Duration::from_secs(15);

/// How long the store may take for an answer. Later the last values stay.
const PATIENCE: Duration = Duration::from_secs(10);

/// The settings of metrics that the command line gives, with those of `rest`.
pub(super) fn with_flags(rest: Flags, args: &MetricsArgs, matches: &ArgMatches) -> Flags {
    let (addr, file) = (args.metrics_addr.as_ref(), args.metrics_file.as_ref());
    Flags {
        metrics_addr: given(
            matches,
            "metrics_addr",
            "--metrics-addr",
            "NOVA3_METRICS_ADDR",
            addr,
        ),
        metrics_file: given(
            matches,
            "metrics_file",
            "--metrics-file",
            "NOVA3_METRICS_FILE",
            file,
        ),
        ..rest
    }
}

/// The metrics of a command, if any were asked for.
#[derive(Debug, Default)]
pub(super) struct CommandMetrics(Option<ServedMetrics>);

#[derive(Debug)]
struct ServedMetrics {
    metrics: Arc<RunMetrics>,
    writer: Option<MetricsWriter>,
    /// The cap of the command itself, which a store of one process does not keep.
    max_cost: Option<Cost>,
    /// The task that asks the store. It ends when this is dropped.
    watcher: JoinSet<()>,
}

/// The other places that a command reads and writes, and the most that it may cost.
pub(super) struct CommandScope<'a> {
    pub(super) input: &'a Input,
    pub(super) outputs: &'a [Output],
    pub(super) summary: Option<&'a Path>,
    pub(super) max_cost: Option<Cost>,
}

impl CommandMetrics {
    /// Binds the endpoint and checks the file, before anything is spent, and begins to serve both.
    pub(super) fn start(
        config: &Config,
        (agents, providers): (&Agents, &Providers),
        scope: &CommandScope<'_>,
        global: &Global,
    ) -> Result<Self> {
        let settings = &config.metrics;
        if !settings.is_on() {
            return Ok(Self::default());
        }
        let endpoint = endpoint(settings)?;
        let CommandScope {
            input,
            outputs,
            summary,
            max_cost,
        } = *scope;
        let file = settings.file.as_deref();
        let file = file.map(|path| MetricsFile::prepare(path, config, input, outputs, summary));
        let file = file.transpose()?;
        let names = names(config, agents, providers);
        let metrics = Arc::new(RunMetrics::new(
            &names,
            &settings.labels,
            DroppedTraces::default(),
        ));
        if let Some(endpoint) = endpoint {
            let address = endpoint.address();
            endpoint
                .serve(Arc::clone(&metrics))
                .context("failed to start the metrics endpoint")?;
            if !global.quiet {
                tell(&format!("metrics: http://{address}/metrics"));
            }
        }
        if let Some(seconds) = file.as_ref().and_then(MetricsFile::last_success) {
            metrics.keep_last_success(seconds);
        }
        if max_cost.is_some() {
            metrics.set_run_cost(Cost::ZERO, max_cost);
        }
        let quiet = global.quiet;
        let writer = file
            .map(|file| file.start(Arc::clone(&metrics), quiet))
            .transpose()?;
        Ok(Self(Some(ServedMetrics {
            metrics,
            writer,
            max_cost,
            watcher: JoinSet::new(),
        })))
    }

    /// The counter of traces that are not delivered.
    pub(super) fn dropped_traces(&self) -> DroppedTraces {
        let served = self.0.as_ref();
        served.map_or_else(DroppedTraces::default, |served| served.metrics.dropped_traces())
    }

    /// The metrics as an observer of events.
    pub(super) fn taps(&self) -> Vec<Arc<dyn EventTap>> {
        let served = self.0.iter();
        served.map(|served| Arc::clone(&served.metrics) as _).collect()
    }

    /// Begins to ask the store for its part of the metrics, in a task of its own.
    pub(super) fn watch(&mut self, store: &Arc<dyn Store>) {
        if let Some(served) = &mut self.0 {
            let (metrics, store) = (Arc::clone(&served.metrics), Arc::downgrade(store));
            served.watcher.spawn(watch(metrics, store, served.max_cost));
        }
    }

    /// Records the end of the command, and writes the file a last time.
    pub(super) fn end(self, exit: Exit) {
        let Some(served) = self.0 else { return };
        drop(served.watcher);
        served.metrics.end(exit.code());
        if let Some(writer) = served.writer {
            writer.end();
        }
    }
}

fn endpoint(settings: &MetricsSettings) -> Result<Option<MetricsEndpoint>> {
    let bound = settings.addr.map(|address| {
        MetricsEndpoint::bind(address).map_err(|error| {
            let message = format!(
                "metrics address `{address}` cannot be used: {error} (choose another one with `--metrics-addr`; port 0 \
                 takes a free port)"
            );
            decided(Exit::Usage, message)
        })
    });
    bound.transpose()
}

/// The names that labels may have.
fn names(config: &Config, agents: &Agents, providers: &Providers) -> LabelNames {
    let actions = agents.all().iter().map(|agent| agent.action.as_str());
    let links = providers.all().iter().map(|provider| provider.name.as_str());
    let owned = |name: &str| name.to_owned();
    let models = config.routes.iter().filter_map(|route| route.model.clone());
    LabelNames {
        agents: [SUPERVISOR, COMPLETION]
            .into_iter()
            .chain(actions)
            .map(owned)
            .collect(),
        models: models.collect(),
        routes: config.routes.iter().map(|route| route.name.clone()).collect(),
        providers: links.chain([CACHED, DEFAULT]).map(owned).collect(),
    }
}

/// Asks the store until it is dropped. A store that fails or does not answer changes nothing: the last values stay.
async fn watch(metrics: Arc<RunMetrics>, store: Weak<dyn Store>, max_cost: Option<Cost>) {
    while let Some(store) = store.upgrade() {
        let asked = timeout(PATIENCE, ask(&metrics, &*store, max_cost)).await;
        drop(store);
        if let Ok(Err(error)) = asked {
            tracing::debug!("the store has no figures for the metrics: {error}");
        }
        sleep(INTERVAL).await;
    }
}

async fn ask(metrics: &RunMetrics, store: &dyn Store, max_cost: Option<Cost>) -> Result<(), StoreError> {
    metrics.set_claimable(store.claimable_tasks().await?);
    let Some(name) = metrics.run() else {
        return Ok(());
    };
    let Some(run) = store.find_run(Some(&name)).await? else {
        return Ok(());
    };
    let cap = run.terms.max_cost.or(max_cost);
    metrics.set_run_cost(store.summary(run.id).await?.cost, cap);
    Ok(())
}
