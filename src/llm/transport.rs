//! One HTTP exchange: bytes out, a judged answer back, under four timeouts.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap};
use reqwest::{Response, StatusCode};
use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout, timeout_at};

use super::answers::{Bounds, Share};
use super::client::{Ask, Client, Form, Reply, Verbatim};
use super::fault::{Failed, Reached, cut, failed, first_token_late, stalled, unreachable};
use super::mark::Marks;
use super::pieces::Pieces;
use super::sent::Sent;
use super::verbatim::{completion_object, one_line};
use super::wire::{self, Answer, Incoming, Progress, RateHeaders, Secrets};
use crate::clock;
use crate::config::{Route, Timeouts};
use crate::domain::failure::Class;
use crate::domain::usage::Usage;

/// Of an error's body, more than this tells nothing; the rest is not read.
const MAX_ERROR_BODY: usize = 256 << 10;

/// No key is longer.
const LONGEST_SECRET: usize = 8 << 10;

/// What a server may take to close a stream after its last event, before the connection is given up.
pub(super) const LINGER: Duration = Duration::from_millis(50);

/// A good exchange.
pub(super) struct Got {
    pub(super) reply: Reply,
    pub(super) status: u16,
    pub(super) bill: Bill,
    pub(super) first_token: Option<Duration>,
    pub(super) rate: RateHeaders,
}

/// What a server says that its answer used.
#[derive(Debug, Default)]
pub(super) struct Bill {
    /// Tokens, where it counted them and can be believed.
    pub(super) usage: Option<Usage>,
    /// Why its count is not believed.
    pub(super) doubt: Option<String>,
    /// The tier of service.
    pub(super) tier: Option<String>,
}

impl Bill {
    fn of(answer: &Answer) -> Self {
        Self {
            usage: answer.usage,
            doubt: answer.doubt.clone(),
            tier: answer.tier.clone(),
        }
    }
}

/// Sends the request and reads the answer to its end. Dropping the future closes the connection.
pub(super) async fn send(
    client: &Client,
    route: &Route,
    ask: &Ask,
    marks: Option<&dyn Marks>,
    sent: &Sent,
) -> Result<Got, Failed> {
    let (started, timeouts) = (Instant::now(), &client.timeouts);
    let total = started + timeouts.total;
    let got = timeout_at(total, exchange(client, route, ask, marks, started, sent))
        .await
        .unwrap_or_else(|_| {
            Err(failed(
                Class::Timeout,
                &format!("the call took longer than {:?} (`--timeout`)", timeouts.total),
            ))
        });
    got.map_err(|mut failed| {
        if !sent.has_begun() {
            failed.reached = Reached::Nobody;
        }
        failed
    })
}

async fn exchange(
    client: &Client,
    route: &Route,
    ask: &Ask,
    marks: Option<&dyn Marks>,
    started: Instant,
    sent: &Sent,
) -> Result<Got, Failed> {
    let timeouts = &client.timeouts;
    let mut request = client
        .http
        .of(route)
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
    let sending = request.body(sent.body(ask.body.clone())).send();
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
        return Err(refused(response, ask, timeouts, marks, &secrets(route)).await);
    }
    let mut room = Room {
        bounds: client.answers.bounds(ask),
        share: client.answers.share(),
        timeouts,
    };
    if streams && !is_json(response.headers()) {
        let pieces = Pieces::of(response, &mut room, marks, started).await;
        read_stream(pieces, ask, room, started, secrets(route)).await
    } else {
        read_plain(response, ask, room, marks, &secrets(route)).await
    }
}

/// From here on the process works on the answer.
async fn looked_at(marks: Option<&dyn Marks>) {
    if let Some(marks) = marks {
        marks.works().await;
    }
}

/// What an answer may take, in memory and in time.
pub(super) struct Room<'c> {
    pub(super) bounds: Bounds,
    pub(super) share: Share<'c>,
    pub(super) timeouts: &'c Timeouts,
}

fn secrets(route: &Route) -> Secrets {
    let key = route.key.as_ref().map(ExposeSecret::expose_secret);
    Secrets::of(key, &route.endpoint)
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().contains("application/json"))
}

