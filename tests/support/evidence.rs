//! The mock's log, read on as it grows: what was asked for, in which order, and what came of it.
//!
//! The log is one file that the mock appends to, so the place of a line in it is the clock of all judgements: what
//! stands before a cut had ended before the next process began.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

/// A task: its request's index and its own.
pub(crate) type Mark = (usize, usize);

/// Of a prompt without one: it asks for a better answer to the prompt before it, or for nothing that was wanted.
pub(crate) const NO_MARK: Mark = (usize::MAX, usize::MAX);

/// The mark of a prompt. It stands last there: what was asked before has marks of its own.
fn mark(prompt: &str) -> Option<Mark> {
    let (before, _) = prompt.rsplit_once("> Subject ")?;
    let (_, mark) = before.rsplit_once('<')?;
    let (request, task) = mark.split_once('.')?;
    Some((request.parse().ok()?, task.parse().ok()?))
}

/// One call as the mock saw it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The mock numbers its calls.
    pub(crate) n: u64,
    /// The last message of the user, whole.
    pub(crate) question: Arc<str>,
    pub(crate) mark: Mark,
    /// The beginning of the prompt's digest; the answer quotes it.
    pub(crate) digest: String,
    /// The model that was asked for.
    pub(crate) model: String,
    /// The beginning of the digest of the key that it came with.
    pub(crate) key: Option<String>,
    /// Which process made it, from 0.
    pub(crate) life: usize,
    /// The line of the log where it begins.
    pub(crate) began: usize,
    /// When that was, in Unix milliseconds.
    pub(crate) began_ms: i64,
    /// The line of the log where it ends, and how. A mock that was killed leaves calls without an end.
    pub(crate) end: Option<End>,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) at: usize,
    /// When that was, in Unix milliseconds.
    pub(crate) at_ms: i64,
    pub(crate) outcome: String,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
}

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its answer was handed over whole.
    Answered,
    /// It went wrong as it was injected.
    Fault,
    /// The client left before the answer was whole, or the mock died with it.
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
    /// The beginning of a line whose rest is not there yet.
    rest: Vec<u8>,
    lines: usize,
    life: usize,
    calls: BTreeMap<u64, Call>,
    /// Tasks that have an answer.
    answered: BTreeSet<Mark>,
    /// Calls that were answered whole.
    good: usize,
    /// Calls whose prompts have no mark.
    unmarked: usize,
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
        }
    }

    /// Reads what was added.
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

    /// The calls of tasks so far, in the order of their lines.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let mut calls = self.every_call();
        calls.retain(|call| call.mark != NO_MARK);
        calls
    }

    /// Those whose prompts have no mark too.
    pub(crate) fn every_call(&self) -> Vec<Call> {
        let mut calls: Vec<Call> = self.calls.values().cloned().collect();
        calls.sort_by_key(|call| call.began);
        calls
    }

    /// Calls that began.
    pub(crate) fn count(&self) -> usize {
        self.calls.len()
    }

    /// Calls whose prompts have no mark.
    pub(crate) fn unmarked(&self) -> usize {
        self.unmarked
    }

    /// Calls that have ended.
    pub(crate) fn whole(&self) -> bool {
        self.calls.values().all(|call| call.end.is_some())
    }

    /// Tasks that have an answer.
    pub(crate) fn answered(&self) -> usize {
        self.answered.len()
    }

    /// Calls that were answered whole.
    pub(crate) fn good(&self) -> usize {
        self.good
    }

    /// Lines so far: they grow as long as anything goes on.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    /// The process is dead and the mock at rest: what comes now is the next one's.
    pub(crate) fn cut(&mut self) {
        self.life += 1;
    }
}

/// The digests that the answers in a text quote, in their order.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split("[mock ").skip(1).filter_map(|rest| rest.get(..8))
}
