//! `nova3 results`.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use serde_json::value::RawValue;

use super::args::{Global, ResultFormat, ResultOrder, ResultsArgs, StatusFilter};
use super::exit::{Exit, decided};
use super::{print, setup, stores};
use crate::clock;
use crate::domain::ids::shortened;
use crate::domain::outcome::Finished;
use crate::domain::state::Status;
use crate::domain::{result_line, result_text};
use crate::report::{ColumnScan, RowUnit, TableForm, TableWriter, rows_of};
use crate::store::{FinishedPage, Order, Run, Store};

/// Requests in one page of the store.
const ROWS: usize = 512;

/// The byte order mark of UTF-8, by which Excel recognises the encoding.
const MARK: &[u8] = "\u{feff}".as_bytes();

pub(super) fn main(args: &ResultsArgs, global: &Global) -> Result<Exit> {
    super::runtime()?.block_on(results(args, global))
}

async fn results(args: &ResultsArgs, global: &Global) -> Result<Exit> {
    let format = args.format.unwrap_or_else(|| {
        let is_terminal = std::io::stdout().is_terminal();
        if is_terminal {
            ResultFormat::Text
        } else {
            ResultFormat::Jsonl
        }
    });
    if args.bom && format == ResultFormat::Jsonl {
        let message = "`--bom`: JSON Lines have no byte order mark (add `--format csv`)";
        return Err(decided(Exit::Usage, message));
    }
    let unit = unit(args)?;
    let scan = ColumnScan::new(&unit, args.columns.as_deref())?;
    let store = stores::to_read_from(&args.which.from, global).await?.store;
    let run = setup::find_run(&*store, args.which.run.as_deref()).await?;
    let chosen = ChosenResults {
        store: &*store,
        run: &run,
        args,
        ids: setup::ids(&args.id),
    };
    let form = match format {
        ResultFormat::Csv => TableForm::Csv,
        ResultFormat::Tsv => TableForm::Tsv,
        ResultFormat::Md => TableForm::Markdown,
        ResultFormat::Jsonl if unit == RowUnit::Request && args.columns.is_none() => {
            return chosen
                .print(Vec::new(), None, |finished, out| chosen.line(finished, out))
                .await;
        }
        ResultFormat::Text if args.columns.is_none() => {
            return chosen
                .print(mark(args), None, |finished, out| {
                    chosen.text(&unit, finished, out)
                })
                .await;
        }
        ResultFormat::Jsonl => TableForm::Jsonl,
        ResultFormat::Text => TableForm::Text,
    };
    chosen.table(&unit, form, scan).await
}

/// The unit of a row. A value of `--items` that is no item type is probably the name of the run.
fn unit(args: &ResultsArgs) -> Result<RowUnit> {
    let Some(kinds) = &args.items else {
        return Ok(RowUnit::Request);
    };
    let kinds: Vec<String> = kinds
        .iter()
        .map(|kind| kind.trim().to_owned())
        .filter(|kind| !kind.is_empty())
        .collect();
    let is_type = |kind: &str| {
        kind.chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
            && !kind.ends_with(|c: char| c.is_ascii_digit())
    };
    if let Some(kind) = kinds.iter().find(|kind| !is_type(kind)) {
        let message = format!(
            "`--items`: `{}` is no item type such as `insight` (the name of a run stands before `--items`)",
            shortened(kind, 60)
        );
        return Err(decided(Exit::Usage, message));
    }
    Ok(if kinds.is_empty() {
        RowUnit::OutputItem
    } else {
        RowUnit::ItemOf(kinds)
    })
}

fn mark(args: &ResultsArgs) -> Vec<u8> {
    if args.bom { MARK.to_vec() } else { Vec::new() }
}

/// The requests that a command selects.
struct ChosenResults<'a> {
    store: &'a dyn Store,
    run: &'a Run,
    args: &'a ResultsArgs,
    ids: Vec<String>,
}

