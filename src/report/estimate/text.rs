//! An estimate as a table for people, and as JSON for programs.

use comfy_table::CellAlignment;
use serde_json::{Value, json};

use super::sums::{CallSums, Estimate, rounded};
use super::time::{BindingLimit, TimeEstimate};
use crate::config::SETTINGS;
use crate::domain::printable::counted;
use crate::domain::usage::Cost;
use crate::report::standing::table_of;
use crate::report::usage::PriceSource;

/// The content of the highest cost.
const HIGHEST: &str =
    "the most counts each byte of a prompt as a token, each answer at its limit, one repair, ";

/// The estimate of an input.
#[derive(Debug)]
pub struct EstimateReport {
    /// Good requests of the input.
    pub requests: u64,
    /// Those that need no call any more.
    pub finished: u64,
    /// Those with a task that would fail before its call.
    pub refused: u64,
    /// Their expected and highest use.
    pub estimate: Estimate,
    /// The expected time.
    pub time: TimeEstimate,
    /// Retries of a call after a failure.
    pub retries: u32,
    /// The rest of the cost cap.
    pub cap: Option<Cost>,
    /// Routes whose tokens are counted with a vocabulary.
    pub counted: Vec<String>,
    /// Where the prices of the routes come from.
    pub prices: Vec<PriceSource>,
}

/// Returns the estimate as text.
pub fn estimate_text(report: &EstimateReport) -> String {
    let total = report.estimate.total();
    let mut text = String::new();
    if report.finished > 0 {
        let is = if report.finished == 1 { "is" } else { "are" };
        text += &format!("{} {is} finished and free\n", counted(report.finished, "request"));
    }
    if report.refused > 0 {
        text += &format!(
            "{} would fail before a call, as `nova3 run` reports\n",
            counted(report.refused, "request")
        );
    }
    text += &table(report, &total);
    text += &format!(
        "expected  {}, {} tokens in, {} out\n",
        dollars(total.usd()),
        rounded(total.input),
        rounded(total.output)
    );
    text += &format!(
        "at most   {} if each call is answered at once, {} with all retries\n",
        dollars(total.without_retries_usd()),
        dollars(total.worst_usd())
    );
    text += &format!("time      {}\n", time(report));
    text += &notes(report, &total);
    text
}

fn table(report: &EstimateReport, total: &CallSums) -> String {
    if report.estimate.rows.is_empty() {
        return String::new();
    }
    let mut rows = table_of(&[
        "agent",
        "route",
        "calls",
        "tokens in",
        "cached",
        "out",
        "expected",
        "at once",
        "at most",
    ]);
    let cells = |agent: &str, route: &str, sums: &CallSums| {
        [
            agent.to_owned(),
            route.to_owned(),
            rounded(sums.calls).to_string(),
            rounded(sums.input).to_string(),
            rounded(sums.cached).to_string(),
            rounded(sums.output).to_string(),
            dollars(sums.usd()),
            highest(sums, sums.without_retries_usd()),
            highest(sums, sums.worst_usd()),
        ]
    };
    for (key, sums) in &report.estimate.rows {
        rows.add_row(cells(&key.agent, &key.route, sums));
    }
    rows.add_row(cells("all", "", total));
    for column in [0, 1] {
        if let Some(column) = rows.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Left);
        }
    }
    let lines = rows.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

/// A highest cost of a row. A planned agent has none of its own: the row of the most expensive plan has it.
fn highest(sums: &CallSums, usd: Option<f64>) -> String {
    if sums.cost > 0.0 && usd == Some(0.0) {
        "–".to_owned()
    } else {
        dollars(usd)
    }
}

fn dollars(usd: Option<f64>) -> String {
    usd.map_or_else(|| "unknown".to_owned(), |usd| format!("${usd:.4}"))
}

