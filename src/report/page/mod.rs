//! The report of a run: one HTML file that needs nothing else.
//!
//! ```text
//! ledger ──▶ figures of calls ─────┐
//! finished requests ──▶ figures ───┼─▶ JSON ──▶ shell + style + script
//! chosen requests ──▶ details ─────┘
//! ```
//!
//! All figures are exact over all calls and all finished requests. They are summed in one pass, page by page. The list
//! of requests and their details are bounded, and the page says so. Deliberately absent: HTML made from data, and
//! anything that is fetched when the page is opened.

mod calls;
mod compare;
mod details;
mod document;
mod findings;
mod json;
mod pairing;
mod quality;
mod rates;
mod requests;
mod rows;
mod series;
mod spread;
mod sums;
mod texts;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

pub use self::compare::compare_page;
pub use self::details::PageTexts;
pub use self::document::REPORT_BEGINS;

use self::calls::CallFigures;
use self::document::document;
use self::json::script_json;
use self::requests::RequestFigures;
use self::texts::TextBound;
use super::standing::knows_prices;
use crate::domain::tally::{Counts, RunSummary};
use crate::domain::usage::Cost;
use crate::store::{RecordedAction, Run, Store, StoreError, StoredRouteLimits};

/// The most bytes of details on a page.
const DETAIL_BYTES: usize = 9_000_000;

/// Names of runs and files, cut to what a heading can show.
const NAME: TextBound = TextBound { chars: 300 };

/// How a page is made.
#[derive(Debug, Clone)]
pub struct PageOptions {
    /// The limits of the routes by the present settings. They count if the run has none in the store.
    pub limits: BTreeMap<String, StoredRouteLimits>,
    /// Whether it has the texts of requests, answers, results and sources.
    pub texts: PageTexts,
    /// The time that it names as its own, in Unix milliseconds.
    pub made_at: i64,
}

/// Why a page could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A value has no form in JSON.
    #[error("failed to write the data of the page")]
    Json(#[from] serde_json::Error),
}

/// Returns the report of a run as an HTML page.
pub async fn report_page(store: &dyn Store, run: &Run, options: &PageOptions) -> Result<String, PageError> {
    let (limits, limits_of) = match (&run.terms.limits, &options.limits) {
        (shared, _) if !shared.is_empty() => (shared, Some("run")),
        (_, present) => (present, (!present.is_empty()).then_some("settings")),
    };
    let mut calls = CallFigures::read(store, run).await?;
    let requests = RequestFigures::read(store, run, &mut calls, options.texts).await?;
    let (rows, details) = requests.listed(store, run, DETAIL_BYTES).await?;
    let counts = store.counts(run.id).await?;
    let summary = store.summary(run.id).await?;
    let hides = options.texts == PageTexts::Hidden;
    let routes = store.routes(run.id).await?.into_iter().map(|route| {
        let reason = route.reason.filter(|_| !hides);
        json!({
            "route": route.route, "state": route.state, "reason": reason.map(|reason| NAME.text(&reason)),
            "since": route.since, "open_ms": route.open_ms,
        })
    });
    let data = json!({
        "kind": "report",
        "version": env!("CARGO_PKG_VERSION"),
        "made_at": options.made_at,
        "hides_texts": hides,
        "run": run_head(run),
        "counts": shown_counts(&counts),
        "sums": shown_sums(&summary),
        "span": calls.span,
        "request_ms": requests.spread.percentiles(),
        "request_columns": requests.spread.columns(),
        "timeline": calls.timeline.chart(),
        "rates": calls.minutes.charts(limits),
        "limits_of": limits_of,
        "latency": calls.latency(),
        "groups": calls.groups.tables(),
        "failed_calls": calls.groups.failed_calls(),
        "waste": store.waste(run.id).await?.iter().map(|waste| json!({
            "route": waste.route, "cause": waste.cause, "calls": waste.calls, "input": waste.input_tokens,
            "output": waste.output_tokens, "cost": waste.cost.usd(), "uncertain": waste.uncertain.usd(),
        })).collect::<Vec<_>>(),
        "failures": requests.failures(),
        "routes": routes.collect::<Vec<_>>(),
        "actions": shown_actions(store.actions(run.id, ACTIONS).await?, hides),
        "workers": store.workers(run.id).await?.len(),
        "quality": requests.quality.shown(),
        "finished": requests.rows.len(),
        "detailed": details.len(),
        "users": requests.names.list(),
        "rows": rows,
    });
    let title = format!("{} · nova3 report", NAME.text(&run.name));
    Ok(document(&title, &script_json(&data)?, &details))
}

/// The most actions on a page.
const ACTIONS: usize = 200;

/// The record of the run, the newest action first. Flags can hold texts.
fn shown_actions(actions: Vec<RecordedAction>, hides: bool) -> Vec<Value> {
    let shown = actions.into_iter().map(|known| {
        let RecordedAction { action, began_at, ended_at, ending } = known;
        let flags = action.flags.join(" ");
        json!({
            "command": NAME.text(&action.command), "user": NAME.text(&action.actor.user), "host": NAME.text(&action.actor.host),
            "folder": NAME.text(&action.actor.folder), "pid": action.actor.pid, "began": began_at, "ended": ended_at,
            "ending": ending.map(|ending| NAME.text(&ending)), "flags": (!hides).then(|| NAME.text(&flags)),
        })
    });
    shown.collect()
}

/// The run as a page names it.
fn run_head(run: &Run) -> impl Serialize + use<> {
    let input = run
        .input
        .as_ref()
        .map(|path| NAME.text(&path.display().to_string()));
    json!({
        "name": NAME.text(&run.name),
        "input": input,
        "read_to_its_end": run.mark.is_some(),
        "rehearsal": run.rehearsal,
        "created_at": run.created_at,
        "last_accessed": run.last_accessed,
        "max_cost": run.terms.max_cost.map(Cost::usd),
    })
}

fn shown_counts(counts: &Counts) -> impl Serialize + use<> {
    json!({
        "total": counts.total, "done": counts.done, "partial": counts.partial, "failed": counts.failed,
        "paused": counts.paused, "continued": counts.continued, "running": counts.running,
        "blocked": counts.blocked, "left": counts.unfinished(),
    })
}

fn shown_sums(summary: &RunSummary) -> impl Serialize + use<> {
    let known = knows_prices(summary);
    json!({
        "calls": summary.attempts, "failed_calls": summary.failed_attempts,
        "input": summary.usage.input_tokens, "cached": summary.usage.cached_input_tokens,
        "cache_write": summary.usage.cache_write_tokens, "output": summary.usage.output_tokens,
        "cost": known.then(|| summary.cost.usd()), "wasted": known.then(|| summary.wasted.usd()),
        "uncertain": summary.uncertain.usd(), "unpriced": summary.unpriced,
    })
}