impl ChosenResults<'_> {
    /// Prints a table. The first pass over the pages finds the columns, if they depend on the rows. The second one prints
    /// the rows of the same requests. Only one page is in memory.
    async fn table(&self, unit: &RowUnit, form: TableForm, mut scan: ColumnScan) -> Result<Exit> {
        let mut end = None;
        let mut rows = 0_usize;
        if scan.needs_rows() {
            end = Some(self.scan(unit, &mut scan, &mut rows).await?);
            // Without a row there is no unknown column.
            if rows == 0 {
                return Ok(Exit::Nothing);
            }
        }
        // Rows that were not read cannot have another column, if all chosen columns were found.
        let end = end.flatten();
        let writer = TableWriter::new(form, scan.columns()?);
        let mut head = mark(self.args);
        head.extend(writer.head().context("failed to write the head of a table")?);
        self.print(head, end, |finished, out| {
            let line = self.raw_line(finished)?;
            let rows = rows_of(unit, finished, &line);
            for row in &rows {
                writer.add(row, out).context("failed to write a row")?;
            }
            Ok(rows.len())
        })
        .await
    }

    /// Shows the selected rows to the scan until it needs no more. Returns the place at which the rows ended, if all were
    /// read.
    async fn scan(&self, unit: &RowUnit, scan: &mut ColumnScan, rows: &mut usize) -> Result<Option<i64>> {
        let mut after = self.begin();
        while let Some(page) = self.page(after, None).await? {
            after = page.after;
            for finished in page.rows.iter().filter(|finished| self.is_wanted(finished)) {
                let line = self.raw_line(finished)?;
                for row in rows_of(unit, finished, &line) {
                    *rows += 1;
                    scan.add(&row)?;
                }
                if !scan.needs_rows() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(after))
    }

    /// Prints the head and each selected request, up to the place `end`. `write` adds a request and returns how many rows
    /// it has.
    async fn print(
        &self,
        head: Vec<u8>,
        end: Option<i64>,
        write: impl Fn(&Finished, &mut Vec<u8>) -> Result<usize>,
    ) -> Result<Exit> {
        let mut after = self.begin();
        let mut text = head;
        let mut printed = false;
        while let Some(page) = self.page(after, end).await? {
            after = page.after;
            let mut rows = 0;
            for finished in page.rows.iter().filter(|finished| self.is_wanted(finished)) {
                rows += write(finished, &mut text)?;
            }
            if rows == 0 {
                continue;
            }
            printed = true;
            if !print(&text)? {
                return Ok(Exit::Good);
            }
            text.clear();
        }
        Ok(if printed { Exit::Good } else { Exit::Nothing })
    }

    const fn begin(&self) -> i64 {
        match self.args.order {
            ResultOrder::Completion => 0,
            ResultOrder::Input => -1,
        }
    }

    /// The next page, without the requests behind `end`; `None` after the last one.
    async fn page(&self, after: i64, end: Option<i64>) -> Result<Option<FinishedPage>> {
        let order = match self.args.order {
            ResultOrder::Completion => Order::Completion,
            ResultOrder::Input => Order::Input,
        };
        let mut page = self.store.finished(self.run.id, order, None, after, ROWS).await?;
        if let Some(end) = end {
            page.rows.retain(|finished| match order {
                Order::Completion => finished.finish_no <= end,
                Order::Input => i64::try_from(finished.index).is_ok_and(|index| index <= end),
            });
        }
        Ok((!page.rows.is_empty()).then_some(page))
    }

    fn line(&self, finished: &Finished, out: &mut Vec<u8>) -> Result<usize> {
        result_line::write(&self.run.name, finished, clock::rfc3339, out)
            .context("failed to render a result line")?;
        Ok(1)
    }

    fn raw_line(&self, finished: &Finished) -> Result<Box<RawValue>> {
        let mut line = Vec::new();
        self.line(finished, &mut line)?;
        let line = String::from_utf8(line).context("a result line is no UTF-8")?;
        RawValue::from_string(line).context("a result line is no JSON")
    }

    fn text(&self, unit: &RowUnit, finished: &Finished, out: &mut Vec<u8>) -> Result<usize> {
        if *unit == RowUnit::Request {
            out.extend_from_slice(result_text::render(finished).as_bytes());
            return Ok(1);
        }
        let line = self.raw_line(finished)?;
        let rows = rows_of(unit, finished, &line);
        for row in &rows {
            out.extend_from_slice(row.item_text().as_bytes());
        }
        Ok(rows.len())
    }

    fn is_wanted(&self, finished: &Finished) -> bool {
        let status = self.args.status.is_none_or(|filter| {
            finished.status
                == match filter {
                    StatusFilter::Completed => Status::Completed,
                    StatusFilter::Partial => Status::Partial,
                    StatusFilter::Failed => Status::Failed,
                    StatusFilter::Paused => Status::Paused,
                    StatusFilter::Continued => Status::Continued,
                }
        });
        let id = self.ids.is_empty()
            || finished
                .custom_id
                .as_ref()
                .is_some_and(|id| self.ids.contains(id));
        status && id
    }
}
