//! Rows as CSV, TSV, Markdown, JSON Lines or text.

use std::io;

use serde_json::Map;

use super::rows::{ColumnValue, ResultRow};
use crate::domain::printable::printable;
use crate::domain::raw_json::RawField;
use crate::domain::result_text;
use crate::report::cells::{add_csv, add_markdown, add_markdown_rule, add_tsv, cell_text};

/// The form of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableForm {
    /// RFC 4180.
    Csv,
    /// Tab-separated values.
    Tsv,
    /// A table in GitHub's Markdown.
    Markdown,
    /// One JSON object for each row.
    Jsonl,
    /// Lines of `column: value`, and an empty line after each row.
    Text,
}

/// Writes the rows of a table.
#[derive(Debug)]
pub struct TableWriter {
    form: TableForm,
    columns: Vec<String>,
}

impl TableWriter {
    /// Creates the writer of a table with these columns.
    pub const fn new(form: TableForm, columns: Vec<String>) -> Self {
        Self { form, columns }
    }

    /// Returns the head of the table: empty for JSON Lines and text.
    pub fn head(&self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        match self.form {
            TableForm::Csv => add_csv(&self.columns, &mut out)?,
            TableForm::Tsv => add_tsv(&self.columns, &mut out),
            TableForm::Markdown => {
                add_markdown(&self.columns, &mut out);
                add_markdown_rule(self.columns.len(), &mut out);
            }
            TableForm::Jsonl | TableForm::Text => {}
        }
        Ok(out)
    }

    /// Adds a row.
    pub fn add(&self, row: &ResultRow<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        if self.form == TableForm::Jsonl {
            return Ok(self.add_object(row, out)?);
        }
        let cells: Vec<String> = self
            .columns
            .iter()
            .map(|column| row.value(column).map_or_else(String::new, |value| value.cell()))
            .collect();
        match self.form {
            TableForm::Csv => add_csv(&cells, out)?,
            TableForm::Tsv => add_tsv(&cells, out),
            TableForm::Markdown => add_markdown(&cells, out),
            TableForm::Text | TableForm::Jsonl => self.add_text(&cells, out),
        }
        Ok(())
    }

    /// Adds a row as a JSON object. A column that the row does not have is `null`.
    fn add_object(&self, row: &ResultRow<'_>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let mut before = b'{';
        for column in &self.columns {
            out.push(before);
            before = b',';
            serde_json::to_writer(&mut *out, column)?;
            out.push(b':');
            match row.value(column) {
                Some(ColumnValue::Stored(raw)) => out.extend_from_slice(raw.get().as_bytes()),
                Some(ColumnValue::Computed(value)) => serde_json::to_writer(&mut *out, &value)?,
                None => out.extend_from_slice(b"null"),
            }
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }

    fn add_text(&self, cells: &[String], out: &mut Vec<u8>) {
        for (column, cell) in self.columns.iter().zip(cells) {
            if !cell.is_empty() {
                out.extend_from_slice(printable(&format!("{column}: {cell}\n")).as_bytes());
            }
        }
        out.push(b'\n');
    }
}

impl ColumnValue<'_> {
    fn cell(&self) -> String {
        match self {
            Self::Stored(raw) => cell_text(raw),
            Self::Computed(value) => {
                serde_json::value::to_raw_value(value).map_or_else(|_| String::new(), |raw| cell_text(&raw))
            }
        }
    }
}

impl ResultRow<'_> {
    /// Returns the item of the row as text for people: a heading with the names of the request and the item, then its title,
    /// content and tags.
    pub fn item_text(&self) -> String {
        let (name, id) = self.names();
        let parsed = |(key, value): &RawField<'_>| {
            let value = serde_json::from_str(value.get()).ok()?;
            Some((key.clone().into_owned(), value))
        };
        let body: Map<_, _> = self.fields().iter().filter_map(parsed).collect();
        result_text::render_item(&name, id.unwrap_or_default(), &body)
    }
}
