//! The wire against what servers are documented to send; see `fixtures/llm/README.md`.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of a test fail the way a test does"
)]

mod chunk;
mod error;
mod plain;
mod request;
mod retry_after;
mod sse;

use std::path::Path;

use nova3::domain::failure::{Class, Verdict};
use nova3::domain::usage::Usage;
use nova3::llm::wire::{Answer, CallError, Collector, Decoder, Frame, Limits, SseError};

/// The bytes of a file under `fixtures/llm`.
fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/llm")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|fault| panic!("failed to read {}: {fault}", path.display()))
}

/// Every stream among the fixtures.
fn streams() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/llm");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("fixtures are there")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
        .filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "sse"))
        .collect();
    names.sort();
    names
}

/// Frames of bytes that arrive in the given pieces, and the error that ended them.
fn decode<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<SseError>) {
    let (mut decoder, mut frames) = (Decoder::new(limits), Vec::new());
    for piece in pieces {
        if let Err(fault) = decoder.push(piece, &mut frames) {
            return (frames, Some(fault));
        }
    }
    let fault = decoder.finish(&mut frames).err();
    (frames, fault)
}

/// What becomes of a stream that ends with these bytes.
fn answer(bytes: &[u8]) -> Result<Answer, CallError> {
    let (frames, fault) = decode(Limits::default(), [bytes]);
    let mut collector = Collector::new(1 << 20);
    for frame in &frames {
        collector.frame(frame)?;
    }
    fault.map_or_else(|| collector.end(), |fault| Err(fault.into()))
}

/// What a failure comes to.
fn fails(result: Result<Answer, CallError>) -> (Class, Verdict, Option<u16>, String) {
    let fault = result.expect_err("a failure");
    (fault.class, fault.verdict, fault.status, fault.message)
}

#[expect(clippy::unnecessary_wraps, reason = "every expectation is an option")]
fn usage(input: u64, cached: u64, output: u64) -> Option<Usage> {
    Some(Usage {
        input_tokens: input,
        cached_input_tokens: cached,
        output_tokens: output,
    })
}
