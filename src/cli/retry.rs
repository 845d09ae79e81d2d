//! `nova3 retry`.

use std::time::Duration;

use anyhow::Result;
use clap::ArgMatches;

use super::args::{Global, RetryArgs};
use super::exit::{Exit, decided};
use super::{actions, setup, stores};
use crate::domain::failure::Class;
use crate::domain::printable::counted;
use crate::observe::tell;
use crate::store::Failures;

pub(super) fn main(args: &RetryArgs, global: &Global, matches: &ArgMatches) -> Result<Exit> {
    let which = Failures {
        classes: args.class.iter().map(|name| class(name)).collect::<Result<_>>()?,
        ids: setup::ids(&args.id),
    };
    let wait = match &args.wait_lock {
        Some(text) => setup::duration("--wait-lock", text)?,
        None => Duration::ZERO,
    };
    super::runtime()?.block_on(async {
        let store = stores::to_change(args.which.store.as_ref(), global, wait).await?;
        let run = setup::find_run(&*store, args.which.run.as_deref()).await?;
        let action = actions::action("retry", matches);
        let put_back = actions::recorded(&*store, run.id, &action, async {
            let put_back = store.retry(run.id, &which).await?;
            Ok((put_back, format!("{} put back", counted(put_back, "request"))))
        })
        .await?;
        store.close().await?;
        if put_back == 0 {
            return Err(decided(
                Exit::Nothing,
                format!("run `{}` has no such failed request", run.name),
            ));
        }
        if !global.quiet {
            let requests = if put_back == 1 { "request" } else { "requests" };
            tell(&format!(
                "run `{}`: {put_back} failed {requests} put back; `nova3 run` runs them again",
                run.name
            ));
        }
        Ok(Exit::Good)
    })
}

fn class(name: &str) -> Result<Class> {
    let known = || {
        Class::ALL
            .iter()
            .map(|class| class.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    Class::parse(name.trim()).ok_or_else(|| {
        decided(
            Exit::Usage,
            format!("`--class`: `{name}` is no error class (known: {})", known()),
        )
    })
}
