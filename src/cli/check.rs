//! `nova3 check`, and the check that `run --strict` does first.

use std::sync::Arc;

use anyhow::{Context, Result};
use clap::ArgMatches;
use tempfile::NamedTempFile;

use super::args::{CheckArgs, Global};
use super::estimate::EstimateJob;
use super::exit::{Exit, decided};
use super::{input, models, own_work, print, setup};
use crate::agent::Planner;
use crate::config::{Config, Flags, process_env};
use crate::domain::request::Identity;
use crate::engine::{Input, InputForm, InputPart, Job, read_input};
use crate::observe::tell;
use crate::store::sqlite::Identities;
use crate::store::{NewLine, NewRequest};

/// At most this many bad lines are printed one by one; the rest are only counted.
const TOLD: u64 = 100;

pub(super) fn main(args: &CheckArgs, global: &Global, matches: &ArgMatches) -> Result<Exit> {
    let flags = Flags {
        store: setup::given_store(matches, args.store.as_ref()),
        ..setup::flags(global, &args.model, matches)
    };
    let flags = input::with_flags(flags, &args.table, matches);
    let config = Config::load_without_keys(&flags, &process_env)?;
    let work = own_work::load(&args.ask, args.tasks.as_deref(), &config.agents)?;
    let agents = Arc::clone(&work.agents);
    let providers = setup::providers(&config, &agents, None)?;
    let routes = setup::names(&config);
    let planner = setup::planner(&work, routes, None)?;
    let source = setup::input(&args.input)?;
    let form = input::form(&args.table, &config.input, &work, args.lenient)?;
    let found = if args.estimate {
        let job = EstimateJob {
            config: &config,
            agents: &agents,
            providers,
            planner: &planner,
            source: &source,
            form: &form,
            run: args.name.as_deref(),
            retry_failed: false,
            json: args.json,
        };
        job.print()?
    } else {
        let found = check(&source, &form, &planner)?;
        print(found.text(&source, &form).as_bytes())?;
        found
    };
    // Faults that would stop a run, reported after all bad lines.
    if source != Input::Stdin {
        models::of_input(&config, &agents, &planner, &source, &form)?;
    }
    Config::load(&flags, &process_env)?;
    Ok(found.exit())
}

fn requests(count: u64) -> String {
    format!("{count} {}", if count == 1 { "request" } else { "requests" })
}

fn bad_lines(count: u64, word: &str) -> String {
    format!("{count} bad {word}{}", if count == 1 { "" } else { "s" })
}

/// The numbers of good and bad lines of an input.
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckCounts {
    pub(super) good: u64,
    pub(super) bad: u64,
}

impl CheckCounts {
    /// The exit code of a check.
    pub(super) const fn exit(self) -> Exit {
        match self {
            Self { bad: 1.., .. } => Exit::BadInput,
            Self { good: 0, .. } => Exit::Nothing,
            Self { .. } => Exit::Good,
        }
    }

    /// The counts as one line.
    pub(super) fn text(self, source: &Input, form: &InputForm) -> String {
        format!(
            "{}: {}, {}\n",
            source.shown().display(),
            requests(self.good),
            bad_lines(self.bad, form.row_word(source))
        )
    }
}

fn check(source: &Input, form: &InputForm, planner: &Planner) -> Result<CheckCounts> {
    check_each(source, form, planner, &mut |_| Ok(()))
}

/// Checks an input, and shows `good` each good line that is no duplicate.
pub(super) fn check_each(
    source: &Input,
    form: &InputForm,
    planner: &Planner,
    good: &mut dyn FnMut(&NewLine) -> Result<()>,
) -> Result<CheckCounts> {
    let mut known = Identities::new()?;
    let mut found = CheckCounts { good: 0, bad: 0 };
    let mut failed: Option<anyhow::Error> = None;
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
                        failed = Some(error.into());
                        return false;
                    }
                },
            };
            match problem {
                None => {
                    found.good += 1;
                    if let Err(error) = good(line) {
                        failed = Some(error);
                        return false;
                    }
                }
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
        return Err(error);
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
