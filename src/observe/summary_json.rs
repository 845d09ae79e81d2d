//! The closing block as JSON, for `--summary-json`.

use serde_json::{Map, Value, json};

use super::closing::next_command;
use super::event::Report;
use crate::domain::tally::{FailedClass, RunSummary};
use crate::domain::usage::{Cost, Usage};

/// The first bytes of every summary. A file that begins otherwise is none, and is not replaced.
pub const SUMMARY_BEGINS: &str = r#"{"summary_v":1,"#;

/// Returns the text of a summary file with these fields.
pub fn summary_text(fields: &Map<String, Value>) -> String {
    let text = Value::Object(fields.clone()).to_string();
    let fields = text.strip_prefix('{').unwrap_or(&text);
    format!("{SUMMARY_BEGINS}{fields}\n")
}

/// Returns the fields of an invocation that ended with an error, or before it had a run.
pub fn failed_summary(run: &str, ending: &str, exit_code: u8, error: Option<&str>) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("run".to_owned(), run.into());
    fields.insert("ending".to_owned(), ending.into());
    fields.insert("exit_code".to_owned(), exit_code.into());
    fields.insert("error".to_owned(), error.into());
    fields
}

/// Returns the fields of a run that ended with this exit code. `store` is the store that the next command has to name.
pub fn run_summary(report: &Report, exit_code: u8, store: Option<&str>) -> Map<String, Value> {
    let (counts, summary) = (&report.counts, &report.summary);
    let failures: Vec<Value> = report.failures.iter().map(failure).collect();
    let mut fields = failed_summary(&report.run, report.ending.name(), exit_code, None);
    let more = json!({
        "duration_ms": u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
        "requests": {
            "total": counts.total,
            "done": counts.done,
            "partial": counts.partial,
            "failed": counts.failed,
            "paused": counts.paused,
            "continued": counts.continued,
            "left": counts.unfinished(),
            "finished_now": report.finished_now,
        },
        "failures": failures,
        "input": {
            "read_to_end": report.input_read,
            "compared": report.change.is_some(),
            "new": report.change.map(|change| change.new),
            "changed": report.change.map(|change| change.changed),
            "removed": report.change.map(|change| change.removed),
        },
        "now": used(report.calls_now, report.usage_now, known(summary, report.cost_now)),
        "in_all": used(summary.attempts, summary.usage, known(summary, summary.cost)),
        "failed_calls": summary.failed_attempts,
        "unpriced_calls": summary.unpriced,
        "wasted_usd": known(summary, summary.wasted),
        "uncertain_usd": summary.uncertain.usd(),
        "files": report.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
        "next": next_command(report, store),
    });
    if let Value::Object(more) = more {
        fields.extend(more);
    }
    fields
}

fn failure(failed: &FailedClass) -> Value {
    json!({
        "class": failed.class.as_str(),
        "requests": failed.requests,
        "example": {
            "custom_id": failed.custom_id,
            "line": failed.line,
            "message": failed.message,
        },
        "advice": failed.class.advice(),
    })
}

/// Calls, tokens and money. Without any known price the cost is null.
fn used(calls: u64, usage: Usage, cost: Option<f64>) -> Value {
    json!({
        "calls": calls,
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": cost,
    })
}

fn known(summary: &RunSummary, cost: Cost) -> Option<f64> {
    (summary.attempts == 0 || summary.unpriced < summary.attempts).then(|| cost.usd())
}
