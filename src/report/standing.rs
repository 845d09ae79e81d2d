//! The state of a run, as a table or as JSON.

use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::clock;
use crate::domain::printable::printable;
use crate::domain::tally::{Counts, RouteState, RunSummary, Waste};
use crate::domain::usage::Cost;
use crate::observe::told_otherwise;
use crate::report::actions::{action_json, action_table};
use crate::store::{FileKey, RecordedAction, Run, SessionCounts, WorkerState};

/// The data of `status`.
#[derive(Debug)]
pub struct RunStatus {
    /// The run.
    pub run: Run,
    /// Its requests by state.
    pub counts: Counts,
    /// Its use of calls, tokens and money.
    pub summary: RunSummary,
    /// Its calls without a usable answer.
    pub waste: Vec<Waste>,
    /// The last state of its routes; routes that were never unhealthy are not listed.
    pub routes: Vec<RouteState>,
    /// The first of its sessions.
    pub sessions: Vec<SessionCounts>,
    /// Its result files.
    pub files: Vec<FileKey>,
    /// Its workers, present and recent.
    pub workers: Vec<WorkerState>,
    /// The actions on it, the newest first.
    pub actions: Vec<RecordedAction>,
    /// How far the store that was read is behind the run's store; `None` if it is that store.
    pub replica_age: Option<Duration>,
}

impl RunStatus {
    /// Requests that still need work.
    pub const fn left(&self) -> u64 {
        self.counts.unfinished()
    }
}

impl Serialize for RunStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (counts, summary) = (&self.counts, &self.summary);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("run", &self.run.name)?;
        map.serialize_entry("input", &self.run.input)?;
        map.serialize_entry("input_complete", &self.run.mark.is_some())?;
        for (key, value) in [
            ("total", counts.total),
            ("done", counts.done),
            ("partial", counts.partial),
            ("failed", counts.failed),
            ("paused", counts.paused),
            ("continued", counts.continued),
            ("running", counts.running),
            ("blocked", counts.blocked),
            ("left", counts.unfinished()),
            ("outdated", counts.outdated),
            ("other_models", counts.other_models),
            ("kept", counts.kept),
            ("attempts", summary.attempts),
            ("failed_attempts", summary.failed_attempts),
            ("input_tokens", summary.usage.input_tokens),
            ("cached_input_tokens", summary.usage.cached_input_tokens),
            ("cache_write_tokens", summary.usage.cache_write_tokens),
            ("output_tokens", summary.usage.output_tokens),
            ("unpriced_attempts", summary.unpriced),
        ] {
            map.serialize_entry(key, &value)?;
        }
        let known = |cost: Cost| knows_prices(summary).then(|| cost.usd());
        map.serialize_entry("cost_usd", &known(summary.cost))?;
        map.serialize_entry("wasted_usd", &known(summary.wasted))?;
        map.serialize_entry("uncertain_usd", &summary.uncertain.usd())?;
        map.serialize_entry("reserved_usd", &summary.reserved.usd())?;
        let waste: Vec<_> = self.waste.iter().map(wasted).collect();
        map.serialize_entry("waste", &waste)?;
        let routes: Vec<_> = self.routes.iter().map(route).collect();
        map.serialize_entry("routes", &routes)?;
        map.serialize_entry("created_at", &clock::rfc3339(self.run.created_at))?;
        map.serialize_entry("last_accessed", &clock::rfc3339(self.run.last_accessed))?;
        let files: Vec<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        map.serialize_entry("files", &files)?;
        let workers: Vec<_> = self.workers.iter().map(worker).collect();
        map.serialize_entry("workers", &workers)?;
        let actions: Vec<_> = self.actions.iter().map(action_json).collect();
        map.serialize_entry("actions", &actions)?;
        let sessions: Vec<_> = self.sessions.iter().map(session).collect();
        map.serialize_entry("sessions", &sessions)?;
        if let Some(age) = self.replica_age {
            map.serialize_entry("replica_age_s", &age.as_secs_f64())?;
        }
        map.end()
    }
}

fn wasted(waste: &Waste) -> serde_json::Value {
    serde_json::json!({
        "route": waste.route, "cause": waste.cause, "calls": waste.calls,
        "input_tokens": waste.input_tokens, "output_tokens": waste.output_tokens,
        "cost_usd": waste.cost.usd(), "uncertain_usd": waste.uncertain.usd(),
    })
}

fn route(route: &RouteState) -> serde_json::Value {
    serde_json::json!({
        "route": route.route, "state": route.state, "reason": route.reason,
        "since": clock::rfc3339(route.since), "open_ms": route.open_ms,
    })
}

fn worker(state: &WorkerState) -> serde_json::Value {
    serde_json::json!({
        "worker": state.worker.owner.0, "host": state.worker.host, "pid": state.worker.pid,
        "version": state.worker.version, "joined_at": clock::rfc3339(state.joined_at),
        "last_seen": clock::rfc3339(state.last_seen), "silent_ms": state.silent_ms, "left": state.has_left,
        "settled": state.done.settled, "finished": state.done.finished, "leases": state.leases,
        "per_second": state.per_second(),
    })
}

fn session(session: &SessionCounts) -> serde_json::Value {
    serde_json::json!({
        "user_id": session.user_id, "session_id": session.session_id,
        "total": session.total, "done": session.done, "failed": session.failed,
        "paused": session.paused, "continued": session.continued,
    })
}

