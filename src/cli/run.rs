//! `nova3 run`.

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::ArgMatches;

use super::args::{Global, LogFormat, ProgressMode, RunArgs};
use super::exit::{Exit, decided};
use super::metrics::{CommandMetrics, CommandScope};
use super::own_work::{self, OwnWork};
use super::redo::RedoStep;
use super::summary_file::SummaryFile;
use super::{
    actions, check, estimate, input, models, open_files, outputs, rehearsal, route_prices, setup, stores,
    terminal, traces,
};
use crate::config::{Config, Flags, process_env};
use crate::engine::{Input, Job, Services, Signals, check_columns, run_batch};
use crate::mock::Mock;
use crate::observe::{EventBus, Report, RunEnding, Style, failed_summary, run_summary, tell};
use crate::search::Providers;
use crate::store::{Changes, Failures, NewAction, Order};

pub(super) fn main(args: &RunArgs, global: &Global, matches: &ArgMatches, signals: Signals) -> Result<Exit> {
    if args.dry_run {
        return estimate::dry_run(args, global, matches);
    }
    let runtime = super::runtime()?;
    let exit = runtime.block_on(run(args, global, matches, signals, None));
    // The reader thread may block on a pipe that stays open; it must not keep the process alive.
    runtime.shutdown_background();
    exit
}

/// Runs the requests. A redo first puts the tasks back that it makes anew.
pub(super) async fn run(
    args: &RunArgs,
    global: &Global,
    matches: &ArgMatches,
    mut signals: Signals,
    redo: Option<&RedoStep>,
) -> Result<Exit> {
    let flags = input::with_flags(setup::run_flags(global, args, matches), &args.table, matches);
    let source = setup::input(&args.input)?;
    if source == Input::Stdin && std::io::stdin().is_terminal() {
        return Err(decided(
            Exit::Usage,
            "no input (give a file, or pipe requests in: one JSON object a line)",
        ));
    }
    // Check the input before the store is opened, or a mistyped name leaves an empty run behind.
    if let Err(error) = source.probe() {
        refuse_vanished(args, &flags, &source).await?;
        return Err(error.into());
    }
    let style = style(args.progress, global)?;
    let (rehearsal, config) = rehearsal::settings(args.mock, &flags).await?;
    open_files::check(config.concurrency, args.mock)?;
    let work = own_work::load(&args.ask, args.tasks.as_deref(), &config.agents)?;
    let agents = Arc::clone(&work.agents);
    let providers = setup::providers(&config, &agents, rehearsal.as_ref())?;
    let command = if redo.is_some() { "redo" } else { "run" };
    let action = actions::action(command, matches);
    let job = job(args, &config, &work, &providers, source, action)?;
    let summary = args
        .summary_json
        .as_deref()
        .map(|path| SummaryFile::prepare(path, &config, &job.input, &job.outputs))
        .transpose()?;
    let scope = CommandScope {
        input: &job.input,
        outputs: &job.outputs,
        summary: summary.as_ref().map(SummaryFile::path),
        max_cost: config.conditions.max_cost,
    };
    let mut metrics = CommandMetrics::start(&config, (&agents, &providers), &scope, global)?;
    let store = terminal::named_store(&config.store);
    let prepared = Prepared {
        config,
        rehearsal,
        own: work,
        providers,
        style,
    };
    let name = job.name.clone();
    let ended = self::work(args, global, prepared, job, (redo, &mut metrics), &mut signals).await;
    let finished = finish(summary.as_ref(), &name, store.as_deref(), ended);
    metrics.end(finished.as_ref().map_or_else(super::exit::exit_of, |exit| *exit));
    finished
}

/// Everything that a run needs beside its job.
struct Prepared {
    config: Config,
    rehearsal: Option<Mock>,
    own: OwnWork,
    providers: Providers,
    style: Style,
}

