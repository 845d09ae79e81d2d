//! `nova3 run`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::ArgMatches;

use super::args::{Emit, Global, Progress, RunArgs};
use super::exit::{Exit, decided};
use super::{check, open_files, rehearsal, stores, world};
use crate::agent::Agents;
use crate::config::{Config, process_env};
use crate::domain::request::Rules;
use crate::engine::{Input, Job, Output, Target, World, run_batch};
use crate::observe::{Announcer, Ending, Report, Style};
use crate::sink::Existing;
use crate::store::{Changes, Failures, Feed, Order};

pub(super) fn main(args: &RunArgs, global: &Global, matches: &ArgMatches) -> Result<Exit> {
    let runtime = super::runtime()?;
    let exit = runtime.block_on(run(args, global, matches));
    // The reader may be blocked on a pipe that nobody closes; it must not keep the process alive.
    runtime.shutdown_background();
    exit
}

async fn run(args: &RunArgs, global: &Global, matches: &ArgMatches) -> Result<Exit> {
    let flags = world::run_flags(global, args, matches);
    let input = world::input(&args.input)?;
    if input == Input::Stdin && std::io::stdin().is_terminal() {
        return Err(decided(
            Exit::Usage,
            "no input (give a file, or pipe requests in: one JSON object a line)",
        ));
    }
    // Before the store: a mistyped name must not leave a run behind.
    input.probe()?;
    let (rehearsal, config) = rehearsal::settings(args.mock, &flags).await?;
    open_files::check(config.concurrency, args.mock)?;
    let agents = world::agents(&config.agents)?;
    let mut job = job(args, &config, &agents, input)?;
    world::require_prices(&config)?;
    let routes = world::names(&config);
    let planner = world::planner(&agents, routes, args.tasks.as_deref(), args.until.as_deref())?;
    let _spool = if args.strict {
        check::first(&mut job, &planner)?
    } else {
        None
    };
    let opened = stores::to_work(&config.store, config.wait_lock).await?;
    let client = opened.client(&config)?;
    let world = World {
        store: opened.store,
        client: Arc::new(client),
        agents,
        planner,
        budget: config.context,
        announcer: Announcer::start(style(args.progress, global)).context("failed to start the display")?,
    };
    let report = run_batch(&world, &job).await;
    world.announcer.close();
    if let Some(mock) = rehearsal {
        mock.stop().await;
    }
    let report = report?;
    Ok(exit(&report))
}

fn job(args: &RunArgs, config: &Config, agents: &Agents, input: Input) -> Result<Job> {
    let (name, named) = run_name(args.name.as_deref(), &input)?;
    Ok(Job {
        name,
        named,
        rehearsal: args.mock,
        outputs: outputs(args, config, &input)?,
        input,
        rules: Rules {
            lenient: args.lenient,
        },
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
        host: world::host(),
        plan_only: false,
        recipe: world::recipe(agents, config),
        terms: world::terms(agents, config, args.until.as_deref()),
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
        // Nothing names standard input: without `--run` each invocation is a run of its own.
        Input::Stdin | Input::Spooled(_) => (
            format!("stdin-{:.3}-{:04x}", crate::clock::now(), fastrand::u16(..)),
            true,
        ),
    })
}

