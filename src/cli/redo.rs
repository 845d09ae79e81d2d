//! `nova3 redo`: makes tasks of finished requests anew, and runs them.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ArgMatches;
use clap::parser::ValueSource;

use super::args::{AskArgs, Emit, Global, PlanArgs, RedoArgs, RunArgs};
use super::exit::{Exit, decided};
use super::redo_list::{ListForm, each, json, listed};
use super::{input, own_work, rehearsal, run, setup, stores};
use crate::config::{Config, Flags, process_env};
use crate::domain::printable::counted;
use crate::engine::{RedoChoice, RedoFilter, RedoTools, Services, Signals, find_redos};
use crate::llm::Client;
use crate::observe::tell;
use crate::store::{Feed, RedoneQueue, Run, Store};

pub(super) fn main(args: &RedoArgs, global: &Global, matches: &ArgMatches, signals: Signals) -> Result<Exit> {
    let choice = choice(args)?;
    let runtime = super::runtime()?;
    let exit = runtime.block_on(redo(args, choice, global, matches, signals));
    // The reader thread may block on a pipe that stays open; it must not keep the process alive.
    runtime.shutdown_background();
    exit
}

async fn redo(
    args: &RedoArgs,
    choice: RedoChoice,
    global: &Global,
    matches: &ArgMatches,
    signals: Signals,
) -> Result<Exit> {
    let flags = input::with_flags(
        setup::run_flags(global, &args.run, matches),
        &args.run.table,
        matches,
    );
    let mut of_run = args.run.clone();
    let is_given = matches.value_source("input") != Some(ValueSource::DefaultValue);
    if !is_given {
        take_from_store(&mut of_run, &flags).await?;
    }
    if args.run.dry_run {
        let (name, _) = run::run_name(of_run.name.as_deref(), &setup::input(&of_run.input)?)?;
        let view = RedoView {
            flags: &flags,
            mock: of_run.mock,
            name: &name,
            ask: &of_run.ask,
            tasks: of_run.tasks.as_deref(),
        };
        return show(view, &choice, ListForm::Summary).await;
    }
    let step = RedoStep {
        choice,
        asks: !args.yes && is_given_by_person(&of_run),
        quiet: global.quiet,
    };
    run::run(&of_run, global, matches, signals, Some(&step)).await
}

/// Whether a person can answer a question.
fn is_given_by_person(args: &RunArgs) -> bool {
    args.input.as_os_str() != "-" && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn choice(args: &RedoArgs) -> Result<RedoChoice> {
    let filters = args
        .filters
        .iter()
        .map(|text| {
            RedoFilter::parse(text).map_err(|error| decided(Exit::Usage, format!("`--where`: {error}")))
        })
        .collect::<Result<Vec<_>>>()?;
    let choice = RedoChoice {
        from: args.from.clone(),
        ids: setup::ids(&args.id),
        filters,
        stale: args.stale,
    };
    if choice == RedoChoice::default() {
        let message = "nothing says which tasks to make anew (give `--from ACTION`, `--id ID`, `--where KEY=VALUE` or `--stale`; \
                       `nova3 retry` is for failed requests)";
        return Err(decided(Exit::Usage, message));
    }
    Ok(choice)
}

/// Completes the arguments from the store: the run that was used last, its input, and its result file on this host.
async fn take_from_store(args: &mut RunArgs, flags: &Flags) -> Result<()> {
    let Some(store) = stores::if_there(&stores::of_run(flags, args.mock)?).await? else {
        return Err(decided(Exit::Nothing, "the store holds no run yet"));
    };
    let run = setup::find_run(&*store, args.name.as_deref()).await?;
    let Some(path) = run.input.clone() else {
        let message = format!(
            "run `{}` was read from standard input (give the same input again: `nova3 redo - --run {0}`)",
            run.name
        );
        return Err(decided(Exit::Usage, message));
    };
    if args.output.is_none() && !args.dry_run && args.emit != Some(Emit::Events) {
        args.output = result_file(&*store, &run).await?;
    }
    args.input = path;
    args.name = Some(run.name);
    Ok(())
}

/// The result file that the run has on this host. Without one, results go to standard output.
async fn result_file(store: &dyn Store, run: &Run) -> Result<Option<PathBuf>> {
    let host = setup::host();
    let cursors = store.cursors(run.id).await?;
    let mut files: Vec<String> = cursors
        .into_iter()
        .filter(|(key, cursor)| key.host == host && cursor.feed == Feed::Results && !cursor.append)
        .map(|(key, _)| key.path)
        .collect();
    match (files.pop(), files.as_slice()) {
        (None, _) => Ok(None),
        (Some(path), []) => {
            tell(&format!("run `{}`: the results go to `{path}`", run.name));
            Ok(Some(PathBuf::from(path)))
        }
        (Some(path), others) => {
            let message = format!(
                "run `{}` has {} result files: `{path}`, `{}` (choose with `-o`)",
                run.name,
                others.len() + 1,
                others.join("`, `")
            );
            Err(decided(Exit::Usage, message))
        }
    }
}

/// `plan --stale`: shows the finished tasks that a redo would make anew, because one of their inputs has changed.
pub(super) async fn plan_stale(args: &PlanArgs, flags: &Flags) -> Result<Exit> {
    let (name, _) = run::run_name(args.name.as_deref(), &setup::input(&args.input)?)?;
    let choice = RedoChoice {
        stale: true,
        ..RedoChoice::default()
    };
    let form = if args.json { ListForm::Json } else { ListForm::Text };
    let view = RedoView {
        flags,
        mock: args.mock,
        name: &name,
        ask: &args.ask,
        tasks: args.tasks.as_deref(),
    };
    show(view, &choice, form).await
}

/// The run of which tasks are shown, and the agents that it would use now.
#[derive(Clone, Copy)]
pub(super) struct RedoView<'a> {
    pub(super) flags: &'a Flags,
    pub(super) mock: bool,
    pub(super) name: &'a str,
    pub(super) ask: &'a AskArgs,
    /// `--tasks`.
    pub(super) tasks: Option<&'a str>,
}