/// Does the job. `None` if its input is empty, which leaves the store as it is.
async fn work(
    args: &RunArgs,
    global: &Global,
    prepared: Prepared,
    mut job: Job,
    (redo, metrics): (Option<&RedoStep>, &mut CommandMetrics),
    signals: &mut Signals,
) -> Result<Option<Report>> {
    let Prepared {
        config,
        rehearsal,
        own,
        providers,
        style,
    } = prepared;
    let agents = Arc::clone(&own.agents);
    if job.input.is_empty()? {
        let message = format!("run `{}`: the input holds no requests", job.name);
        tell(&message);
        return Ok(None);
    }
    route_prices::require_prices(&config)?;
    route_prices::tell_listed(&config, global);
    let routes = setup::names(&config);
    let planner = setup::planner(&own, routes, args.until.as_deref())?;
    check_columns(&job.input, &job.form, &planner)?;
    models::of_input(&config, &agents, &planner, &job.input, &job.form)?;
    let _spool = if args.strict {
        check::first(&mut job, &planner)?
    } else {
        None
    };
    let opened = stores::to_work(&config.store, config.wait_lock, global).await?;
    let client = opened.client(&config).await?;
    let searcher = opened.searcher(&config, providers).await?;
    let screen = terminal::screen(global);
    let sinks = style.sinks(&screen, terminal::named_store(&config.store));
    let traces = traces::start(&config, &opened.store, &metrics.dropped_traces());
    let taps = [metrics.taps(), traces::taps(traces.as_ref())].concat();
    let events = EventBus::start(sinks).context("failed to start the sinks of events")?;
    let mut services = Services {
        store: opened.store,
        client: Arc::new(client),
        agents,
        planner,
        searcher,
        budget: config.context,
        events: events.with_taps(taps),
        screen,
        traces,
    };
    metrics.watch(&services.store);
    if let Some(redo) = redo
        && let Err(error) = redo.begin(&services, &job.name).await
    {
        services.store.close().await?;
        return Err(error);
    }
    let report = run_batch(&mut services, &job, signals).await;
    services.events.close();
    traces::close(services.traces.as_ref(), signals).await;
    if let Some(mock) = rehearsal {
        mock.stop().await;
    }
    Ok(Some(report?))
}

/// Writes the summary file, also after an error, and returns the exit code.
fn finish(
    summary: Option<&SummaryFile>,
    run: &str,
    store: Option<&str>,
    ended: Result<Option<Report>>,
) -> Result<Exit> {
    let (exit, fields) = match &ended {
        Ok(Some(report)) => {
            let exit = exit(report);
            (exit, run_summary(report, exit.code(), store))
        }
        Ok(None) => {
            let ending = RunEnding::NoRequests.name();
            (
                Exit::Nothing,
                failed_summary(run, ending, Exit::Nothing.code(), None),
            )
        }
        Err(error) => {
            let exit = super::exit::exit_of(error);
            let message = format!("{error:#}");
            (exit, failed_summary(run, "error", exit.code(), Some(&message)))
        }
    };
    let written = summary.map_or(Ok(()), |summary| summary.write(fields));
    ended?;
    written?;
    Ok(exit)
}

/// Refuses an input file that no longer exists and that the run was made from. Exit code 4, as for an empty input; the run
/// stays unchanged.
async fn refuse_vanished(args: &RunArgs, flags: &Flags, input: &Input) -> Result<()> {
    let Input::File(path) = input else { return Ok(()) };
    if path.exists() {
        return Ok(());
    }
    let Some(store) = stores::if_there(&stores::of_run(flags, args.mock)?).await? else {
        return Ok(());
    };
    let (name, _) = run_name(args.name.as_deref(), input)?;
    match store.find_run(Some(&name)).await? {
        Some(run) if run.input.as_ref() == Some(path) => {
            let path = path.display();
            let message = format!(
                "input `{path}` of run `{name}` no longer exists (the results stay; put the file back to go on)"
            );
            Err(decided(Exit::Nothing, message))
        }
        _ => Ok(()),
    }
}

