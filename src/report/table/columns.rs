//! The columns of a table: chosen by the user, or found by reading the rows once.

use std::collections::HashSet;

use super::rows::{ITEM_COLUMNS, ResultRow, RowUnit};
use crate::domain::ids::shortened;
use crate::domain::raw_json::fields;

/// A table has at most this many columns, so that the memory for their names is bounded.
const MOST: usize = 256;

/// How many names an error message lists.
const LISTED: usize = 60;

/// Names of a result line that can be chosen although no row has them, so that a command does not depend on whether a
/// request failed.
const KNOWN: &[&str] = &[
    "v",
    "run",
    "index",
    "user_id",
    "session_id",
    "ok",
    "status",
    "output",
    "tasks",
    "plan",
    "plan.origin",
    "usage",
    "usage.input_tokens",
    "usage.cached_input_tokens",
    "usage.cache_write_tokens",
    "usage.output_tokens",
    "cost_usd",
    "wasted_usd",
    "warnings",
    "error",
    "error.class",
    "error.message",
    "error.line",
    "error.task_id",
    "error.route",
    "error.status_code",
    "error.retryable",
    "error.causes",
    "created_at",
    "completed_at",
    "metadata",
];

/// Why a table has no columns.
#[derive(Debug, thiserror::Error)]
pub enum ColumnError {
    /// No row has the chosen column.
    #[error("`--columns`: no row has `{name}` (there are: {known})")]
    Unknown {
        /// The chosen name.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A name is empty or given twice.
    #[error("`--columns`: {0}")]
    Bad(String),
    /// The items have more fields than a table can have columns.
    #[error("the items have more than {MOST} different fields (choose columns with `--columns`)")]
    TooMany,
}

/// Finds the columns of a table. Rows are shown to it one by one; it keeps names only.
#[derive(Debug)]
pub struct ColumnScan {
    unit: RowUnit,
    /// The chosen columns. `None`: those that the rows have.
    chosen: Option<Vec<String>>,
    /// The chosen columns that no row had so far.
    missing: HashSet<String>,
    /// The fields of items, in the order of their first appearance.
    fields: Vec<String>,
    /// All names so far, for an error message.
    names: Vec<String>,
}

impl ColumnScan {
    /// Begins with the chosen columns; `None` chooses the usual ones.
    pub fn new(unit: &RowUnit, chosen: Option<&[String]>) -> Result<Self, ColumnError> {
        let chosen: Option<Vec<String>> =
            chosen.map(|names| names.iter().map(|name| name.trim().to_owned()).collect());
        let mut missing = HashSet::new();
        let mut seen = HashSet::new();
        for name in chosen.iter().flatten() {
            if name.is_empty() {
                return Err(ColumnError::Bad("a name is empty".to_owned()));
            }
            if !seen.insert(name.as_str()) {
                let message = format!("`{}` is given twice", shortened(name, LISTED));
                return Err(ColumnError::Bad(message));
            }
            if !unit.fixed_columns().contains(&name.as_str()) && !KNOWN.contains(&name.as_str()) {
                missing.insert(name.clone());
            }
        }
        if seen.len() > MOST {
            return Err(ColumnError::Bad(format!("expected at most {MOST} names")));
        }
        Ok(Self {
            unit: unit.clone(),
            missing,
            fields: Vec::new(),
            names: unit.fixed_columns().iter().map(|&name| name.to_owned()).collect(),
            chosen,
        })
    }

    /// Whether more rows can change the columns.
    pub fn needs_rows(&self) -> bool {
        match &self.chosen {
            Some(_) => !self.missing.is_empty(),
            None => self.unit != RowUnit::Request,
        }
    }

    /// Takes the names of a row into account.
    pub fn add(&mut self, row: &ResultRow<'_>) -> Result<(), ColumnError> {
        if self.chosen.is_none() {
            for name in row.own_fields() {
                if !self.fields.iter().any(|known| known == name) {
                    self.fields.push(name.to_owned());
                }
            }
            return if self.fields.len() > MOST {
                Err(ColumnError::TooMany)
            } else {
                Ok(())
            };
        }
        self.missing.retain(|name| row.value(name).is_none());
        if !self.missing.is_empty() {
            self.note_names(row);
        }
        Ok(())
    }

    /// Keeps the names of a row for an error message: fields of the item, keys of the result line, and the keys of its
    /// objects.
    fn note_names(&mut self, row: &ResultRow<'_>) {
        let own = row.own_fields().map(str::to_owned);
        let of_line = fields(row.line()).into_iter().flat_map(|(key, value)| {
            let inner: Vec<String> = fields(value)
                .into_iter()
                .map(|(name, _)| format!("{key}.{name}"))
                .collect();
            std::iter::once(key.into_owned()).chain(inner)
        });
        for name in own.chain(of_line) {
            if self.names.len() < MOST && !self.names.contains(&name) {
                self.names.push(name);
            }
        }
    }

    /// Returns the columns. A chosen name that no row has is an error.
    pub fn columns(self) -> Result<Vec<String>, ColumnError> {
        let Some(chosen) = self.chosen else {
            return Ok(usual(&self.unit, &self.fields));
        };
        let Some(name) = chosen.iter().find(|name| self.missing.contains(*name)) else {
            return Ok(chosen);
        };
        let mut known: Vec<String> = self
            .names
            .iter()
            .take(LISTED)
            .map(|name| shortened(name, LISTED))
            .collect();
        if self.names.len() > LISTED {
            known.push("…".to_owned());
        }
        Err(ColumnError::Unknown {
            name: shortened(name, LISTED),
            known: known.join(", "),
        })
    }
}

/// Returns the columns of a table for which none were chosen.
fn usual(unit: &RowUnit, fields: &[String]) -> Vec<String> {
    if *unit == RowUnit::Request {
        return unit.fixed_columns().iter().map(|&name| name.to_owned()).collect();
    }
    let [custom_id, id, source_urls, cost] = ITEM_COLUMNS.map(str::to_owned);
    let read_first = ["title", "content"];
    let has = |name: &&str| fields.iter().any(|field| field == name);
    let first = read_first
        .iter()
        .filter(|name| has(name))
        .map(|&name| name.to_owned());
    // `source_urls` holds the `url` of the item.
    let is_own = |name: &&String| {
        let name = name.as_str();
        !ITEM_COLUMNS.contains(&name) && !read_first.contains(&name) && name != "url"
    };
    let own = fields.iter().filter(is_own).cloned();
    [custom_id, id]
        .into_iter()
        .chain(first)
        .chain(own)
        .chain([source_urls, cost])
        .collect()
}
