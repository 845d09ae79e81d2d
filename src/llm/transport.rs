//! One HTTP exchange: bytes out, a judged answer back, under four timeouts.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use super::client::{Ask, Form, Reply, Verbatim};
use super::wire::{self, Answer, CallError, Collector, Decoder, Limits, Progress};
use crate::clock;
use crate::config::{Route, Timeouts};
use crate::domain::failure::{Class, Verdict};
use crate::domain::usage::Usage;

/// An answer of more bytes is refused: nobody reads it, and a thousand of them would end the process.
const MAX_BODY: usize = 64 << 20;

/// Of an error's body, more than this tells nothing.
const MAX_ERROR_BODY: usize = 1 << 20;

/// What a server may take to close a stream after its last event, before the connection is given up.
const LINGER: Duration = Duration::from_millis(50);

/// How long a route pauses when this machine has no descriptor or port left for a connection.
const LOCAL_PAUSE: Duration = Duration::from_secs(1);

/// A good exchange.
pub(super) struct Got {
    pub(super) reply: Reply,
    pub(super) status: u16,
    pub(super) usage: Usage,
    pub(super) first_token: Option<Duration>,
}

/// A bad one.
pub(super) struct Failed {
    pub(super) error: CallError,
    /// The HTTP error as it came, for a Batch line.
    pub(super) response: Option<Verbatim>,
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self {
            error,
            response: None,
        }
    }
}

/// Sends the request and reads the answer to its end. Dropping the future closes the connection.
pub(super) async fn send(
    client: &reqwest::Client,
    route: &Route,
    ask: &Ask,
    timeouts: &Timeouts,
) -> Result<Got, Failed> {
    let started = Instant::now();
    let total = started + timeouts.total;
    timeout_at(total, exchange(client, route, ask, timeouts, started))
        .await
        .unwrap_or_else(|_| {
            Err(failed(
                Class::Timeout,
                &format!("the call took longer than {:?} (`--timeout`)", timeouts.total),
            ))
        })
}

async fn exchange(
    client: &reqwest::Client,
    route: &Route,
    ask: &Ask,
    timeouts: &Timeouts,
    started: Instant,
) -> Result<Got, Failed> {
    let mut request = client
        .post(route.endpoint.clone())
        .header(CONTENT_TYPE, "application/json");
    if let Some(key) = &route.key {
        let mut value = reqwest::header::HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))
            .map_err(|_| failed(Class::Auth, "the key cannot be sent in a header"))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let streams = ask.form.streams();
    if streams {
        request = request.header(ACCEPT, "text/event-stream");
    }
    let sending = request.body(ask.body.clone()).send();
    // Headers belong to the wait for the first data of a stream; an unstreamed call may take its whole time.
    let response = if streams {
        timeout_at(started + timeouts.first_token, sending)
            .await
            .map_err(|_| first_token_late(timeouts))?
    } else {
        sending.await
    };
    let response = response.map_err(|error| unreachable(&error, timeouts))?;
    let status = response.status();
    if status != StatusCode::OK {
        return Err(refused(response, ask, timeouts).await);
    }
    if streams && !is_json(response.headers()) {
        read_stream(response, ask, timeouts, started).await
    } else {
        read_plain(response, ask, timeouts).await
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().contains("application/json"))
}

async fn read_stream(
    mut response: Response,
    ask: &Ask,
    timeouts: &Timeouts,
    started: Instant,
) -> Result<Got, Failed> {
    let request_id = request_id(response.headers());
    // Headers are slices of the connection's first buffer, which could not be used again for as long as they live.
    response.headers_mut().clear();
    let mut decoder = Decoder::new(Limits::default());
    let mut collector = Collector::new(MAX_BODY);
    let mut frames = Vec::new();
    let mut deadline = started + timeouts.first_token;
    let mut first_token = None;
    let mut done = false;
    loop {
        let chunk = timeout_at(deadline, response.chunk()).await;
        let chunk = match chunk {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => break,
            // After `[DONE]` nothing more can be lost.
            Ok(Err(_)) | Err(_) if done => break,
            Ok(Err(error)) => return Err(cut(&error)),
            Err(_) if first_token.is_none() => return Err(first_token_late(timeouts)),
            Err(_) => return Err(stalled(timeouts)),
        };
        decoder.push(&chunk, &mut frames).map_err(CallError::from)?;
        for frame in frames.drain(..) {
            match collector.frame(&frame)? {
                Progress::Quiet => {}
                Progress::Data => {
                    if first_token.is_none() && collector.first_token_seen() {
                        first_token = Some(started.elapsed());
                    }
                    // Comments and empty frames do not count: a server that only keeps the line warm has stalled.
                    if first_token.is_some() {
                        deadline = Instant::now() + timeouts.idle;
                    }
                }
                Progress::Done => {
                    done = true;
                    deadline = Instant::now() + LINGER;
                }
            }
        }
    }
    decoder.finish(&mut frames).map_err(CallError::from)?;
    for frame in &frames {
        collector.frame(frame)?;
    }
    let answer = collector.end()?;
    let usage = answer.usage.unwrap_or_default();
    let reply = match ask.form {
        Form::Verbatim { .. } => Reply::Verbatim(Verbatim {
            status: 200,
            request_id,
            body: completion_object(&answer).map_err(|error| failed(Class::Internal, &error.to_string()))?,
        }),
        Form::Agent => Reply::Answer(answer),
    };
    Ok(Got {
        reply,
        status: 200,
        usage,
        first_token,
    })
}

