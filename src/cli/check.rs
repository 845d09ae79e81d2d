//! `nova3 check`, and the check that `run --strict` does first.

use std::sync::Arc;

use anyhow::{Context, Result};
use clap::ArgMatches;
use tempfile::NamedTempFile;

use super::args::{CheckArgs, Global};
use super::exit::{Exit, decided};
use super::{input, models, own_work, print, setup};
use crate::agent::Planner;
use crate::config::{Config, process_env};
use crate::domain::request::Identity;
use crate::engine::{Input, InputForm, InputPart, Job, read_input};
use crate::observe::tell;
use crate::store::NewRequest;
use crate::store::sqlite::Identities;

/// At most this many bad lines are printed one by one; the rest are only counted.
const TOLD: u64 = 100;

pub(super) fn main(args: &CheckArgs, global: &Global, matches: &ArgMatches) -> Result<Exit> {
    let flags = input::with_flags(setup::flags(global, &args.model, matches), &args.table, matches);
    let config = Config::load_without_keys(&flags, &process_env)?;
    let work = own_work::load(&args.ask, args.tasks.as_deref(), &config.agents)?;
    let agents = Arc::clone(&work.agents);
    setup::providers(&config, &agents, None)?;
    let routes = setup::names(&config);
    let planner = setup::planner(&work, routes, None)?;
    let source = setup::input(&args.input)?;
    let form = input::form(&args.table, &config.input, &work, args.lenient)?;
    let found = check(&source, &form, &planner)?;
    let summary = format!(
        "{}: {}, {}\n",
        source.shown().display(),
        requests(found.good),
        bad_lines(found.bad, form.row_word(&source))
    );
    print(summary.as_bytes())?;
    // Faults that would stop a run, reported after all bad lines.
    if source != Input::Stdin {
        models::of_input(&config, &agents, &planner, &source, &form)?;
    }
    Config::load(&flags, &process_env)?;
    Ok(match found {
        CheckCounts { bad: 1.., .. } => Exit::BadInput,
        CheckCounts { good: 0, .. } => Exit::Nothing,
        CheckCounts { .. } => Exit::Good,
    })
}

fn requests(count: u64) -> String {
    format!("{count} {}", if count == 1 { "request" } else { "requests" })
}

fn bad_lines(count: u64, word: &str) -> String {
    format!("{count} bad {word}{}", if count == 1 { "" } else { "s" })
}

/// The numbers of good and bad lines of an input.
struct CheckCounts {
    good: u64,
    bad: u64,
}

fn check(source: &Input, form: &InputForm, planner: &Planner) -> Result<CheckCounts> {
    let mut known = Identities::new()?;
    let mut found = CheckCounts { good: 0, bad: 0 };
    let mut failed = None;
    let word = form.row_word(source);
    read_input(source, form, planner, |seen| {
        let InputPart::Lines(lines) = seen else {
            return true;
        };
        for line in &lines {
            let problem = match &line.content {
                NewRequest::Bad { failure, .. } => Some(failure.message.clone()),
                NewRequest::Good {
                    identity: Identity::Content(_),
                    ..
                } => None,
                NewRequest::Good {
                    identity: Identity::Custom(id),
                    ..
                } => match known.first_line(id, line.line) {
                    Ok(first) => first.map(|first| {
                        format!(
                            "`custom_id` `{id}` is already used on {word} {first} (give each {word} its own)"
                        )
                    }),
                    Err(error) => {
                        failed = Some(error);
                        return false;
                    }
                },
            };
            match problem {
                None => found.good += 1,
                Some(message) => {
                    found.bad += 1;
                    if found.bad <= TOLD {
                        tell(&named(word, line.line, &message));
                    }
                }
            }
        }
        true
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    if found.bad > TOLD {
        tell(&format!("… and {} more bad {word}s", found.bad - TOLD));
    }
    Ok(found)
}

/// A message with its line. The message of a bad row names its row.
pub(super) fn named(word: &str, number: u64, message: &str) -> String {
    let place = format!("{word} {number}");
    if message.starts_with(&place) {
        message.to_owned()
    } else {
        format!("{place}: {message}")
    }
}

/// `--strict`: checks the whole input before the run. Standard input is first spooled to a temporary file, which is
/// removed when the returned value is dropped.
pub(super) fn first(job: &mut Job, planner: &Arc<Planner>) -> Result<Option<NamedTempFile>> {
    let mut spool = None;
    if job.input == Input::Stdin {
        let mut file = NamedTempFile::new().context("failed to spool standard input")?;
        std::io::copy(&mut std::io::stdin().lock(), &mut file).context("failed to spool standard input")?;
        job.input = Input::Spooled(file.path().to_path_buf());
        spool = Some(file);
    }
    let found = check(&job.input, &job.form, planner)?;
    if found.bad > 0 {
        return Err(decided(
            Exit::BadInput,
            format!(
                "{}; nothing was run (`--strict`)",
                bad_lines(found.bad, job.form.row_word(&job.input))
            ),
        ));
    }
    Ok(spool)
}
