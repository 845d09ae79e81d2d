//! An answer that came without streaming.

use super::answer::Answer;
use super::chunk::Collector;
use super::error::{self, CallError};
use super::incoming::Incoming;
use super::sse::Limits;

/// Reads the body of an HTTP 200 whose content type is not an event stream.
///
/// Its bound is the transport's: the body is in memory already. Blank lines in front are `DeepSeek`'s
/// keep-alive while the request waits its turn. A body that is an event stream after all is read as one,
/// since some gateways mislabel what they pass on.
pub fn plain(body: &[u8]) -> Result<Answer, CallError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    if [&b"data:"[..], b"event:", b":"]
        .iter()
        .any(|start| body.starts_with(start))
    {
        return stream(body);
    }
    let json = std::str::from_utf8(body).map_err(|_| error::in_band(&String::from_utf8_lossy(body)))?;
    Collector::new(usize::MAX).whole(json)
}

fn stream(body: &[u8]) -> Result<Answer, CallError> {
    let limits = Limits {
        event_bytes: usize::MAX,
        stream_bytes: usize::MAX,
    };
    let mut incoming = Incoming::new(limits, usize::MAX);
    incoming.push(body)?;
    incoming.end()
}