async fn read_stream(
    mut pieces: Pieces,
    ask: &Ask,
    room: Room<'_>,
    started: Instant,
    secrets: Secrets,
) -> Result<Got, Failed> {
    let Room {
        bounds,
        mut share,
        timeouts,
    } = room;
    let headers = pieces.response.headers_mut();
    let (request_id, rate) = (request_id(headers, &secrets), rate_headers(headers));
    // Headers are slices of the connection's first buffer, which could not be used again for as long as they live.
    headers.clear();
    let mut incoming = Incoming::new(bounds.stream, bounds.text).hiding(secrets);
    let mut deadline = started + timeouts.first_token;
    let mut first_token = None;
    loop {
        let chunk = match pieces.next(deadline).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => break,
            // After the finish reason nothing more can be lost than a count of tokens.
            Ok(Err(_)) | Err(_) if incoming.is_complete() => break,
            Ok(Err(error)) => return Err(cut(&error)),
            Err(_) if first_token.is_none() => return Err(first_token_late(timeouts)),
            Err(_) => return Err(stalled(timeouts)),
        };
        let progress = incoming.push(&chunk)?;
        if first_token.is_none() && incoming.first_token_seen() {
            first_token = Some(started.elapsed());
        }
        match progress {
            // Comments and empty frames do not count: a server that only keeps the line warm has stalled.
            Progress::Quiet => {}
            Progress::Data if first_token.is_some() => deadline = Instant::now() + timeouts.idle,
            Progress::Data => {}
            Progress::Done => deadline = Instant::now() + LINGER,
        }
        if share.grow_to(incoming.held_bytes()).await {
            // The server was not read meanwhile, and has not stalled.
            deadline = deadline.max(Instant::now() + timeouts.idle);
        }
    }
    let answer = incoming.end()?;
    let bill = Bill::of(&answer);
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
        bill,
        first_token,
        rate,
    })
}

async fn read_plain(
    response: Response,
    ask: &Ask,
    mut room: Room<'_>,
    marks: Option<&dyn Marks>,
    secrets: &Secrets,
) -> Result<Got, Failed> {
    let headers = response.headers().clone();
    let body = read_body(response, &mut room).await?;
    looked_at(marks).await;
    let (request_id, rate) = (request_id(&headers, secrets), rate_headers(&headers));
    // What is no answer is judged again without secrets, for its words go into the error.
    let answer = wire::plain(&body).or_else(|_| wire::plain(&secrets.mask_body(&body)))?;
    let answer = answer.hiding(secrets);
    let bill = Bill::of(&answer);
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
        bill,
        first_token: None,
        rate,
    })
}

/// An HTTP error: judged, and kept as it came for a Batch line.
async fn refused(
    response: Response,
    ask: &Ask,
    timeouts: &Timeouts,
    marks: Option<&dyn Marks>,
    secrets: &Secrets,
) -> Failed {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = read_beginning(response, timeouts).await;
    looked_at(marks).await;
    let request_id = request_id(&headers, secrets);
    let body = secrets.mask_body(&body);
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let now = answered_at(&headers);
    let error = wire::classify(status, &header, &body, now);
    let verbatim = matches!(ask.form, Form::Verbatim { .. });
    let response = verbatim.then(|| Verbatim {
        status,
        request_id,
        body: one_line(&body),
    });
    Failed {
        error,
        response,
        // A gateway that ran out of time says nothing of what the server behind it did.
        reached: if matches!(status, 408 | 504 | 524) {
            Reached::Server
        } else {
            Reached::Refusal
        },
        rate: rate_headers(&headers),
    }
}

/// What the headers say of limits; most servers say nothing.
fn rate_headers(headers: &HeaderMap) -> RateHeaders {
    let told = headers.keys().any(|name| {
        name.as_str().starts_with("x-ratelimit-") || name.as_str().starts_with("anthropic-ratelimit-")
    });
    if !told {
        return RateHeaders::default();
    }
    let header = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    RateHeaders::read(&header, answered_at(headers))
}

/// The moment of the answer, by the clock of the server that names further moments in its headers.
fn answered_at(headers: &HeaderMap) -> Timestamp {
    let date = headers.get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    date.and_then(|date| Timestamp::try_from(date).ok())
        .unwrap_or_else(clock::now)
}

async fn read_body(mut response: Response, room: &mut Room<'_>) -> Result<Bytes, Failed> {
    let limit = room.bounds.body;
    let mut whole: Option<Bytes> = None;
    let mut parts: Vec<u8> = Vec::new();
    loop {
        // The body has begun with its headers; from here on silence is a stall.
        let chunk = timeout(room.timeouts.idle, response.chunk())
            .await
            .map_err(|_| stalled(room.timeouts))?
            .map_err(|error| cut(&error))?;
        let Some(chunk) = chunk else { break };
        let length = parts.len() + chunk.len() + whole.as_ref().map_or(0, Bytes::len);
        if length > limit {
            return Err(wire::too_long(&format!("the answer is larger than {limit} bytes")).into());
        }
        room.share.grow_to(length).await;
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

/// The beginning of an error's body, as far as it comes.
async fn read_beginning(response: Response, timeouts: &Timeouts) -> Vec<u8> {
    let mut chunks = response.bytes_stream();
    let mut body = Vec::new();
    while let Ok(Some(Ok(chunk))) = timeout(timeouts.idle, chunks.next()).await {
        let room = MAX_ERROR_BODY - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            // What was cut may be a secret, of which the rest would not be known again.
            body.truncate(MAX_ERROR_BODY - LONGEST_SECRET);
            break;
        }
    }
    body
}

fn request_id(headers: &HeaderMap, secrets: &Secrets) -> Option<String> {
    let value = headers.get("x-request-id")?.to_str().ok()?;
    Some(secrets.mask(value).into_owned())
}
