//! `--summary-json FILE`: the outcome of an invocation, written once at its end.
//!
//! The file is written beside its place and renamed, so that a reader sees the old summary or the new one. A file that
//! holds something else is never replaced.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Map, Value};

use super::exit::{Exit, decided};
use super::outputs;
use crate::clock;
use crate::config::Config;
use crate::engine::{Input, Output, Target};
use crate::observe::{SUMMARY_BEGINS, summary_text};
use crate::sink::Existing;

/// A summary file that can be written.
pub(super) struct SummaryFile {
    path: PathBuf,
    started_at: i64,
}

impl SummaryFile {
    /// Checks that the file can be written, before anything is spent. Nothing is changed.
    pub(super) fn prepare(path: &Path, config: &Config, input: &Input, written: &[Output]) -> Result<Self> {
        if path.as_os_str() == "-" {
            let message = "`--summary-json` needs a file, because standard output carries results";
            return Err(decided(Exit::Usage, message));
        }
        refuse_other_content(path)?;
        let path = outputs::file(path, "--summary-json", config, input)?;
        let target = Target::File {
            path: path.clone(),
            existing: Existing::Refuse,
        };
        if written
            .iter()
            .any(|output| outputs::same(&output.target, &target))
        {
            let message = "`--summary-json` names the same place as another output (give another file)";
            return Err(decided(Exit::Usage, message));
        }
        let file = Self {
            path,
            started_at: clock::now_ms(),
        };
        file.beside().map_err(|error| file.unwritable(&error))?;
        Ok(file)
    }

    /// Writes the summary in place of an earlier one.
    pub(super) fn write(&self, mut fields: Map<String, Value>) -> Result<()> {
        fields.insert("started_at".to_owned(), clock::rfc3339(self.started_at).into());
        fields.insert("completed_at".to_owned(), clock::rfc3339(clock::now_ms()).into());
        refuse_other_content(&self.path)?;
        self.replace(&summary_text(&fields))
            .map_err(|error| self.unwritable(&error))
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let mut file = self.beside()?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }

    /// A new file in the same folder. It is removed unless it is renamed.
    fn beside(&self) -> io::Result<tempfile::NamedTempFile> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        tempfile::Builder::new()
            .prefix(".nova3-summary-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(folder)
    }

    fn unwritable(&self, error: &io::Error) -> anyhow::Error {
        let path = self.path.display();
        decided(
            Exit::Output,
            format!("summary file `{path}` cannot be written: {error}"),
        )
    }
}

/// Refuses a link, a folder, a device, and a file that is no summary.
fn refuse_other_content(path: &Path) -> Result<()> {
    let refused = |what: &str| {
        let message = format!("summary file `{}` {what} (give another file)", path.display());
        Err(decided(Exit::Output, message))
    };
    // A file that cannot be looked at is reported when the new one is made beside it.
    let Ok(data) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if data.is_symlink() {
        return refused("is a link");
    }
    if !data.is_file() {
        return refused("is a folder or a device");
    }
    let mut begin = Vec::new();
    let read = File::open(path).and_then(|file| {
        let length = SUMMARY_BEGINS.len() as u64;
        file.take(length).read_to_end(&mut begin)
    });
    match read {
        Err(error) => refused(&format!("cannot be read: {error}")),
        Ok(0) => Ok(()),
        Ok(_) if begin == SUMMARY_BEGINS.as_bytes() => Ok(()),
        Ok(_) => refused("holds something else than a summary"),
    }
}
