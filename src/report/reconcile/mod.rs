//! Compares the ledger with the usage export of a provider, by day and model.
//!
//! An export is untrusted: its size and its number of rows are bounded, and its texts reach a terminal without control
//! characters.

mod columns;
mod comparison;
mod csv_export;
mod day;
mod json_export;
mod text;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

pub use comparison::{ComparedRow, ExportComparison, compare};
pub use text::{comparison_json, comparison_text};

use crate::domain::usage::CostSum;

/// The largest export, in bytes.
const LARGEST: u64 = 256 << 20;

/// The most pairs of day and model in an export.
const MOST_GROUPS: usize = 100_000;

/// The longest name of a model, in characters.
const MOST_OF_A_MODEL: usize = 200;

/// The usage of a provider as its export tells it.
#[derive(Debug, Default)]
pub struct ProviderExport {
    /// By UTC day (`2026-11-30`) and model.
    groups: BTreeMap<(String, String), ExportCounts>,
    /// Whether it counts tokens.
    has_tokens: bool,
    /// Whether it has costs in dollars.
    has_cost: bool,
    /// The columns that were not used.
    pub unknown: Vec<String>,
    /// Remarks on the export for the reader of the comparison.
    pub notes: Vec<String>,
}

/// The counted usage of a group; zero where the export does not say it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportCounts {
    /// Calls.
    pub requests: u64,
    /// Prompt tokens, cached ones included.
    pub input: u64,
    /// The part of `input` that came from the provider's cache.
    pub cached: u64,
    /// Tokens of the answers.
    pub output: u64,
    /// The cost.
    pub cost: CostSum,
}

impl ExportCounts {
    /// Returns the sums of both groups together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            input: self.input.saturating_add(other.input),
            cached: self.cached.saturating_add(other.cached),
            output: self.output.saturating_add(other.output),
            cost: self.cost.plus(other.cost),
        }
    }
}

/// Why an export cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is too large.
    #[error("it is larger than {} MB", LARGEST >> 20)]
    TooLarge,
    /// It has too many groups.
    #[error("it has more than {MOST_GROUPS} pairs of day and model")]
    TooManyGroups,
    /// It is in no known form.
    #[error("{0}")]
    Form(String),
}

impl ProviderExport {
    /// Reads an export: JSON of OpenAI's usage or costs API, or a CSV with a row of known column names.
    pub fn read(from: impl Read) -> Result<Self, ExportError> {
        let mut reader = BufReader::new(from.take(LARGEST + 1));
        let begin = reader.fill_buf()?;
        if begin.contains(&0) {
            return Err(ExportError::Form("it is no text".to_owned()));
        }
        let begin = begin.strip_prefix("\u{feff}".as_bytes()).unwrap_or(begin);
        let first = begin.iter().find(|byte| !byte.is_ascii_whitespace()).copied();
        let export = match first {
            None => return Err(ExportError::Form("it is empty".to_owned())),
            Some(b'{' | b'[') => json_export::read(&mut reader),
            Some(_) => csv_export::read(&mut reader),
        };
        if reader.get_ref().limit() == 0 {
            return Err(ExportError::TooLarge);
        }
        export
    }

    fn add(&mut self, day: &str, model: &str, counted: ExportCounts) -> Result<(), ExportError> {
        let model: String = model.trim().chars().take(MOST_OF_A_MODEL).collect();
        let key = (day.to_owned(), model);
        if !self.groups.contains_key(&key) && self.groups.len() >= MOST_GROUPS {
            return Err(ExportError::TooManyGroups);
        }
        let group = self.groups.entry(key).or_default();
        *group = group.plus(counted);
        Ok(())
    }

    /// The first and the last day of the export, if it has any.
    pub fn days(&self) -> Option<(&str, &str)> {
        let (first, last) = (self.groups.first_key_value()?, self.groups.last_key_value()?);
        Some((&first.0.0, &last.0.0))
    }
}