/// Prints the tasks that a choice makes anew. Opens the store for reading only.
pub(super) async fn show(view: RedoView<'_>, choice: &RedoChoice, form: ListForm) -> Result<Exit> {
    let RedoView {
        flags,
        mock,
        name,
        ask,
        tasks,
    } = view;
    let config = if mock {
        rehearsal::offline_settings(flags, rehearsal::NOWHERE)?
    } else {
        Config::load_without_keys(flags, &process_env)?
    };
    let Some(store) = stores::if_there(&config.store).await? else {
        return Err(decided(Exit::Nothing, "the store holds no run yet"));
    };
    let run = setup::find_run(&*store, Some(name)).await?;
    let agents = own_work::load(ask, tasks, &config.agents)?.agents;
    let client = Client::new(&config).context("failed to set up the client")?;
    let tools = RedoTools {
        store: &*store,
        client: &client,
        agents: &agents,
        budget: &config.context,
    };
    let unfinished = store.unfinished_redos(run.id).await?;
    if unfinished > 0 {
        tell(&format!("run `{name}`: {}", under_way(unfinished)));
    }
    let list = find_redos(tools, &run, choice).await?;
    if list.entries.is_empty() {
        return Err(nothing(name, choice, list.unchecked));
    }
    let text = match form {
        ListForm::Summary => listed(name, &list),
        ListForm::Text => each(&list) + &listed(name, &list),
        ListForm::Json => json(&list),
    };
    super::print(text.as_bytes())?;
    Ok(Exit::Good)
}

fn under_way(unfinished: u64) -> String {
    let requests = counted(unfinished, "request");
    format!("an earlier redo is unfinished: {requests} to go")
}

fn nothing(name: &str, choice: &RedoChoice, unchecked: u64) -> anyhow::Error {
    let message = match (choice.stale, unchecked) {
        (true, 0) => format!("run `{name}`: no task is stale"),
        (true, unchecked) => format!(
            "run `{name}`: no task is stale; {} could not be checked (an agent or a route is gone)",
            counted(unchecked, "request")
        ),
        (false, _) => format!("run `{name}` has no such finished task (`nova3 results` lists its requests)"),
    };
    decided(Exit::Nothing, message)
}

/// The step of a redo before the run: it chooses the tasks and puts them back.
pub(super) struct RedoStep {
    choice: RedoChoice,
    /// Whether a person is asked before the calls.
    asks: bool,
    quiet: bool,
}

impl RedoStep {
    /// Chooses the tasks, shows them, and begins their new versions. It fails if there are none, or if a person does not
    /// confirm. An earlier redo that is unfinished goes on instead, so that no answer of it is paid for twice.
    pub(super) async fn begin(&self, services: &Services, name: &str) -> Result<()> {
        let store = &*services.store;
        let run = setup::find_run(store, Some(name)).await?;
        let unfinished = store.unfinished_redos(run.id).await?;
        if unfinished > 0 {
            self.say(&format!(
                "run `{name}`: {}; it goes on (run the same command again afterwards for a new choice)",
                under_way(unfinished)
            ));
            return Ok(());
        }
        let tools = RedoTools {
            store,
            client: &services.client,
            agents: &services.agents,
            budget: &services.budget,
        };
        let list = find_redos(tools, &run, &self.choice).await?;
        if !list.unknown.is_empty() {
            self.say(&format!(
                "run `{name}` has no finished request `{}`",
                list.unknown.join("`, `")
            ));
        }
        if list.entries.is_empty() {
            return Err(nothing(name, &self.choice, list.unchecked));
        }
        self.say(listed(name, &list).trim_end());
        if self.asks && !confirmed()? {
            return Err(decided(Exit::Stopped, "nothing was changed"));
        }
        let queues: Vec<RedoneQueue> = list.entries.into_iter().map(|entry| entry.queue).collect();
        store.redo(run.id, queues).await?;
        Ok(())
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            tell(text);
        }
    }
}

/// Asks on the terminal. Only `y` and `yes` confirm.
fn confirmed() -> Result<bool> {
    let mut terminal = std::io::stderr();
    terminal.write_all("make them anew? [y/N] ".as_bytes())?;
    terminal.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