fn job(
    args: &RunArgs,
    config: &Config,
    work: &OwnWork,
    providers: &Providers,
    source: Input,
    action: NewAction,
) -> Result<Job> {
    let (name, named) = run_name(args.name.as_deref(), &source)?;
    Ok(Job {
        name,
        named,
        rehearsal: args.mock,
        outputs: outputs::outputs(args, config, &source)?,
        input: source,
        form: input::form(&args.table, &config.input, work, args.lenient)?,
        changes: if args.frozen {
            Changes::Refuse
        } else {
            Changes::Replace
        },
        order: if args.keep_order {
            Order::Input
        } else {
            Order::Completion
        },
        retry: args.retry_failed.then(Failures::default),
        concurrency: config.concurrency,
        max_queues: config.max_queues,
        memory_limit: config.memory_limit,
        conditions: config.conditions,
        grace: config.grace,
        lease: config.lease,
        leaves_to_others: false,
        host: setup::host(),
        action,
        plan_only: false,
        recipe: setup::recipe(&work.agents, config),
        terms: setup::terms(
            &work.agents,
            config,
            providers,
            args.until.as_deref(),
            work.tasks.as_ref(),
        ),
        accept_drift: args.accept_drift,
    })
}

pub(super) fn run_name(given: Option<&str>, input: &Input) -> Result<(String, bool)> {
    if let Some(name) = given {
        if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
            return Err(decided(
                Exit::Usage,
                "`--run` is 1 to 200 characters without control characters",
            ));
        }
        return Ok((name.to_owned(), true));
    }
    Ok(match input {
        Input::File(path) => {
            let name = path.file_name().unwrap_or(path.as_os_str());
            (name.to_string_lossy().into_owned(), false)
        }
        // Standard input has no name: without `--run` each invocation is a new run.
        Input::Stdin | Input::Spooled(_) => (
            format!("stdin-{:.3}-{:04x}", crate::clock::now(), fastrand::u16(..)),
            true,
        ),
    })
}

pub(super) fn style(progress: Option<ProgressMode>, global: &Global) -> Result<Style> {
    if global.quiet {
        return Ok(Style::Silent);
    }
    let json = global.log_format == Some(LogFormat::Json);
    if json && progress == Some(ProgressMode::Bar) {
        let message = "`--progress bar` draws on stderr, but `--log-format json` allows only JSON lines there (remove one of the two)";
        return Err(decided(Exit::Usage, message));
    }
    let terminal = std::io::stderr().is_terminal();
    let plain = process_env("CI").is_some() || process_env("TERM").is_some_and(|term| term == "dumb");
    Ok(match progress.unwrap_or(ProgressMode::Auto) {
        ProgressMode::None => Style::Silent,
        ProgressMode::Plain => Style::Plain,
        // Log lines would break the bar.
        ProgressMode::Auto if !terminal || plain || json || global.verbose > 0 => Style::Plain,
        ProgressMode::Auto | ProgressMode::Bar => Style::Bar,
    })
}

fn exit(report: &Report) -> Exit {
    let counts = &report.counts;
    match &report.ending {
        RunEnding::Finished if counts.total == 0 => Exit::Nothing,
        // A request whose redo failed has its earlier result, so no state counts it.
        RunEnding::Finished | RunEnding::ClosedPipe | RunEnding::Limit
            if counts.bad() > 0 || report.commonest.is_some() =>
        {
            Exit::Failed
        }
        RunEnding::Finished | RunEnding::ClosedPipe | RunEnding::Limit => {
            if counts.unfinished() == 0 && report.input_read {
                Exit::Good
            } else {
                Exit::Stopped
            }
        }
        other => exit_of(other),
    }
}

/// The exit code of the ending alone; failed requests do not count.
pub(super) const fn exit_of(ending: &RunEnding) -> Exit {
    match ending {
        RunEnding::Finished => Exit::Good,
        RunEnding::NoRequests => Exit::Nothing,
        RunEnding::ClosedPipe | RunEnding::Limit => Exit::Stopped,
        RunEnding::Signal(number) => Exit::Signal(*number),
        RunEnding::NoRoute { .. } => Exit::NoRoute,
        RunEnding::Failures { .. } => Exit::Failures,
        RunEnding::Budget { .. } => Exit::Budget,
        RunEnding::Deadline => Exit::Deadline,
    }
}
