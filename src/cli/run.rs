//! `nova3 run`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::ArgMatches;

use super::args::{Global, Progress, RunArgs};
use super::exit::{Exit, decided};
use super::{check, open_files, world};
use crate::config::{Config, ConfigError, Flags, Route, process_env};
use crate::domain::request::Rules;
use crate::engine::{Input, Job, Output, World, run_batch};
use crate::llm::Client;
use crate::mock::{self, Latency, MockConfig};
use crate::observe::{Announcer, Ending, Report, Style};
use crate::sink::Existing;
use crate::store::sqlite::SqliteStore;
use crate::store::{Changes, Failures, Order};

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
    let (rehearsal, config) = settings(args, &flags).await?;
    open_files::check(config.concurrency, args.mock)?;
    let mut job = job(args, &config, input)?;
    let agents = world::agents()?;
    let routes = config.routes.iter().map(|route| route.name.clone()).collect();
    let planner = world::planner(&agents, routes, args.tasks.as_deref())?;
    let _spool = if args.strict {
        check::first(&mut job, &planner)?
    } else {
        None
    };
    let client = Client::new(&config).map_err(|error| decided(Exit::Usage, error.to_string()))?;
    let store = SqliteStore::open(&config.store, config.wait_lock, &world::holder())?;
    let world = World {
        store: Arc::new(store),
        client: Arc::new(client),
        agents,
        planner,
        announcer: Announcer::start(style(args, global)).context("failed to start the display")?,
    };
    let report = run_batch(&world, &job).await;
    world.announcer.close();
    if let Some(mock) = rehearsal {
        mock.stop().await;
    }
    let report = report?;
    Ok(exit(&report))
}

/// The settings; with `--mock` also the server that stands in for every route.
async fn settings(args: &RunArgs, flags: &Flags) -> Result<(Option<mock::Mock>, Config)> {
    if !args.mock {
        return Ok((None, Config::load(flags, &process_env)?));
    }
    let config = MockConfig {
        // A demo that answers at once shows nothing: tokens come as from a quick provider.
        latency: Latency {
            first_token: std::time::Duration::from_millis(120),
            per_token: std::time::Duration::from_millis(2),
            tail: 0.02,
        },
        ..MockConfig::default()
    };
    let server = mock::start(config)
        .await
        .context("failed to start the mock server")?;
    let mut config = match Config::load(flags, &process_env) {
        Err(ConfigError::NoKey { .. }) => Config::load(flags, &keyless)?,
        other => other?,
    };
    let written = config
        .routes
        .first()
        .cloned()
        .map_or_else(|| Route::bare(flags), Ok)?;
    config.routes = vec![Route::mock(&server.base_url(), &written)?];
    if flags.store.is_none() {
        config.store = PathBuf::from(world::MOCK_STORE);
    }
    Ok((Some(server), config))
}

/// The environment of a rehearsal on a machine without a key: any key will do, none is sent.
fn keyless(name: &str) -> Option<String> {
    if name == "OPENAI_API_KEY" {
        Some("rehearsal".to_owned())
    } else {
        process_env(name)
    }
}

fn job(args: &RunArgs, config: &Config, input: Input) -> Result<Job> {
    let (name, named) = run_name(args, &input)?;
    Ok(Job {
        name,
        named,
        rehearsal: args.mock,
        output: output(args, config, &input)?,
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
        grace: config.grace,
        host: world::host(),
    })
}

fn run_name(args: &RunArgs, input: &Input) -> Result<(String, bool)> {
    if let Some(name) = &args.name {
        if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
            return Err(decided(
                Exit::Usage,
                "`--run` is 1 to 200 characters without control characters",
            ));
        }
        return Ok((name.clone(), true));
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

fn output(args: &RunArgs, config: &Config, input: &Input) -> Result<Output> {
    let Some(path) = args.output.as_deref().filter(|path| path.as_os_str() != "-") else {
        return Ok(Output::Stdout);
    };
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
    if is_input || is_of_store(&path, &config.store) {
        let what = if is_input {
            "the input itself"
        } else {
            "the store itself, or a file beside it that it needs"
        };
        return Err(decided(
            Exit::Usage,
            format!("`-o {}` is {what} (give another file)", path.display()),
        ));
    }
    let existing = match (args.append, args.overwrite) {
        (true, _) => Existing::Append,
        (_, true) => Existing::Overwrite,
        _ => Existing::Refuse,
    };
    Ok(Output::File { path, existing })
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

fn style(args: &RunArgs, global: &Global) -> Style {
    if global.quiet {
        return Style::Silent;
    }
    let terminal = std::io::stderr().is_terminal();
    let plain = process_env("CI").is_some() || process_env("TERM").is_some_and(|term| term == "dumb");
    match args.progress.unwrap_or(Progress::Auto) {
        Progress::None => Style::Silent,
        Progress::Plain => Style::Plain,
        // Log lines would tear a bar apart.
        Progress::Auto if !terminal || plain || global.verbose > 0 => Style::Plain,
        Progress::Auto | Progress::Bar => Style::Bar,
    }
}

fn exit(report: &Report) -> Exit {
    match &report.ending {
        Ending::Signal(number) => Exit::Signal(*number),
        Ending::ClosedPipe => Exit::Good,
        Ending::NoRoute { .. } => Exit::NoRoute,
        Ending::Finished if report.counts.total == 0 => Exit::Nothing,
        Ending::Finished if report.counts.failed > 0 => Exit::Failed,
        Ending::Finished => Exit::Good,
    }
}