async fn read_plain(response: Response, ask: &Ask, timeouts: &Timeouts) -> Result<Got, Failed> {
    let request_id = request_id(response.headers());
    let body = read_body(response, MAX_BODY, timeouts).await?;
    let answer = wire::plain(&body)?;
    let usage = answer.usage.unwrap_or_default();
    let reply = match ask.form {
        Form::Verbatim { .. } => Reply::Verbatim(Verbatim {
            status: 200,
            request_id,
            body: one_line(&body),
        }),
        Form::Agent => Reply::Answer(answer),
    };
    Ok(Got {
        reply,
        status: 200,
        usage,
        first_token: None,
    })
}

/// An HTTP error: judged, and kept as it came for a Batch line.
async fn refused(response: Response, ask: &Ask, timeouts: &Timeouts) -> Failed {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let request_id = request_id(&headers);
    let body = read_body(response, MAX_ERROR_BODY, timeouts)
        .await
        .unwrap_or_default();
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let now: Timestamp = clock::now();
    let error = wire::classify(status, &header, &body, now);
    let verbatim = matches!(ask.form, Form::Verbatim { .. });
    let response = verbatim.then(|| Verbatim {
        status,
        request_id,
        body: one_line(&body),
    });
    Failed { error, response }
}

async fn read_body(mut response: Response, limit: usize, timeouts: &Timeouts) -> Result<Bytes, Failed> {
    let mut whole: Option<Bytes> = None;
    let mut parts: Vec<u8> = Vec::new();
    loop {
        // The body has begun with its headers; from here on silence is a stall.
        let chunk = tokio::time::timeout(timeouts.idle, response.chunk())
            .await
            .map_err(|_| stalled(timeouts))?
            .map_err(|error| cut(&error))?;
        let Some(chunk) = chunk else { break };
        if parts.len() + chunk.len() + whole.as_ref().map_or(0, Bytes::len) > limit {
            return Err(failed(
                Class::Server,
                &format!("the answer is larger than {limit} bytes"),
            ));
        }
        match whole.take() {
            None if parts.is_empty() => whole = Some(chunk),
            first => {
                parts.extend_from_slice(&first.unwrap_or_default());
                parts.extend_from_slice(&chunk);
            }
        }
    }
    Ok(whole.unwrap_or_else(|| Bytes::from(parts)))
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    headers
        .get("x-request-id")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

/// A body as one line of JSON: as it came, without line ends between its parts; what is no JSON becomes a string.
fn one_line(body: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let single = if text.contains(['\n', '\r']) {
        without_line_ends(text)
    } else {
        text.to_owned()
    };
    RawValue::from_string(single)
        .or_else(|_| serde_json::value::to_raw_value(text))
        .unwrap_or_default()
}

/// Line ends can stand in JSON only between its parts: inside a string they are escaped.
fn without_line_ends(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// The object that the call would have answered without streaming.
fn completion_object(answer: &Answer) -> Result<Box<RawValue>, serde_json::Error> {
    let usage = answer.usage.map(|usage| {
        serde_json::json!({
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total(),
            "prompt_tokens_details": { "cached_tokens": usage.cached_input_tokens },
        })
    });
    serde_json::value::to_raw_value(&serde_json::json!({
        "id": answer.id,
        "object": "chat.completion",
        "model": answer.model,
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": answer.text, "refusal": answer.refusal },
            "finish_reason": answer.finish_reason,
        }],
        "usage": usage,
    }))
}

fn failed(class: Class, message: &str) -> Failed {
    CallError::new(class, Verdict::Retry, message).into()
}

fn first_token_late(timeouts: &Timeouts) -> Failed {
    let message = format!(
        "no data came within {:?} (`--first-token-timeout`)",
        timeouts.first_token.min(timeouts.total)
    );
    failed(Class::Timeout, &message)
}

fn stalled(timeouts: &Timeouts) -> Failed {
    failed(
        Class::Stalled,
        &format!("the answer stopped for {:?} (`--idle-timeout`)", timeouts.idle),
    )
}

fn cut(error: &reqwest::Error) -> Failed {
    failed(
        Class::Network,
        &format!(
            "the connection broke in the middle of the answer: {}",
            root(error)
        ),
    )
}

fn unreachable(error: &reqwest::Error, timeouts: &Timeouts) -> Failed {
    if error.is_timeout() && error.is_connect() {
        return failed(
            Class::Timeout,
            &format!("no connection within {:?}", timeouts.connect),
        );
    }
    let what = if error.is_connect() {
        "connecting failed"
    } else {
        "sending the request failed"
    };
    let message = format!("{what}: {}", root(error));
    if is_local(error) {
        let mut error = CallError::new(Class::Network, Verdict::Pause, &message);
        error.retry_after = Some(LOCAL_PAUSE);
        return error.into();
    }
    failed(Class::Network, &message)
}

/// Whether this machine has no descriptor or no port left for a connection: it says nothing of the provider or
/// the request, and passes as other calls end.
fn is_local(error: &reqwest::Error) -> bool {
    use rustix::io::Errno;
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .filter_map(Errno::from_io_error)
        .any(|code| {
            matches!(
                code,
                Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOBUFS
            )
        })
}

/// The error and what lies behind it, the innermost cause last.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |cause| {
        cause.source()
    })
}

/// The innermost cause: reqwest's own text is only the address, which the route's name stands for.
fn root(error: &reqwest::Error) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_becomes_one_line_without_changing_what_it_says() {
        let pretty = b"\n\n{\n  \"a\": 1.50,\r\n  \"b\": \"x\\ny\"\n}\n";
        let line = one_line(pretty);
        assert_eq!(line.get(), r#"{ "a": 1.50, "b": "x\ny" }"#);
        assert_eq!(one_line(b"<html>\nno</html>").get(), "\"<html>\\nno</html>\"");
        assert_eq!(one_line(b"").get(), "\"\"");
    }
}
