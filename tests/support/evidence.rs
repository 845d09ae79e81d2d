//! The mock's log, read as it grows: the calls, their order and their results.
//!
//! The log is one file that the mock appends to, so the place of a line is the clock of all verdicts: a call whose end
//! stands before a cut had ended before the next process began.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

/// A task: the index of its request and its own index.
pub(crate) type Mark = (usize, usize);

/// The mark of a prompt without one: it asks for a better answer to the prompt before, or for nothing that the test
/// wants.
pub(crate) const NO_MARK: Mark = (usize::MAX, usize::MAX);

/// Returns the mark of a prompt. It is the last one there: earlier tasks in the prompt have marks of their own.
fn mark(prompt: &str) -> Option<Mark> {
    let (before, _) = prompt.rsplit_once("> Subject ")?;
    let (_, mark) = before.rsplit_once('<')?;
    let (request, task) = mark.split_once('.')?;
    Some((request.parse().ok()?, task.parse().ok()?))
}

/// One call as the mock saw it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The mock's number of the call.
    pub(crate) n: u64,
    /// The last message of the user, whole.
    pub(crate) question: Arc<str>,
    pub(crate) mark: Mark,
    /// The beginning of the prompt's digest; the answer quotes it.
    pub(crate) digest: String,
    /// The requested model.
    pub(crate) model: String,
    /// The beginning of the digest of its key.
    pub(crate) key: Option<String>,
    /// The process that made it, from 0.
    pub(crate) life: usize,
    /// The line of the log where it begins.
    pub(crate) began: usize,
    /// The time of that line, in Unix milliseconds.
    pub(crate) began_ms: i64,
    /// The line of the log where it ends, and how it ended. A mock that was killed leaves calls without an end.
    pub(crate) end: Option<End>,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) at: usize,
    /// The time of that line, in Unix milliseconds.
    pub(crate) at_ms: i64,
    pub(crate) outcome: String,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
}

/// The result of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The whole answer was sent.
    Answered,
    /// The injected fault occurred.
    Fault,
    /// The client left before the answer was complete, or the mock was killed.
    Gone,
}

impl Call {
    pub(crate) fn fate(&self) -> Fate {
        match self.end.as_ref().map(|end| end.outcome.as_str()) {
            Some("ok") => Fate::Answered,
            Some("client_gone") | None => Fate::Gone,
            Some(_) => Fate::Fault,
        }
    }

    /// The tokens that were paid.
    pub(crate) fn tokens(&self) -> (u64, u64) {
        self.end
            .as_ref()
            .map_or((0, 0), |end| (end.input_tokens, end.output_tokens))
    }
}

/// A line of the log.
#[derive(Deserialize)]
struct Line<'a> {
    n: u64,
    t_ms: i64,
    event: &'a str,
    prompt: Option<&'a str>,
    #[serde(default)]
    model: String,
    #[serde(default)]
    key: Option<&'a str>,
    #[serde(default)]
    user: String,
    /// The words of a search.
    #[serde(default)]
    query: String,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
}

/// The log of one mock, as far as it was read.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    offset: u64,
    /// The beginning of an incomplete line.
    rest: Vec<u8>,
    lines: usize,
    life: usize,
    calls: BTreeMap<u64, Call>,
    /// Tasks that have an answer.
    answered: BTreeSet<Mark>,
    /// Calls that got their whole answer.
    good: usize,
    /// Calls whose prompts have no mark.
    unmarked: usize,
    /// The queries of all searches, in the order of their lines.
    queries: Vec<String>,
}

impl Log {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            offset: 0,
            rest: Vec::new(),
            lines: 0,
            life: 0,
            calls: BTreeMap::new(),
            answered: BTreeSet::new(),
            good: 0,
            unmarked: 0,
            queries: Vec::new(),
        }
    }

    /// Reads the lines that were added.
    pub(crate) fn read_on(&mut self) {
        let Ok(mut file) = File::open(&self.path) else {
            return;
        };
        file.seek(SeekFrom::Start(self.offset))
            .expect("the log can be read");
        let read = file.read_to_end(&mut self.rest).expect("the log can be read");
        self.offset += read as u64;
        let Some(whole) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return;
        };
        let rest = self.rest.split_off(whole + 1);
        let lines = std::mem::replace(&mut self.rest, rest);
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.note(serde_json::from_slice(line).expect("the mock writes JSON"));
        }
    }

    fn note(&mut self, line: Line<'_>) {
        self.lines += 1;
        if line.event == "start" {
            let mark = mark(&line.user);
            let call = Call {
                n: line.n,
                question: line.user.into(),
                mark: mark.unwrap_or(NO_MARK),
                digest: line.prompt.expect("a call has a prompt")[..8].to_owned(),
                model: line.model,
                key: line.key.map(str::to_owned),
                life: self.life,
                began: self.lines,
                began_ms: line.t_ms,
                end: None,
            };
            self.unmarked += usize::from(mark.is_none());
            self.calls.insert(line.n, call);
        } else if line.event == "search" {
            self.queries.push(line.query);
        } else if let Some(call) = self.calls.get_mut(&line.n) {
            call.end = Some(End {
                at: self.lines,
                at_ms: line.t_ms,
                outcome: line.outcome,
                input_tokens: line.input_tokens,
                output_tokens: line.output_tokens,
            });
            if call.fate() == Fate::Answered {
                self.good += 1;
                self.answered.insert(call.mark);
            }
        }
    }

    /// Returns the calls of tasks so far, in the order of their lines.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let mut calls = self.every_call();
        calls.retain(|call| call.mark != NO_MARK);
        calls
    }

    /// Returns all calls so far, including those whose prompts have no mark.
    pub(crate) fn every_call(&self) -> Vec<Call> {
        let mut calls: Vec<Call> = self.calls.values().cloned().collect();
        calls.sort_by_key(|call| call.began);
        calls
    }

    /// The number of calls that began.
    pub(crate) fn count(&self) -> usize {
        self.calls.len()
    }

    /// The number of calls whose prompts have no mark.
    pub(crate) fn unmarked(&self) -> usize {
        self.unmarked
    }

    /// The queries of all searches so far, in the order of their arrival.
    pub(crate) fn queries(&self) -> &[String] {
        &self.queries
    }

    /// Whether all calls have ended.
    pub(crate) fn whole(&self) -> bool {
        self.calls.values().all(|call| call.end.is_some())
    }

    /// The number of tasks that have an answer.
    pub(crate) fn answered(&self) -> usize {
        self.answered.len()
    }

    /// The number of calls that got their whole answer.
    pub(crate) fn good(&self) -> usize {
        self.good
    }

    /// The number of lines so far; it grows while calls begin or end.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    /// Marks the end of a process while the mock is idle: later lines belong to the next process.
    pub(crate) fn cut(&mut self) {
        self.life += 1;
    }
}

/// Returns the digests that the answers in a text quote, in their order.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split("[mock ").skip(1).filter_map(|rest| rest.get(..8))
}
