//! The result file, checked after each kill and read completely at the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::work;

/// The observed state of a result file.
#[derive(Debug)]
pub(crate) struct Output {
    path: PathBuf,
    /// Its complete lines at the last check.
    settled: Vec<u8>,
    /// The process after which the line of each request was first seen.
    pub(crate) seen: BTreeMap<usize, usize>,
    /// Faults found at a check.
    pub(crate) faults: Vec<String>,
    pub(crate) looks: usize,
    /// Checks that found a torn last line. A kill may leave one, and the next start cuts it off.
    pub(crate) torn: usize,
    /// Checks that found fewer lines than before: a start had cut off the announced lines, and was killed.
    pub(crate) taken_back: usize,
}

impl Output {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            settled: Vec::new(),
            seen: BTreeMap::new(),
            faults: Vec::new(),
            looks: 0,
            torn: 0,
            taken_back: 0,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its present length.
    pub(crate) fn length(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |data| data.len())
    }

    /// Checks the file after the end of a process. `clean` means that the process was not killed; then even the last
    /// line must be complete.
    pub(crate) fn look(&mut self, life: usize, clean: bool) {
        self.looks += 1;
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        if whole < bytes.len() {
            self.torn += 1;
            if clean {
                self.faults.push(format!(
                    "after life {life}, which was not killed, the last line is torn"
                ));
            }
        }
        if !clean && self.settled.starts_with(&bytes[..whole]) {
            // A start cuts off announced lines, complete ones too, and this process was killed before it wrote them
            // again.
            self.taken_back += usize::from(whole < self.settled.len());
            return;
        }
        if !bytes[..whole].starts_with(&self.settled) {
            self.faults.push(format!(
                "after life {life} lines that stood there have changed or are gone"
            ));
            self.settled.clear();
            self.seen.clear();
        }
        for line in bytes[self.settled.len()..whole]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            match serde_json::from_slice::<Value>(line) {
                Ok(value) => {
                    let request = value["custom_id"].as_str().and_then(work::request);
                    // The end of the test finds repeated and unknown requests.
                    if let Some(request) = request {
                        self.seen.entry(request).or_insert(life);
                    }
                }
                Err(fault) => self
                    .faults
                    .push(format!("after life {life} a line is not JSON: {fault}")),
            }
        }
        self.settled = bytes[..whole].to_vec();
    }

    /// Returns all complete lines.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self
            .settled
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }
}