fn time(report: &EstimateReport) -> String {
    let seconds = rounded(report.time.seconds.ceil());
    let span = match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    };
    let why = match &report.time.binds {
        BindingLimit::Nothing => return "none: no call is left".to_owned(),
        BindingLimit::Requests { route, rpm } => {
            format!("the limit is {rpm} requests a minute of route `{route}`")
        }
        BindingLimit::Tokens { route, tpm } => {
            format!("the limit is {tpm} tokens a minute of route `{route}`")
        }
        BindingLimit::Concurrency(slots) => format!("the limit is {slots} calls at once (`-j`)"),
        BindingLimit::LongestRequest => {
            "the limit is the longest request, whose tasks wait for each other".to_owned()
        }
        BindingLimit::CostCap => "then `max_cost` stops the run before its work is done".to_owned(),
    };
    format!("about {span}; {why}")
}

fn notes(report: &EstimateReport, total: &CallSums) -> String {
    let mut text = String::new();
    if total.calls <= 0.0 {
        return text;
    }
    let tokens = if report.counted.is_empty() {
        "estimated from the text".to_owned()
    } else {
        format!(
            "counted with the `tokenizer` of {}, else estimated from the text",
            report.counted.join(", ")
        )
    };
    text += &format!("tokens of prompts are {tokens}; ");
    text += &if total.by_limit > 0.0 {
        format!(
            "answers of {} have no example in the store and count at their limit\n",
            counted(rounded(total.by_limit).max(1), "task")
        )
    } else {
        "answers are as long as those in the store\n".to_owned()
    };
    let retries = match report.retries {
        1 => "1 retry".to_owned(),
        count => format!("{count} retries"),
    };
    text += &format!("{HIGHEST}{retries} of each call, and every route of its chain\n");
    for price in used_prices(report) {
        if let Some(table) = price.source.as_deref().filter(|source| *source != SETTINGS) {
            text += &format!("the price of `{}` is from the {table}\n", price.route);
        }
    }
    if total.unpriced > 0.0 {
        text += "a route has no price, so the cost is unknown (set `input_usd_per_million` and `output_usd_per_million`)\n";
    } else if total.is_unbounded {
        text += "an answer has no limit, so the highest cost is unknown (set `max_completion_tokens` in the line)\n";
    }
    text
}

/// The prices of the routes that the estimate counts with.
fn used_prices(report: &EstimateReport) -> impl Iterator<Item = &PriceSource> {
    let is_used = |price: &&PriceSource| report.estimate.rows.keys().any(|key| key.route == price.route);
    report.prices.iter().filter(is_used)
}

/// Returns the estimate as JSON.
pub fn estimate_json(report: &EstimateReport) -> Value {
    let sums = |sums: &CallSums| {
        json!({
            "calls": rounded(sums.calls),
            "input_tokens": rounded(sums.input),
            "cached_input_tokens": rounded(sums.cached),
            "output_tokens": rounded(sums.output),
            "by_limit": rounded(sums.by_limit),
            "expected_usd": sums.usd(),
            "without_retries_usd": sums.without_retries_usd(),
            "worst_usd": sums.worst_usd(),
        })
    };
    let rows: Vec<Value> = report
        .estimate
        .rows
        .iter()
        .map(|(key, row)| {
            let mut row = sums(row);
            row["agent"] = json!(key.agent);
            row["route"] = json!(key.route);
            row
        })
        .collect();
    let (binds, route) = match &report.time.binds {
        BindingLimit::Nothing => ("nothing", None),
        BindingLimit::Requests { route, .. } => ("rpm", Some(route)),
        BindingLimit::Tokens { route, .. } => ("tpm", Some(route)),
        BindingLimit::Concurrency(_) => ("concurrency", None),
        BindingLimit::LongestRequest => ("longest_request", None),
        BindingLimit::CostCap => ("max_cost", None),
    };
    json!({
        "requests": report.requests,
        "finished": report.finished,
        "refused": report.refused,
        "total": sums(&report.estimate.total()),
        "rows": rows,
        "time": {"seconds": rounded(report.time.seconds.ceil()), "binds": binds, "route": route},
        "max_cost_usd": report.cap.map(Cost::usd),
        "prices": used_prices(report).map(|price| json!({"route": price.route, "source": price.source})).collect::<Vec<_>>(),
    })
}
