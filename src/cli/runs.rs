//! `nova3 runs`.

use anyhow::Result;

use super::args::{Global, RunsArgs};
use super::exit::{Exit, decided};
use super::{print, stores};
use crate::report::{self, RunEntry};

pub(super) fn main(args: &RunsArgs, global: &Global) -> Result<Exit> {
    super::runtime()?.block_on(async {
        let store = stores::to_read(args.store.as_ref(), global).await?;
        let runs = store.run_list().await?;
        if runs.is_empty() {
            let message = "the store holds no run yet (`nova3 run` starts one)";
            return Err(decided(Exit::Nothing, message));
        }
        let entry = |(run, counts, summary)| RunEntry { run, counts, summary };
        let entries: Vec<RunEntry> = runs.into_iter().map(entry).collect();
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