fn workers(workers: &[WorkerState]) -> Table {
    let mut rows = table_of(&[
        "worker", "host", "pid", "steps", "a second", "requests", "leases", "seen",
    ]);
    for state in workers {
        let seen = if state.has_left {
            "has left".to_owned()
        } else {
            format!("{} s ago", state.silent_ms / 1000)
        };
        rows.add_row([
            printable(state.worker.owner.0.get(..8).unwrap_or_default()),
            printable(&state.worker.host),
            state.worker.pid.to_string(),
            state.done.settled.to_string(),
            format!("{:.1}", state.per_second()),
            state.done.finished.to_string(),
            state.leases.to_string(),
            seen,
        ]);
    }
    rows
}

/// Requests by state. States that are rare are shown only if a request is in them.
fn requests(counts: &Counts) -> Table {
    let columns = [
        ("total", counts.total, true),
        ("done", counts.done, true),
        ("running", counts.running, counts.running > 0),
        ("blocked", counts.blocked, counts.blocked > 0),
        ("failed", counts.failed, true),
        ("paused", counts.paused, counts.paused > 0),
        ("continued", counts.continued, counts.continued > 0),
        ("left", counts.unfinished(), true),
    ];
    let shown = columns.iter().filter(|(.., is_shown)| *is_shown);
    let names: Vec<&str> = shown.clone().map(|(name, ..)| *name).collect();
    let mut rows = table_of(&names);
    rows.add_row(shown.map(|(_, count, _)| count.to_string()));
    rows
}

/// Returns the table for a terminal.
pub fn table(standing: &RunStatus) -> String {
    let counts = &standing.counts;
    let input = standing
        .run
        .input
        .as_ref()
        .map_or("standard input".to_owned(), |path| path.display().to_string());
    let mut text = format!(
        "run `{}` of {}\n",
        printable(&standing.run.name),
        printable(&input)
    );
    if standing.run.mark.is_none() {
        text.push_str("the input has not been read to its end\n");
    }
    text.push('\n');
    text += &format!("{}\n\n", requests(counts).trim_fmt());
    if counts.partial > 0 {
        text += &format!(
            "{} done in part: each has a failed task, which `nova3 retry` runs again\n",
            counts.partial
        );
    }
    for line in told_otherwise(counts) {
        text += &format!("{line}\n");
    }
    text += &spent(&standing.summary);
    for file in &standing.files {
        text += &format!(
            "results in {} ({})\n",
            printable(&file.path),
            printable(&file.host)
        );
    }
    for route in standing.routes.iter().filter(|route| route.state != "closed") {
        text += &format!(
            "route `{}` was {} at {}: {}\n",
            printable(&route.route),
            route.state.replace('_', " "),
            clock::rfc3339(route.since).unwrap_or_default(),
            printable(route.reason.as_deref().unwrap_or_default())
        );
    }
    if !standing.waste.is_empty() {
        let mut rows = table_of(&["for nothing", "cause", "calls", "tokens", "cost", "and up to"]);
        for waste in &standing.waste {
            rows.add_row([
                printable(&waste.route),
                waste.cause.clone(),
                waste.calls.to_string(),
                (waste.input_tokens + waste.output_tokens).to_string(),
                dollars(waste.cost, &standing.summary),
                dollars(waste.uncertain, &standing.summary),
            ]);
        }
        text += &format!("\n{}\n", rows.trim_fmt());
    }
    if !standing.workers.is_empty() {
        text += &format!("\n{}\n", workers(&standing.workers).trim_fmt());
    }
    if !standing.actions.is_empty() {
        text += &format!("\n{}\n", action_table(&standing.actions).trim_fmt());
    }
    if !standing.sessions.is_empty() {
        let mut rows = table_of(&[
            "user",
            "session",
            "total",
            "done",
            "failed",
            "paused",
            "continued",
        ]);
        for session in &standing.sessions {
            rows.add_row([
                session.user_id.clone(),
                session.session_id.clone(),
                session.total.to_string(),
                session.done.to_string(),
                session.failed.to_string(),
                session.paused.to_string(),
                session.continued.to_string(),
            ]);
        }
        text += &format!("\n{}\n", rows.trim_fmt());
    }
    text
}

/// Returns the lines about calls, tokens and money.
fn spent(summary: &RunSummary) -> String {
    let price = if !knows_prices(summary) {
        "– (no price known)".to_owned()
    } else if summary.unpriced > 0 {
        format!(
            "${:.4}, {} without a price",
            summary.cost.usd(),
            calls(summary.unpriced)
        )
    } else {
        format!("${:.4}", summary.cost.usd())
    };
    let mut text = format!(
        "{} ({} failed), {} tokens in, {} out, {price}, {} for nothing\n",
        calls(summary.attempts),
        summary.failed_attempts,
        summary.usage.input_tokens,
        summary.usage.output_tokens,
        if knows_prices(summary) {
            format!("${:.4}", summary.wasted.usd())
        } else {
            "–".to_owned()
        },
    );
    if summary.uncertain > Cost::ZERO {
        text += &format!(
            "up to ${:.4} more for answers that were lost in transit\n",
            summary.uncertain.usd()
        );
    }
    text
}

/// Whether any call has a price; true before the first call, when nothing is spent.
pub(super) const fn knows_prices(summary: &RunSummary) -> bool {
    summary.attempts == 0 || summary.unpriced < summary.attempts
}

/// Formats the cost of some calls. A zero is shown as one only if every call has a price.
fn dollars(cost: Cost, summary: &RunSummary) -> String {
    if cost == Cost::ZERO && summary.unpriced > 0 {
        return "–".to_owned();
    }
    format!("${:.4}", cost.usd())
}

fn calls(count: u64) -> String {
    format!("{count} {}", if count == 1 { "call" } else { "calls" })
}

pub(super) fn table_of(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.to_vec());
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
