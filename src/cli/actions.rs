//! The record of what is done to a run: the invocation, who began it, and where.

use anyhow::Result;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory};

use super::args::Cli;
use super::setup;
use crate::config::process_env;
use crate::domain::ids::shortened;
use crate::observe::tell;
use crate::store::{ActionOrigin, NewAction, RunId, Store};

/// The most characters of one flag in the record.
const FLAG_CHARS: usize = 200;

/// The present invocation of this command.
pub(super) fn action(command: &str, matches: &ArgMatches) -> NewAction {
    NewAction {
        action_no: fastrand::i64(1..),
        command: command.to_owned(),
        flags: flags(command, matches),
        actor: origin(),
    }
}

/// Does something to a run, and keeps it in the run's record with its outcome.
pub(super) async fn recorded<T>(
    store: &dyn Store,
    run: RunId,
    action: &NewAction,
    work: impl Future<Output = Result<(T, String)>>,
) -> Result<T> {
    store.begin_action(run, action).await?;
    let done = work.await;
    let ending = match &done {
        Ok((_, ending)) => ending.clone(),
        Err(error) => shortened(&format!("failed: {error:#}"), FLAG_CHARS),
    };
    if let Err(error) = store.end_action(run, action.action_no, &ending).await {
        tell(&format!(
            "the record of the run has no end of this command: {error}"
        ));
    }
    done.map(|(value, _)| value)
}

/// The flags and variables that were given, in the order of `--help`.
fn flags(command: &str, matches: &ArgMatches) -> Vec<String> {
    let cli = Cli::command();
    let Some(command) = cli.find_subcommand(command) else {
        return Vec::new();
    };
    command
        .get_arguments()
        .filter_map(|arg| flag(arg, matches))
        .collect()
}

fn flag(arg: &Arg, matches: &ArgMatches) -> Option<String> {
    let id = arg.get_id().as_str();
    let source = matches
        .try_get_raw(id)
        .ok()
        .flatten()
        .and(matches.value_source(id))?;
    let values: Vec<String> = matches
        .get_raw(id)?
        .map(|value| without_password(&value.to_string_lossy()))
        .collect();
    let values = shortened(&values.join(","), FLAG_CHARS);
    let takes_values = arg.get_action().takes_values();
    match (source, arg.get_long()) {
        (ValueSource::CommandLine, Some(long)) if takes_values => Some(format!("--{long} {values}")),
        (ValueSource::CommandLine, Some(long)) => Some(format!("--{long}")),
        (ValueSource::CommandLine, None) => Some(values),
        (ValueSource::EnvVariable, _) => {
            let name = arg.get_env()?.to_string_lossy();
            Some(format!("{name}={values}"))
        }
        _ => None,
    }
}

/// Removes the password of a URL.
fn without_password(value: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(value) else {
        return value.to_owned();
    };
    if url.password().is_none() && !value.contains("password=") {
        return value.to_owned();
    }
    url.set_query(None);
    // A URL without a host has no password.
    url.set_password(None).unwrap_or_default();
    url.to_string()
}

fn origin() -> ActionOrigin {
    let user = process_env("USER").or_else(|| process_env("LOGNAME"));
    let folder = std::env::current_dir().unwrap_or_default();
    ActionOrigin {
        user: user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw())),
        host: setup::host(),
        folder: folder.to_string_lossy().into_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_flags_are_recorded_without_passwords() {
        let line = [
            "nova3",
            "run",
            "in.jsonl",
            "-j",
            "5",
            "--mock",
            "--store",
            "postgres://me:secret@host/db?password=x",
        ];
        let matches = Cli::command().get_matches_from(line);
        let (name, matches) = matches.subcommand().unwrap();
        let action = action(name, matches);
        assert_eq!(
            action.flags,
            [
                "in.jsonl",
                "--store postgres://me@host/db",
                "--concurrency 5",
                "--mock"
            ]
        );
    }
}
