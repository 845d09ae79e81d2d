//! `nova3 runs`.

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};

use super::args::{Global, RunsArgs};
use super::exit::{Exit, decided};
use super::{print, stores};
use crate::report::{self, RunEntry};
use crate::store::{Run, Store};

/// How many runs are counted at once, so that a distant database is not waited for once for each run.
const AT_ONCE: usize = 8;

pub(super) fn main(args: &RunsArgs, global: &Global) -> Result<Exit> {
    super::runtime()?.block_on(async {
        let store = stores::to_read(args.store.as_ref(), global).await?;
        let runs = store.runs().await?;
        if runs.is_empty() {
            let message = "the store holds no run yet (`nova3 run` starts one)";
            return Err(decided(Exit::Nothing, message));
        }
        let entries: Vec<RunEntry> = stream::iter(runs)
            .map(|run| entry(&*store, run))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let text = if args.json {
            let lines: Vec<String> = entries
                .iter()
                .map(|entry| format!("{}\n", report::run_json(entry)))
                .collect();
            lines.concat()
        } else {
            report::runs_text(&entries)
        };
        print(text.as_bytes())?;
        Ok(Exit::Good)
    })
}

async fn entry(store: &dyn Store, run: Run) -> Result<RunEntry> {
    Ok(RunEntry {
        counts: store.counts(run.id).await?,
        summary: store.summary(run.id).await?,
        run,
    })
}
