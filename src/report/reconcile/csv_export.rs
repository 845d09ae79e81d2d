//! Usage exports as CSV: a row of column names, then a row for each day, model and whatever else the provider tells.

use std::io::Read;

use super::columns::ExportColumn;
use super::{ExportCounts, ExportError, ProviderExport, day};
use crate::domain::ids::shortened;
use crate::domain::printable::printable;
use crate::domain::usage::CostSum;

/// The most columns of an export.
const MOST_COLUMNS: usize = 500;

/// A cost above this is no cost of a row, in dollars.
const MOST_COST: f64 = 1e9;

pub(super) fn read(from: &mut dyn Read) -> Result<ProviderExport, ExportError> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(from);
    let head = reader.headers().map_err(fault)?.clone();
    let columns = ExportColumns::of(&head)?;
    let mut export = ProviderExport {
        has_tokens: columns.has_tokens(),
        has_cost: columns.has_cost(),
        unknown: columns.unknown.clone(),
        ..ProviderExport::default()
    };
    let mut record = csv::StringRecord::new();
    let mut other_currency: Option<String> = None;
    let mut skipped = 0_u64;
    while reader.read_record(&mut record).map_err(fault)? {
        let Some(row) = columns.row(&record)? else {
            skipped += 1;
            continue;
        };
        if let Some(currency) = row.other_currency {
            export.has_cost = false;
            other_currency.get_or_insert(currency);
        }
        export.add(&row.day, &row.model, row.counted)?;
    }
    if let Some(currency) = other_currency {
        let currency = printable(&shortened(&currency, 20));
        export.notes.push(format!(
            "costs in `{currency}` are not compared, only those in USD"
        ));
    }
    if skipped > 0 {
        export
            .notes
            .push(format!("{skipped} rows without a day or a model were left out"));
    }
    Ok(export)
}

fn fault(error: csv::Error) -> ExportError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        csv::ErrorKind::Utf8 { .. } => ExportError::Form("it is no UTF-8".to_owned()),
        _ => ExportError::Form("it is no CSV".to_owned()),
    }
}

/// The places of the known columns.
#[derive(Debug, Default)]
struct ExportColumns {
    known: Vec<(ExportColumn, usize)>,
    unknown: Vec<String>,
}

/// A row of an export.
struct ExportRow {
    day: String,
    model: String,
    counted: ExportCounts,
    /// The currency of the cost, if it is not the dollar.
    other_currency: Option<String>,
}

impl ExportColumns {
    fn of(head: &csv::StringRecord) -> Result<Self, ExportError> {
        let mut columns = Self::default();
        for (place, name) in head.iter().take(MOST_COLUMNS).enumerate() {
            match ExportColumn::of_name(name) {
                // Of two columns for one thing the first counts, but several can add up to the prompt.
                Some(column) if column == ExportColumn::Written || columns.place(column).is_none() => {
                    columns.known.push((column, place));
                }
                _ => columns.unknown.push(printable(&shortened(name, 60))),
            }
        }
        let missing = [
            (columns.place(ExportColumn::Day).is_none(), "a day"),
            (columns.place(ExportColumn::Model).is_none(), "a model"),
            (!columns.has_tokens() && !columns.has_cost(), "tokens or a cost"),
        ];
        let missing: Vec<&str> = missing
            .into_iter()
            .filter(|(is_missing, _)| *is_missing)
            .map(|(_, what)| what)
            .collect();
        if missing.is_empty() {
            return Ok(columns);
        }
        Err(ExportError::Form(format!(
            "no column has {} (known names of {})",
            missing.join(" and none "),
            ExportColumn::known()
        )))
    }

    fn place(&self, wanted: ExportColumn) -> Option<usize> {
        let found = self.known.iter().find(|(column, _)| *column == wanted);
        found.map(|(_, place)| *place)
    }

    /// Whether the amounts are counts of what the column beside them says.
    fn has_kinds(&self) -> bool {
        self.place(ExportColumn::Kind).is_some() && self.place(ExportColumn::Amount).is_some()
    }

    fn has_tokens(&self) -> bool {
        let counts = [
            ExportColumn::Input,
            ExportColumn::FreshInput,
            ExportColumn::Output,
        ];
        self.has_kinds() || counts.iter().any(|column| self.place(*column).is_some())
    }

    fn has_cost(&self) -> bool {
        let is_cost = self.place(ExportColumn::Amount).is_some() && !self.has_kinds();
        self.place(ExportColumn::Cost).is_some() || is_cost
    }

