//! `nova3 worker`.

use std::sync::Arc;

use anyhow::{Context, Result};
use clap::ArgMatches;

use super::args::{Global, WorkerArgs};
use super::exit::{Exit, decided, exit_of};
use super::metrics::{self, CommandMetrics, CommandScope};
use super::{actions, models, open_files, own_work, rehearsal, run, setup, stores, terminal, traces};
use crate::agent::{Agents, Planner};
use crate::config::{Config, Flags, StoreAddress};
use crate::domain::conditions::Conditions;
use crate::engine::{Input, InputForm, Job, Services, Signals, WorkerOptions, work_on_runs};
use crate::mock::Mock;
use crate::observe::{EventBus, Style};
use crate::search::Providers;
use crate::store::{Changes, NewAction, Order};

pub(super) fn main(
    args: &WorkerArgs,
    global: &Global,
    matches: &ArgMatches,
    signals: Signals,
) -> Result<Exit> {
    let runtime = super::runtime()?;
    let exit = runtime.block_on(worker(args, global, matches, signals));
    runtime.shutdown_background();
    exit
}

async fn worker(args: &WorkerArgs, global: &Global, matches: &ArgMatches, signals: Signals) -> Result<Exit> {
    let flags = flags(args, global, matches);
    let style = run::style(args.progress, global)?;
    let (rehearsal, config) = rehearsal::settings(args.mock, &flags).await?;
    if let StoreAddress::File(path) = &config.store {
        let message = format!(
            "store `{}` is a file, and only one process can work on a file (workers share a database: `--store postgres://user@host/database`)",
            path.display()
        );
        return Err(decided(Exit::Usage, message));
    }
    open_files::check(config.concurrency, args.mock)?;
    let mut work = own_work::load(&args.ask, None, &config.agents)?;
    // The terms of each run hold its tasks.
    work.tasks = None;
    let agents = Arc::clone(&work.agents);
    let planner = setup::planner(&work, setup::names(&config), None)?;
    models::of_worker(&config, &agents)?;
    let providers = setup::providers(&config, &agents, rehearsal.as_ref())?;
    let options = WorkerOptions {
        job: job(
            args,
            &config,
            &agents,
            &providers,
            actions::action("worker", matches),
        ),
        only: args.name.clone(),
        until_idle: args.until_idle,
    };
    let scope = CommandScope {
        input: &Input::Stdin,
        outputs: &[],
        summary: None,
        max_cost: None,
    };
    let mut metrics = CommandMetrics::start(&config, (&agents, &providers), &scope, global)?;
    let prepared = PreparedWorker {
        config,
        rehearsal,
        agents,
        planner,
        providers,
        style,
    };
    let worked = self::work(&options, global, prepared, &mut metrics, signals).await;
    metrics.end(worked.as_ref().map_or_else(exit_of, |exit| *exit));
    worked
}

/// Everything that a worker needs beside its options.
struct PreparedWorker {
    config: Config,
    rehearsal: Option<Mock>,
    agents: Arc<Agents>,
    planner: Arc<Planner>,
    providers: Providers,
    style: Style,
}

/// Works on runs until the worker ends.
async fn work(
    options: &WorkerOptions,
    global: &Global,
    prepared: PreparedWorker,
    metrics: &mut CommandMetrics,
    mut signals: Signals,
) -> Result<Exit> {
    let PreparedWorker {
        config,
        rehearsal,
        agents,
        planner,
        providers,
        style,
    } = prepared;
    let opened = stores::to_work(&config.store, config.wait_lock, global).await?;
    let client = opened.client(&config).await?;
    let searcher = opened.searcher(&config, providers).await?;
    let screen = terminal::screen(global);
    let store = terminal::named_store(&config.store);
    let traces = traces::start(&config, &opened.store, &metrics.dropped_traces());
    let taps = [metrics.taps(), traces::taps(traces.as_ref())].concat();
    let events =
        EventBus::start(style.sinks(&screen, store)).context("failed to start the sinks of events")?;
    let mut services = Services {
        store: opened.store,
        client: client.into(),
        agents,
        planner,
        searcher,
        budget: config.context,
        events: events.with_taps(taps),
        screen,
        traces,
    };
    metrics.watch(&services.store);
    let ending = work_on_runs(&mut services, options, &mut signals).await;
    services.events.close();
    traces::close(services.traces.as_ref(), &mut signals).await;
    if let Some(mock) = rehearsal {
        mock.stop().await;
    }
    Ok(run::exit_of(&ending?))
}

fn flags(args: &WorkerArgs, global: &Global, matches: &ArgMatches) -> Flags {
    let given = |id, flag, env, value| setup::given(matches, id, flag, env, value);
    Flags {
        store: setup::given_store(matches, args.store.as_ref()),
        grace: given("grace", "--grace", "NOVA3_GRACE", args.grace.as_ref()),
        wait_lock: given(
            "wait_lock",
            "--wait-lock",
            "NOVA3_WAIT_LOCK",
            args.wait_lock.as_ref(),
        ),
        give_up: given("give_up", "--give-up", "NOVA3_GIVE_UP", args.give_up.as_ref()),
        memory_limit: given(
            "memory_limit",
            "--memory-limit",
            "NOVA3_MEMORY_LIMIT",
            args.memory_limit.as_ref(),
        ),
        ..metrics::with_flags(setup::flags(global, &args.model, matches), &args.metrics, matches)
    }
}

/// The settings of this worker, the same for every run that it joins.
fn job(
    args: &WorkerArgs,
    config: &Config,
    agents: &crate::agent::Agents,
    providers: &crate::search::Providers,
    action: NewAction,
) -> Job {
    Job {
        name: String::new(),
        named: true,
        rehearsal: args.mock,
        input: Input::Stdin,
        form: InputForm::default(),
        changes: Changes::Refuse,
        outputs: Vec::new(),
        order: Order::Completion,
        plan_only: false,
        recipe: setup::recipe(agents, config),
        terms: setup::terms(agents, config, providers, None, None),
        accept_drift: args.accept_drift,
        retry: None,
        concurrency: config.concurrency,
        max_queues: config.max_queues,
        memory_limit: config.memory_limit,
        conditions: Conditions {
            give_up: config.conditions.give_up,
            ..Conditions::default()
        },
        grace: config.grace,
        lease: config.lease,
        leaves_to_others: true,
        host: setup::host(),
        action,
    }
}
