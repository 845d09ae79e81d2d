//! The table of server behaviour, row by row: the case, the recorded bytes, the result.
//!
//! Every file under `fixtures/llm` has at least one row.

mod anthropic;
mod chunks;
mod framing;
mod limits;
mod refusals;
mod servers;

use jiff::Timestamp;

use crate::wire::harness::{answer, arrived, dialect_of, fixture, fixtures, streams};
use nova3::config::Dialect;
use nova3::domain::failure::{Class, Verdict};
use nova3::domain::usage::Usage;
use nova3::llm::dialect::{classify, plain};
use nova3::llm::{Answer, CallError};

/// The case, the file, and the result.
type Row = (&'static str, &'static str, Result<Answer, Fault>);

/// Class, verdict, status, message.
type Fault = (Class, Verdict, Option<u16>, &'static str);

/// A whole HTTP response of a fixture: `STATUS LINE`, header lines, a blank line, the body.
pub(super) struct Recorded {
    dialect: Dialect,
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Recorded {
    pub(super) fn read(name: &str) -> Self {
        let bytes = fixture(name);
        let blank = bytes
            .windows(2)
            .position(|pair| pair == b"\n\n")
            .unwrap_or_else(|| panic!("{name} has no blank line after its headers"));
        let head = std::str::from_utf8(&bytes[..blank]).expect("headers are UTF-8");
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
            .unwrap_or_else(|| panic!("{name} has no status line"));
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").expect("a header has a value");
                (name.to_ascii_lowercase(), value.to_owned())
            })
            .collect();
        Self {
            dialect: dialect_of(name),
            status,
            headers,
            body: bytes[blank + 2..].to_vec(),
        }
    }

    pub(super) fn header(&self, asked: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(name, _)| name == asked)?;
        Some(value.clone())
    }

    /// Classifies an HTTP error.
    pub(super) fn judge(&self) -> CallError {
        classify(
            self.dialect,
            self.status,
            &|name| self.header(name),
            &self.body,
            now(),
        )
    }
}

/// The moment at which the recorded responses arrived, by their dates.
pub(super) fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().expect("a time")
}

/// Returns the result of a call for a fixture: streams are streamed, other HTTP 200 are read whole, the rest is
/// classified.
fn outcome(file: &str) -> Result<Answer, CallError> {
    let answer = if streams().iter().any(|stream| stream == file) {
        arrived(file, [&fixture(file)[..]])
    } else {
        let recorded = Recorded::read(file);
        match recorded.status {
            200 => plain(recorded.dialect, &recorded.body),
            _ => Err(recorded.judge()),
        }
    }?;
    answer.verdict_of_finish().map(|()| answer)
}

fn hold(rows: &[Row]) {
    for (case, file, expected) in rows {
        let got = outcome(file);
        let got = got
            .as_ref()
            .map_err(|fault| (fault.class, fault.verdict, fault.status, fault.message.as_str()));
        assert_eq!(got, expected.as_ref().map_err(|fault| *fault), "{case} ({file})");
    }
}

/// The answer of most fixtures, with this text.
fn said(text: &str) -> Answer {
    Answer {
        text: text.to_owned(),
        reasoning_chars: 0,
        reasoning: String::new(),
        refusal: None,
        finish_reason: "stop".to_owned(),
        reason_missing: false,
        usage: None,
        doubt: None,
        tier: None,
        model: Some("m-1".to_owned()),
        id: Some("chatcmpl-9".to_owned()),
        done_missing: false,
    }
}

/// The same from a server that named no finish reason.
fn unreasoned(text: &str) -> Answer {
    Answer {
        reason_missing: true,
        ..said(text)
    }
}

/// The same with a usage: prompt, cached part of it, answer.
fn billed(text: &str, input: u64, cached: u64, output: u64) -> Answer {
    Answer {
        usage: Some(Usage {
            input_tokens: input,
            cached_input_tokens: cached,
            cache_write_tokens: 0,
            output_tokens: output,
        }),
        ..said(text)
    }
}

/// The same with another finish reason.
fn ended(text: &str, reason: &str) -> Answer {
    Answer {
        finish_reason: reason.to_owned(),
        ..said(text)
    }
}

/// The same from a server that did not send `[DONE]`.
fn undone(answer: Answer) -> Answer {
    Answer {
        done_missing: true,
        ..answer
    }
}

#[test]
fn every_fixture_has_a_row() {
    let named: Vec<&str> = framing::rows()
        .iter()
        .chain(&chunks::rows())
        .chain(&servers::rows())
        .chain(&anthropic::rows())
        .map(|(_, file, _)| *file)
        .chain(refusals::rows().iter().map(|row| row.1))
        .chain(anthropic::refusals().iter().map(|row| row.1))
        .chain(limits::waits().iter().map(|row| row.1))
        .chain(limits::buckets().iter().map(|row| row.1))
        .collect();
    let orphans: Vec<String> = [fixtures("sse"), fixtures("http")]
        .concat()
        .into_iter()
        .filter(|file| !named.contains(&file.as_str()))
        .collect();
    assert_eq!(orphans, Vec::<String>::new());
}
