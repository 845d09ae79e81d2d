//! The call log: a record of all calls and searches that reached the server.
//!
//! Calls copy their lines into one buffer, and a separate thread writes the buffer to the file. A call therefore costs
//! a short copy and no system call. A line is in the file within a few milliseconds; `close` returns when all lines
//! are. A full buffer makes callers wait, because tests rely on a log without gaps.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The size of a full buffer in bytes. It is reached only if the disk is too slow.
const FULL: usize = 16 << 20;
/// Lines of this time share one write, so that the writer needs little CPU at high rates.
const GATHER: Duration = Duration::from_millis(2);

/// The line of a call that arrived.
#[derive(Serialize)]
pub(crate) struct Start<'a> {
    pub(crate) t_ms: i64,
    pub(crate) n: u64,
    pub(crate) event: &'static str,
    pub(crate) prompt: Option<&'a str>,
    pub(crate) custom: Option<&'a RawValue>,
    pub(crate) model: &'a str,
    pub(crate) key: Option<&'a str>,
    pub(crate) user: &'a str,
    pub(crate) stream: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) fields: &'a BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: &'a BTreeMap<String, String>,
}

/// The line of a call that ended.
#[derive(Serialize)]
pub(crate) struct CallEnded<'a> {
    pub(crate) t_ms: i64,
    pub(crate) n: u64,
    pub(crate) event: &'static str,
    pub(crate) prompt: Option<&'a str>,
    pub(crate) outcome: &'static str,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
}

/// The line of a search, written when it arrives. `outcome` is the planned one.
#[derive(Serialize)]
pub(crate) struct SearchLine<'a> {
    pub(crate) t_ms: i64,
    pub(crate) n: u64,
    pub(crate) event: &'static str,
    pub(crate) query: &'a str,
    pub(crate) limit: usize,
    pub(crate) outcome: &'static str,
}

/// An open log. Dropping it writes the rest too, but does not wait until it is written.
pub(crate) struct CallLog {
    inbox: Arc<Inbox>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Inbox {
    state: Mutex<LogState>,
    /// Wakes the writer when the buffer is no longer empty or the log closes.
    filled: Condvar,
    /// Wakes callers that wait because the buffer was full.
    drained: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<u8>,
    closed: bool,
    error: Option<String>,
}

impl CallLog {
    /// Opens the file for appending and starts the writer.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let inbox = Arc::new(Inbox::default());
        let theirs = Arc::clone(&inbox);
        let writer = thread::Builder::new()
            .name("mock-log".into())
            .spawn(move || theirs.write_out(file))?;
        Ok(Self {
            inbox,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Appends a line.
    pub(crate) fn push(&self, line: &impl Serialize) {
        let mut bytes = Vec::with_capacity(512);
        if serde_json::to_writer(&mut bytes, line).is_ok() {
            bytes.push(b'\n');
            self.inbox.append(&bytes);
        }
    }

    /// Returns the error that lost lines, if the file could not be written.
    pub(crate) fn error(&self) -> Option<String> {
        self.inbox.lock().error.clone()
    }

    /// Blocks until every line is written to the operating system.
    pub(crate) fn close(&self) {
        self.inbox.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // An error means that the writer panicked. Its lines are lost, and the server ends anyway.
            let _ = writer.join();
        }
    }
}

impl Drop for CallLog {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, bytes: &[u8]) {
        let mut state = self.lock();
        while state.lines.len() > FULL && !state.closed {
            state = self.drained.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.lines.is_empty() {
            self.filled.notify_one();
        }
        state.lines.extend_from_slice(bytes);
    }

    fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
        self.drained.notify_all();
    }

    fn write_out(&self, mut file: File) {
        let mut batch = Vec::new();
        loop {
            let mut state = self.lock();
            while state.lines.is_empty() && !state.closed {
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.lines.is_empty() {
                return;
            }
            std::mem::swap(&mut batch, &mut state.lines);
            let closing = state.closed;
            drop(state);
            self.drained.notify_all();
            if let Err(error) = file.write_all(&batch) {
                self.lock().error.get_or_insert_with(|| error.to_string());
            }
            batch.clear();
            if !closing {
                thread::sleep(GATHER);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("calls.jsonl");
        for first in [0, 500] {
            let log = CallLog::open(&path).expect("the log opens");
            for n in first..first + 500 {
                let prompt = Some("ab");
                let end = CallEnded {
                    t_ms: 5,
                    n,
                    event: "end",
                    prompt,
                    outcome: "ok",
                    input_tokens: 1,
                    output_tokens: 2,
                };
                log.push(&end);
            }
            log.close();
            assert_eq!(log.error(), None);
        }
        let text = std::fs::read_to_string(&path).expect("the log is there");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1000);
        assert_eq!(
            lines[999],
            r#"{"t_ms":5,"n":999,"event":"end","prompt":"ab","outcome":"ok","input_tokens":1,"output_tokens":2}"#
        );
    }
}
