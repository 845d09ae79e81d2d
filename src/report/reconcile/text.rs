//! The comparison as a table for people, or as JSON.

use comfy_table::CellAlignment;
use serde_json::{Value, json};

use super::{ExportComparison, ExportCounts};
use crate::domain::printable::printable;
use crate::report::standing::table_of;

/// The most names of a list that is shown.
const MOST_NAMES: usize = 20;

/// Returns the comparison as a table, with what explains its differences.
pub fn comparison_text(comparison: &ExportComparison) -> String {
    let mut head = vec!["day", "model"];
    if comparison.has_tokens {
        head.extend(["tokens in", "theirs", "tokens out", "theirs"]);
    }
    if comparison.has_cost {
        head.extend(["cost", "theirs", "difference"]);
    }
    head.push("");
    let mut table = table_of(&head);
    for row in &comparison.rows {
        let verdict = if row.differs { "differs" } else { "" };
        table.add_row(cells(
            comparison,
            [&row.day, &row.model],
            (row.ours, row.theirs),
            verdict,
        ));
    }
    table.add_row(cells(comparison, ["total", ""], comparison.total(), ""));
    for place in [0, 1, head.len() - 1] {
        if let Some(column) = table.column_mut(place) {
            column.set_cell_alignment(CellAlignment::Left);
        }
    }
    let lines = table
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end()));
    let mut text: String = lines.collect();
    text.push('\n');
    let differing = comparison.rows.iter().filter(|row| row.differs).count();
    text += &if differing == 0 {
        "the store and the export agree (within 1 %, 1000 tokens and a cent)\n".to_owned()
    } else {
        format!(
            "{differing} of {} rows differ by more than 1 %\n",
            comparison.rows.len()
        )
    };
    for cause in &comparison.causes {
        text += &format!("probable cause: {cause}\n");
    }
    if !comparison.not_exported.is_empty() {
        text += &format!("not in the export: {}\n", listed(&comparison.not_exported));
    }
    if !comparison.unknown.is_empty() {
        text += &format!("columns that were not used: {}\n", listed(&comparison.unknown));
    }
    for note in &comparison.notes {
        text += &format!("note: {note}\n");
    }
    text
}

fn cells(
    comparison: &ExportComparison,
    keys: [&str; 2],
    (ours, theirs): (ExportCounts, ExportCounts),
    verdict: &str,
) -> Vec<String> {
    let mut cells = keys.map(printable).to_vec();
    if comparison.has_tokens {
        cells.extend([ours.input, theirs.input, ours.output, theirs.output].map(|count| count.to_string()));
    }
    if comparison.has_cost {
        let (cost, their_cost) = (ours.cost.usd(), theirs.cost.usd());
        cells.push(format!("${cost:.4}"));
        cells.push(format!("${their_cost:.4}"));
        cells.push(format!("{:+.4}", their_cost - cost));
    }
    cells.push(verdict.to_owned());
    cells
}

/// Returns the first names of a list on one line, and how many more there are.
fn listed(names: &[String]) -> String {
    let shown = names.iter().take(MOST_NAMES);
    let mut shown: Vec<String> = shown
        .map(|name| printable(name).replace(['\n', '\t'], " "))
        .collect();
    if names.len() > MOST_NAMES {
        shown.push(format!("and {} more", names.len() - MOST_NAMES));
    }
    shown.join(", ")
}

/// Returns the comparison as JSON for programs.
pub fn comparison_json(comparison: &ExportComparison) -> Value {
    let counted = |counted: &ExportCounts| {
        json!({
            "requests": counted.requests,
            "input_tokens": counted.input,
            "cached_input_tokens": counted.cached,
            "output_tokens": counted.output,
            "cost_usd": counted.cost.usd(),
        })
    };
    let rows: Vec<Value> = comparison
        .rows
        .iter()
        .map(|row| {
            json!({
                "day": row.day,
                "model": row.model,
                "store": counted(&row.ours),
                "export": counted(&row.theirs),
                "differs": row.differs,
            })
        })
        .collect();
    json!({
        "agrees": comparison.agrees(),
        "compared_tokens": comparison.has_tokens,
        "compared_cost": comparison.has_cost,
        "rows": rows,
        "probable_causes": comparison.causes,
        "not_exported": comparison.not_exported,
        "unused_columns": comparison.unknown,
        "notes": comparison.notes,
    })
}
