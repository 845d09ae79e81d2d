//! The commands. Each command builds the services that it needs and passes them down.

mod actions;
mod agents;
mod agents_new;
mod agents_test;
mod args;
mod check;
mod command;
mod completions;
mod config;
mod estimate;
mod exit;
mod explain;
mod file_sizes;
mod init;
mod input;
mod logging;
mod man;
mod metrics;
mod metrics_file;
mod mock;
mod models;
mod open_files;
mod outputs;
mod own_work;
mod plan;
mod prompts;
mod redo;
mod redo_list;
mod rehearsal;
mod report;
mod results;
mod retry;
mod route_prices;
mod run;
mod runs;
mod search;
mod session;
mod setup;
mod status;
mod stores;
mod summary_file;
mod terminal;
mod traces;
mod usage;
mod verify;
mod whole_file;
mod worker;

use std::ffi::OsStr;
use std::io::{ErrorKind, Write};

use anyhow::{Context, Result};
use clap::builder::{BoolishValueParser, Resettable};
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches};

pub use exit::Exit;
use exit::exit_of;

use self::args::{Cli, Command, LogFormat};
use self::exit::decided;
use crate::config::is_empty_variable;
use crate::engine::Signals;
use crate::observe::tell_error;

/// Parses the command line and runs the command. An error is written to stderr with its causes.
pub fn main() -> Exit {
    command_line().unwrap_or_else(|error| {
        let exit = exit_of(&error);
        tell_error(&format!("nova3: {error:#}"), &exit.page());
        exit
    })
}

fn command_line() -> Result<Exit> {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return Ok(usage(&error)),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return Ok(usage(&error)),
    };
    logging::start(&cli.global);
    open_files::raise();
    file_sizes::catch_limit()?;
    let matches = matches
        .subcommand()
        .map(|(_, matches)| matches.clone())
        .unwrap_or_default();
    command::answering_signals(move |signals| dispatch(&cli, &matches, signals))
}

fn dispatch(cli: &Cli, matches: &ArgMatches, signals: Signals) -> Result<Exit> {
    match &cli.command {
        Command::Run(args) => run::main(args, &cli.global, matches, signals),
        Command::Check(args) => check::main(args, &cli.global, matches),
        Command::Plan(args) => plan::main(args, &cli.global, matches, signals),
        Command::Search(args) => search::main(args, &cli.global),
        Command::Agents(args) => agents::main(args, &cli.global),
        Command::Session(args) => session::main(args, &cli.global),
        Command::Worker(args) => worker::main(args, &cli.global, matches, signals),
        Command::Status(args) => status::main(args, &cli.global),
        Command::Runs(args) => runs::main(args, &cli.global),
        Command::Usage(args) => usage::main(args, &cli.global),
        Command::Results(args) => results::main(args, &cli.global),
        Command::Report(args) => report::main(args, &cli.global),
        Command::Retry(args) => retry::main(args, &cli.global, matches),
        Command::Redo(args) => redo::main(args, &cli.global, matches, signals),
        Command::Verify(args) => verify::main(args, &cli.global),
        Command::Mock(args) => mock::main(args, signals),
        Command::Config(args) => config::main(args, &cli.global, matches),
        Command::Init(args) => init::main(args),
        Command::Explain(args) => explain::main(args),
        Command::Completions(args) => completions::main(args),
        Command::Man(args) => man::main(args),
    }
}

/// The command line as its description in code: the reference of commands and flags is generated from it.
pub fn description() -> clap::Command {
    Cli::command()
}

/// The command line. An empty variable counts as unset, and a switch can be `1` or `yes` as well as `true`, because scripts
/// write variables like this.
fn command() -> clap::Command {
    Cli::command()
        .mut_args(lenient_variable)
        .mut_subcommands(|command| {
            command
                .mut_args(lenient_variable)
                .mut_subcommands(|inner| inner.mut_args(lenient_variable))
        })
}

fn lenient_variable(arg: Arg) -> Arg {
    let Some(name) = arg.get_env().map(OsStr::to_owned) else {
        return arg;
    };
    let arg = match arg.get_action() {
        ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
        _ => arg,
    };
    let is_empty = name.to_str().is_some_and(is_empty_variable);
    if is_empty {
        arg.env(Resettable::Reset)
    } else {
        arg.hide_env_values(true)
    }
}

/// Help and version go to stdout and exit with 0. Every other error of clap is a wrong flag.
fn usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        error.print().unwrap_or_default();
        return Exit::Good;
    }
    if logging::start_unparsed() == LogFormat::Json {
        tell_error(error.to_string().trim_end(), &Exit::Usage.page());
    } else {
        error.print().unwrap_or_default();
    }
    Exit::Usage
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")
}

/// Writes data to stdout. Returns false when the reader has closed the pipe, which is not a failure.
fn print(text: &[u8]) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(decided(
            Exit::Output,
            format!("writing to standard output failed: {error}"),
        )),
    }
}
