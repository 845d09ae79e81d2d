//! Fixtures of streams, and the wire's results for them.

use std::path::{Path, PathBuf};

use nova3::config::Dialect;
use nova3::domain::failure::{Class, Verdict};
use nova3::domain::usage::Usage;
use nova3::llm::dialect::{self, Incoming};
use nova3::llm::wire::{Decoder, Frame, SseError, StreamLimits};
use nova3::llm::{Answer, CallError};

/// The bytes of a file under `fixtures/llm`.
pub(super) fn fixture(name: &str) -> Vec<u8> {
    let path = folder().join(name);
    std::fs::read(&path).unwrap_or_else(|fault| panic!("failed to read {}: {fault}", path.display()))
}

pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/llm")
}

/// The folder of what speaks Anthropic's dialect; the rest speaks OpenAI's.
const ANTHROPIC: &str = "anthropic/";

/// The dialect of a fixture.
pub(super) fn dialect_of(name: &str) -> Dialect {
    if name.starts_with(ANTHROPIC) {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

/// Every fixture of one kind: `sse` for streams, `http` for whole responses.
pub(super) fn fixtures(kind: &str) -> Vec<String> {
    ["", ANTHROPIC]
        .iter()
        .flat_map(|below| fixtures_below(below, kind))
        .collect()
}

fn fixtures_below(below: &str, kind: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder().join(below))
        .expect("fixtures are there")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
        .filter(|name| Path::new(name).extension().is_some_and(|found| found == kind))
        .map(|name| format!("{below}{name}"))
        .collect();
    names.sort();
    names
}

/// Every stream among the fixtures.
pub(super) fn streams() -> Vec<String> {
    fixtures("sse")
}

/// Returns the frames of bytes that arrive in the given pieces, and the error that ended them.
pub(super) fn decode<'a>(
    limits: StreamLimits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Frame>, Option<SseError>) {
    let (mut decoder, mut frames) = (Decoder::new(limits), Vec::new());
    for piece in pieces {
        if let Err(fault) = decoder.push(piece, &mut frames) {
            return (frames, Some(fault));
        }
    }
    let fault = decoder.finish(&mut frames).err();
    (frames, fault)
}

/// Returns the result of a stream of OpenAI's dialect that ends with these bytes.
pub(super) fn answer(bytes: &[u8]) -> Result<Answer, CallError> {
    arrived("", [bytes])
}

/// Returns the result of a stream that arrives in these pieces, in the dialect of this fixture.
pub(super) fn arrived<'a>(
    name: &str,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Answer, CallError> {
    arrived_within(name, StreamLimits::default(), pieces)
}

/// Returns the same, from a peer that may send no more than this.
pub(super) fn arrived_within<'a>(
    name: &str,
    limits: StreamLimits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Answer, CallError> {
    let mut incoming = Incoming::new(dialect_of(name), limits, 1 << 20);
    for piece in pieces {
        incoming.push(piece)?;
    }
    incoming.end()
}

/// Returns the result of a body that was not streamed.
pub(super) fn plain(body: &[u8]) -> Result<Answer, CallError> {
    dialect::plain(Dialect::OpenAi, body)
}

/// Returns the parts of an error.
pub(super) fn fails(result: Result<Answer, CallError>) -> (Class, Verdict, Option<u16>, String) {
    let fault = result.expect_err("a failure");
    (fault.class, fault.verdict, fault.status, fault.message)
}

#[expect(clippy::unnecessary_wraps, reason = "every expectation is an option")]
pub(super) fn usage(input: u64, cached: u64, output: u64) -> Option<Usage> {
    Some(Usage {
        input_tokens: input,
        cached_input_tokens: cached,
        cache_write_tokens: 0,
        output_tokens: output,
    })
}
