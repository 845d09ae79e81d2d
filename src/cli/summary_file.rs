//! `--summary-json FILE`: the outcome of an invocation, written once at its end.

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value};

use super::whole_file::{WholeFile, WholeFileKind};
use crate::clock;
use crate::config::Config;
use crate::engine::{Input, Output};
use crate::observe::{SUMMARY_BEGINS, summary_text};

const KIND: WholeFileKind = WholeFileKind {
    flag: "--summary-json",
    what: "summary file",
    content: "a summary",
    begins: SUMMARY_BEGINS,
    prefix: ".nova3-summary-",
    mode: None,
};

/// A summary file that can be written.
pub(super) struct SummaryFile {
    file: WholeFile,
    started_at: i64,
}

impl SummaryFile {
    /// Checks that the file can be written, before anything is spent. Nothing is changed.
    pub(super) fn prepare(path: &Path, config: &Config, input: &Input, written: &[Output]) -> Result<Self> {
        Ok(Self {
            file: WholeFile::prepare(KIND, path, config, input, written)?,
            started_at: clock::now_ms(),
        })
    }

    /// The absolute path of the file.
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Writes the summary in place of an earlier one.
    pub(super) fn write(&self, mut fields: Map<String, Value>) -> Result<()> {
        fields.insert("started_at".to_owned(), clock::rfc3339(self.started_at).into());
        fields.insert("completed_at".to_owned(), clock::rfc3339(clock::now_ms()).into());
        self.file.write(&summary_text(&fields))
    }
}