    /// Reads a row; `None` if it has no day or no model, as a line with a total.
    fn row(&self, record: &csv::StringRecord) -> Result<Option<ExportRow>, ExportError> {
        let text = |column| {
            let place = self.place(column)?;
            record.get(place).map(str::trim).filter(|text| !text.is_empty())
        };
        let (Some(day), Some(model)) = (text(ExportColumn::Day), text(ExportColumn::Model)) else {
            return Ok(None);
        };
        let Some(day) = day::of_text(day) else {
            let day = printable(&shortened(day, 40));
            return Err(bad(record, &format!("`{day}` is no day such as `2026-11-30`")));
        };
        let number = |column| match text(column) {
            None => Ok(0),
            Some(text) => count(text).ok_or_else(|| {
                let text = printable(&shortened(text, 40));
                bad(record, &format!("`{text}` is no number of tokens or requests"))
            }),
        };
        let mut counted = ExportCounts {
            requests: number(ExportColumn::Requests)?,
            input: number(ExportColumn::Input)?,
            cached: number(ExportColumn::Cached)?,
            output: number(ExportColumn::Output)?,
            cost: CostSum::default(),
        };
        if self.place(ExportColumn::FreshInput).is_some() && self.place(ExportColumn::Input).is_none() {
            counted.input = number(ExportColumn::FreshInput)?.saturating_add(counted.cached);
            for (column, place) in &self.known {
                if *column == ExportColumn::Written {
                    let written = record.get(*place).and_then(count).unwrap_or(0);
                    counted.input = counted.input.saturating_add(written);
                }
            }
        }
        if self.has_kinds() {
            let amount = number(ExportColumn::Amount)?;
            add_kind(&mut counted, text(ExportColumn::Kind).unwrap_or_default(), amount);
        }
        let currency = text(ExportColumn::Currency).filter(|name| !name.eq_ignore_ascii_case("usd"));
        let cost =
            text(ExportColumn::Cost).or_else(|| text(ExportColumn::Amount).filter(|_| !self.has_kinds()));
        if let Some(cost) = cost.filter(|_| currency.is_none()) {
            counted.cost = money(cost).ok_or_else(|| {
                let cost = printable(&shortened(cost, 40));
                bad(record, &format!("`{cost}` is no cost in dollars"))
            })?;
        }
        Ok(Some(ExportRow {
            day,
            model: printable(model).replace(['\n', '\t'], " "),
            counted,
            other_currency: currency.map(str::to_owned),
        }))
    }
}

fn bad(record: &csv::StringRecord, what: &str) -> ExportError {
    let line = record.position().map_or(0, csv::Position::line);
    ExportError::Form(format!("line {line}: {what}"))
}

/// Adds an amount of a kind, as DeepSeek's exports have them.
fn add_kind(counted: &mut ExportCounts, kind: &str, amount: u64) {
    match kind.to_ascii_lowercase().as_str() {
        "request_count" => counted.requests = counted.requests.saturating_add(amount),
        "input_cache_hit_tokens" => {
            counted.input = counted.input.saturating_add(amount);
            counted.cached = counted.cached.saturating_add(amount);
        }
        "input_cache_miss_tokens" | "input_tokens" => counted.input = counted.input.saturating_add(amount),
        "output_tokens" => counted.output = counted.output.saturating_add(amount),
        _ => {}
    }
}

/// Reads a count, with commas between its thousands or zeros behind its point.
fn count(text: &str) -> Option<u64> {
    let text = without_commas(text)?;
    let whole = match text.split_once('.') {
        Some((whole, rest)) if rest.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return None,
        None => &text,
    };
    whole.parse().ok()
}

/// Reads an amount of dollars. A refund counts as nothing.
pub(super) fn money(text: &str) -> Option<CostSum> {
    let text: String = text.chars().filter(|c| !matches!(c, ' ' | '$')).collect();
    let usd: f64 = without_commas(&text)?.parse().ok()?;
    of_usd(usd)
}

/// Removes the commas between thousands. `None` if a comma stands elsewhere: it may be a decimal comma.
fn without_commas(text: &str) -> Option<String> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default().trim_start_matches(['-', '+']);
    let mut has_groups = false;
    let are_thousands = groups.all(|group| {
        has_groups = true;
        group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit())
    });
    let is_plain = are_thousands && !rest.contains(',') && (!has_groups || (1..=3).contains(&first.len()));
    is_plain.then(|| text.replace(',', ""))
}

pub(super) fn of_usd(usd: f64) -> Option<CostSum> {
    if !(-MOST_COST..=MOST_COST).contains(&usd) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 10^21 by the check above"
    )]
    Some(CostSum((usd.max(0.0) * 1e12).round() as u128))
}
