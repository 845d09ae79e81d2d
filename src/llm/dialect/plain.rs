//! An answer that came without streaming.

use serde_json::Value;

use super::incoming::Incoming;
use super::{anthropic, openai};
use crate::config::Dialect;
use crate::llm::response::Answer;
use crate::llm::wire::error::{self, CallError};
use crate::llm::wire::sse::StreamLimits;

/// Reads the body of an HTTP 200 whose content type is not an event stream.
///
/// The transport has already bounded the body, which is in memory. `DeepSeek` sends blank lines in front as keep-alive
/// while the request waits in its queue. A body that is an event stream is read as one, because some gateways send a
/// wrong content type.
pub fn plain(dialect: Dialect, body: &[u8]) -> Result<Answer, CallError> {
    let body = trimmed(body);
    if is_stream(body) {
        return stream(dialect, body).map(|(answer, _)| answer);
    }
    let json = text(body)?;
    match dialect {
        Dialect::OpenAi => openai::Collector::new(usize::MAX).whole(json),
        Dialect::Anthropic => anthropic::Collector::new(usize::MAX).whole(json),
    }
}

pub(super) fn trimmed(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii()
}

pub(super) fn is_stream(body: &[u8]) -> bool {
    [&b"data:"[..], b"event:", b":"]
        .iter()
        .any(|start| body.starts_with(start))
}

pub(super) fn text(body: &[u8]) -> Result<&str, CallError> {
    std::str::from_utf8(body).map_err(|_| error::in_band(&String::from_utf8_lossy(body)))
}

/// Reads a whole stream. Returns the answer, and the object that an OpenAI stream stands for.
pub(super) fn stream(dialect: Dialect, body: &[u8]) -> Result<(Answer, Option<Value>), CallError> {
    let limits = StreamLimits {
        event_bytes: usize::MAX,
        stream_bytes: usize::MAX,
    };
    let mut incoming = Incoming::new(dialect, limits, usize::MAX).assembling(usize::MAX);
    incoming.push(body)?;
    incoming.end_with_object()
}
