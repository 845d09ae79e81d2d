//! The bill as a table for people, and as CSV.

use std::io;

use comfy_table::{CellAlignment, Table};

use super::money::{decimal, dollars};
use super::{UnpricedCalls, UsageBill};
use crate::domain::printable::{counted, printable};
use crate::domain::usage::CostSum;
use crate::report::cells::add_csv;
use crate::report::standing::table_of;
use crate::store::{UsageKey, UsageRow, UsageSums};

/// The columns of the CSV behind those of the keys.
const COLUMNS: [&str; 11] = [
    "calls",
    "failed_calls",
    "unpriced_calls",
    "searches",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "cost_usd",
    "wasted_usd",
    "uncertain_usd",
];

/// Returns the bill as CSV: a row for each group, and no row with the total. Every cell is harmless in a spreadsheet.
pub fn bill_csv(bill: &UsageBill) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let head: Vec<String> = bill
        .by
        .iter()
        .map(|key| key.as_str())
        .chain(COLUMNS)
        .map(str::to_owned)
        .collect();
    add_csv(&head, &mut out)?;
    for row in &bill.rows {
        let sums = row.sums;
        let numbers = [
            sums.calls,
            sums.failed,
            sums.unpriced,
            sums.searches,
            sums.usage.input_tokens,
            sums.usage.cached_input_tokens,
            sums.usage.cache_write_tokens,
            sums.usage.output_tokens,
        ];
        // A cost that is not known is an empty cell, and never a zero.
        let known = |sum: CostSum| {
            if sums.knows_costs() {
                decimal(sum)
            } else {
                String::new()
            }
        };
        let money = [known(sums.cost), known(sums.wasted), decimal(sums.uncertain)];
        let cells: Vec<String> = row
            .keys
            .iter()
            .map(|key| key.clone().unwrap_or_default())
            .chain(numbers.iter().map(u64::to_string))
            .chain(money)
            .collect();
        add_csv(&cells, &mut out)?;
    }
    Ok(out)
}

/// A column of the table with sums.
type SumColumn = (&'static str, fn(&UsageSums) -> String);

/// The columns that every table has, and those that it has if one of its rows has a value there.
const ALWAYS: [SumColumn; 4] = [
    ("calls", |sums| sums.calls.to_string()),
    ("failed", |sums| sums.failed.to_string()),
    ("tokens in", |sums| sums.usage.input_tokens.to_string()),
    ("cached", |sums| sums.usage.cached_input_tokens.to_string()),
];
const WRITTEN: SumColumn = ("cache write", |sums| sums.usage.cache_write_tokens.to_string());
const OUTPUT: SumColumn = ("tokens out", |sums| sums.usage.output_tokens.to_string());
const SEARCHES: SumColumn = ("searches", |sums| sums.searches.to_string());
const COST: SumColumn = ("cost", cost);
const WASTED: SumColumn = ("for nothing", |sums| dollars(sums.wasted));
const UNCERTAIN: SumColumn = ("up to more", |sums| dollars(sums.uncertain));
const UNPRICED: SumColumn = ("no price", |sums| sums.unpriced.to_string());

/// Returns the bill as a table with its total, and below it the waste by cause, the calls without a price, and the sources
/// of the prices.
pub fn bill_text(bill: &UsageBill) -> String {
    let mut text = table_text(&rows(bill));
    if !bill.total.knows_costs() {
        text += "\nno call has a price, so the cost is not known\n";
    }
    if !bill.waste.is_empty() {
        text += &format!("\n{}", table_text(&waste(bill)));
    }
    if !bill.unpriced.is_empty() {
        text.push('\n');
    }
    for calls in &bill.unpriced {
        text += &unpriced(calls);
    }
    let sources = sources(bill);
    if !sources.is_empty() {
        text += &format!("\nprices in force now: {sources}\n");
    }
    if let Some(filter) = filter(bill) {
        text += &format!("only calls of {filter}\n");
    }
    text
}

fn table_text(table: &Table) -> String {
    let lines = table
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end()));
    lines.collect()
}

fn rows(bill: &UsageBill) -> Table {
    let total = &bill.total;
    let columns: Vec<SumColumn> = ALWAYS
        .into_iter()
        .chain((total.usage.cache_write_tokens > 0).then_some(WRITTEN))
        .chain([OUTPUT])
        .chain((total.searches > 0).then_some(SEARCHES))
        .chain([COST, WASTED])
        .chain((total.uncertain.0 > 0).then_some(UNCERTAIN))
        .chain((total.unpriced > 0).then_some(UNPRICED))
        .collect();
    let head: Vec<&str> = bill
        .by
        .iter()
        .map(|key| key.as_str())
        .chain(columns.iter().map(|(name, _)| *name))
        .collect();
    let mut table = table_of(&head);
    for row in &bill.rows {
        table.add_row(cells(&bill.by, row, &columns));
    }
    if bill.rows.len() > 1 && !bill.by.is_empty() {
        let keys = bill
            .by
            .iter()
            .enumerate()
            .map(|(place, _)| Some(if place == 0 { "total" } else { "" }.to_owned()));
        let row = UsageRow {
            keys: keys.collect(),
            sums: *total,
        };
        table.add_row(cells(&[], &row, &columns));
    }
    for place in 0..bill.by.len() {
        if let Some(column) = table.column_mut(place) {
            column.set_cell_alignment(CellAlignment::Left);
        }
    }
    table
}

fn cells(by: &[UsageKey], row: &UsageRow, columns: &[SumColumn]) -> Vec<String> {
    let key = |(place, key): (usize, &Option<String>)| match key {
        Some(text) if text.is_empty() && by.get(place) == Some(&UsageKey::Model) => "(search)".to_owned(),
        Some(text) => printable(text).replace(['\n', '\t'], " "),
        None => "–".to_owned(),
    };
    let keys = row.keys.iter().enumerate().map(key);
    keys.chain(columns.iter().map(|(_, value)| value(&row.sums)))
        .collect()
}

/// Returns the cost of a group. A zero is shown as one only if every call has a price.
fn cost(sums: &UsageSums) -> String {
    if sums.cost.0 == 0 && sums.unpriced > 0 {
        return "–".to_owned();
    }
    dollars(sums.cost)
}

fn waste(bill: &UsageBill) -> Table {
    let mut table = table_of(&[
        "for nothing",
        "calls",
        "tokens in",
        "tokens out",
        "cost",
        "up to more",
    ]);
    for (cause, sums) in &bill.waste {
        table.add_row([
            cause.clone(),
            sums.calls.to_string(),
            sums.usage.input_tokens.to_string(),
            sums.usage.output_tokens.to_string(),
            cost(sums),
            dollars(sums.uncertain),
        ]);
    }
    if let Some(column) = table.column_mut(0) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    table
}

fn unpriced(calls: &UnpricedCalls) -> String {
    let (route, model) = (printable(&calls.route), printable(&calls.model));
    format!(
        "no price for {} of route `{route}`, model `{model}` ({})\n",
        counted(calls.calls, "call"),
        calls.cure
    )
    .replace(['\t'], " ")
}

fn sources(bill: &UsageBill) -> String {
    let shown = bill.prices.iter().filter_map(|price| {
        let source = price.source.as_ref()?;
        Some(format!("`{}` from the {source}", printable(&price.route)))
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn filter(bill: &UsageBill) -> Option<String> {
    let shown: Vec<String> = bill
        .filter
        .iter()
        .map(|(name, value)| format!("{name} {}", printable(value)))
        .collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}
