//! The runs of a store, as a table or as JSON.

use comfy_table::CellAlignment;
use serde_json::{Value, json};

use super::standing::{knows_prices, table_of};
use crate::clock;
use crate::domain::printable::printable;
use crate::domain::tally::{Counts, RunSummary};
use crate::store::Run;

/// A run in a list of runs.
#[derive(Debug)]
pub struct RunEntry {
    /// The run.
    pub run: Run,
    /// Its requests by state.
    pub counts: Counts,
    /// Its use of calls, tokens and money.
    pub summary: RunSummary,
}

impl RunEntry {
    /// Whether the same command would find work: unfinished requests, or an input that was not read to its end.
    const fn has_work_left(&self) -> bool {
        self.counts.unfinished() > 0 || self.run.mark.is_none()
    }

    fn cost(&self) -> Option<f64> {
        knows_prices(&self.summary).then(|| self.summary.cost.usd())
    }
}

/// Returns the runs as a table, one line for each.
pub fn runs_text(entries: &[RunEntry]) -> String {
    let mut rows = table_of(&[
        "run",
        "total",
        "done",
        "failed",
        "running",
        "paused",
        "left",
        "cost",
        "last used",
        "kind",
        "input",
    ]);
    for entry in entries {
        let (run, counts) = (&entry.run, &entry.counts);
        // More requests may follow in an input that was not read to its end.
        let more = if run.mark.is_none() { "+" } else { "" };
        let input = run
            .input
            .as_ref()
            .map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
        rows.add_row([
            single_line(&run.name),
            counts.total.to_string(),
            counts.done.to_string(),
            counts.failed.to_string(),
            counts.running.to_string(),
            (counts.paused + counts.continued).to_string(),
            format!("{}{more}", counts.unfinished()),
            entry
                .cost()
                .map_or_else(|| "–".to_owned(), |cost| format!("${cost:.4}")),
            clock::rfc3339(run.last_accessed).unwrap_or_default(),
            if run.rehearsal { "rehearsal" } else { "real" }.to_owned(),
            single_line(&input),
        ]);
    }
    for text in [0, 9, 10] {
        if let Some(column) = rows.column_mut(text) {
            column.set_cell_alignment(CellAlignment::Left);
        }
    }
    let lines = rows.lines().map(|line| format!("{}\n", line.trim().to_owned()));
    lines.collect()
}

/// Returns a name of a user's on one line of the table.
fn single_line(name: &str) -> String {
    printable(name).replace(['\n', '\t'], " ")
}

/// Returns a run as JSON for programs.
pub fn run_json(entry: &RunEntry) -> Value {
    let (run, counts) = (&entry.run, &entry.counts);
    json!({
        "run": run.name,
        "input": run.input,
        "input_complete": run.mark.is_some(),
        "total": counts.total,
        "done": counts.done,
        "partial": counts.partial,
        "failed": counts.failed,
        "running": counts.running,
        "paused": counts.paused,
        "continued": counts.continued,
        "left": counts.unfinished(),
        "work_left": entry.has_work_left(),
        "cost_usd": entry.cost(),
        "created_at": clock::rfc3339(run.created_at),
        "last_accessed": clock::rfc3339(run.last_accessed),
        "rehearsal": run.rehearsal,
    })
}