/// What is written where: results or events to standard output or a file, and events beside them.
fn outputs(args: &RunArgs, config: &Config, input: &Input) -> Result<Vec<Output>> {
    let feed = match args.emit {
        Some(Emit::Events) => Feed::Events,
        Some(Emit::Results) | None => Feed::Results,
    };
    let existing = match (args.append, args.overwrite) {
        (true, _) => Existing::Append,
        (_, true) => Existing::Overwrite,
        _ => Existing::Refuse,
    };
    let written = |path: Option<&Path>| path.filter(|path| path.as_os_str() != "-").map(Path::to_path_buf);
    let target = |path: Option<PathBuf>, flag: &str| -> Result<Target> {
        match path {
            Some(path) => Ok(Target::File {
                path: file(&path, flag, config, input)?,
                existing,
            }),
            None => Ok(Target::Stdout),
        }
    };
    if feed == Feed::Events && args.keep_order {
        let message = "`--keep-order` orders results, and `--emit events` writes none (leave one out)";
        return Err(decided(Exit::Usage, message));
    }
    let main = Output {
        feed,
        target: target(written(args.output.as_deref()), "-o")?,
    };
    let Some(events) = &args.events else {
        return Ok(vec![main]);
    };
    let beside = Output {
        feed: Feed::Events,
        target: target(written(Some(events)), "--events")?,
    };
    if feed == Feed::Events {
        let message =
            "`--events` writes events beside results, and `--emit events` writes none (leave one out)";
        return Err(decided(Exit::Usage, message));
    }
    if beside.target == main.target {
        let message = "`--events` names the place where results go (give another file)";
        return Err(decided(Exit::Usage, message));
    }
    Ok(vec![main, beside])
}

/// The path of a file to be written, which must not be one that the run needs.
fn file(path: &Path, flag: &str, config: &Config, input: &Input) -> Result<PathBuf> {
    let path = world::result_path(path)?;
    if path.to_str().is_none() {
        let message = format!(
            "result file `{}` has a name that is not UTF-8, which the store could not remember (give another)",
            path.display()
        );
        return Err(decided(Exit::Usage, message));
    }
    if let Ok(data) = std::fs::metadata(&path)
        && !data.is_file()
    {
        let message = format!(
            "result file `{}` is a folder or a device (write to standard output and redirect it)",
            path.display()
        );
        return Err(decided(Exit::Output, message));
    }
    let is_input = matches!(input, Input::File(input) if *input == path);
    let store = config.store.file();
    if is_input || store.is_some_and(|store| is_of_store(&path, store)) {
        let what = if is_input {
            "the input itself"
        } else {
            "the store itself, or a file beside it that it needs"
        };
        return Err(decided(
            Exit::Usage,
            format!("`{flag} {}` is {what} (give another file)", path.display()),
        ));
    }
    Ok(path)
}

/// Whether a result file would stand where the store keeps its data, its log or its lock, there already or not.
fn is_of_store(path: &Path, store: &Path) -> bool {
    // A store in a folder that cannot be used has an error of its own.
    let Ok(store) = world::result_path(store) else {
        return false;
    };
    ["", "-wal", "-shm", "-journal", ".lock"].iter().any(|ending| {
        let mut name = store.clone().into_os_string();
        name.push(ending);
        path.as_os_str() == name
    })
}

pub(super) fn style(progress: Option<Progress>, global: &Global) -> Style {
    if global.quiet {
        return Style::Silent;
    }
    let terminal = std::io::stderr().is_terminal();
    let plain = process_env("CI").is_some() || process_env("TERM").is_some_and(|term| term == "dumb");
    match progress.unwrap_or(Progress::Auto) {
        Progress::None => Style::Silent,
        Progress::Plain => Style::Plain,
        // Log lines would tear a bar apart.
        Progress::Auto if !terminal || plain || global.verbose > 0 => Style::Plain,
        Progress::Auto | Progress::Bar => Style::Bar,
    }
}

fn exit(report: &Report) -> Exit {
    match &report.ending {
        Ending::Finished if report.counts.total == 0 => Exit::Nothing,
        Ending::Finished | Ending::Limit if report.counts.failed > 0 => Exit::Failed,
        other => exit_of(other),
    }
}

/// What the ending itself means, whatever became of the requests.
pub(super) const fn exit_of(ending: &Ending) -> Exit {
    match ending {
        Ending::Finished | Ending::ClosedPipe | Ending::Limit => Exit::Good,
        Ending::Signal(number) => Exit::Signal(*number),
        Ending::NoRoute { .. } => Exit::NoRoute,
        Ending::Failures { .. } => Exit::Failures,
        Ending::Budget { .. } => Exit::Budget,
        Ending::Deadline => Exit::Deadline,
    }
}
