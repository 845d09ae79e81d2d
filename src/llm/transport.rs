//! One HTTP exchange under four timeouts: sends the request, reads and classifies the answer.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Response;
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderMap};
use serde_json::value::to_raw_value;
use tokio::time::{Instant, timeout, timeout_at};

use super::answers::{Bounds, Share};
use super::bill::Bill;
use super::client::Client;
use super::connections::{is_closed_early, on_reused};
use super::dialect::{self, Call, Incoming, StreamProgress, openai, secrets};
use super::fault::{FailedExchange, Reached, cut, failed, first_token_late, stalled, unreachable};
use super::finish::Finish;
use super::mark::Marks;
use super::pieces::Pieces;
use super::refused::refused;
use super::response::{ModelResponse, Verbatim};
use super::route::Route;
use super::sent::Sent;
use super::verbatim::one_line;
use super::wire::{self, RateHeaders, Secrets};
use crate::clock;
use crate::config::{self, Dialect, Timeouts};
use crate::domain::failure::{Class, Verdict};
use crate::observe::{CallFact, TaskEvents};

/// The time for a server to close a stream after its last event. After that the connection is dropped.
pub(super) const LINGER: Duration = Duration::from_millis(50);

/// A successful exchange.
pub(super) struct Got {
    pub(super) response: ModelResponse,
    pub(super) status: u16,
    pub(super) bill: Bill,
    pub(super) finish: Finish,
    pub(super) first_token: Option<Duration>,
    pub(super) rate: RateHeaders,
}

/// The parts of the program that observe a call.
#[derive(Clone, Copy)]
pub(super) struct Observers<'a> {
    /// The crash mark of a request that was in flight at a crash.
    pub(super) marks: Option<&'a dyn Marks>,
    /// Publishes the events of the call, if any sink receives them.
    pub(super) events: Option<&'a TaskEvents>,
}

/// Sends the request and reads the answer to its end. Dropping the future closes the connection.
pub(super) async fn send(
    client: &Client,
    route: &Route,
    call: &Call<'_>,
    observers: Observers<'_>,
    sent: &Sent,
) -> Result<Got, FailedExchange> {
    let (started, timeouts) = (Instant::now(), &route.settings.timeouts);
    let total = started + timeouts.total;
    let got = timeout_at(total, exchange(client, route, call, observers, started, sent))
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
    call: &Call<'_>,
    observers: Observers<'_>,
    started: Instant,
    sent: &Sent,
) -> Result<Got, FailedExchange> {
    let marks = observers.marks;
    let settings = &route.settings;
    let sending = first_byte(client.http.of(settings), route, call, started, sent);
    let (first, reused) = on_reused(sending).await;
    let response = match first? {
        Err(error) if reused && is_closed_early(&error) => {
            tracing::debug!(
                llm.route = settings.name,
                "the server closed an idle connection, the call is sent on a new one"
            );
            first_byte(client.http.fresh(settings), route, call, started, sent).await?
        }
        first => first,
    };
    let response = response.map_err(|error| unreachable(&error, &settings.timeouts, &settings.endpoint))?;
    if !response.status().is_success() {
        return Err(refused(response, call, marks, settings).await);
    }
    let mut room = Room {
        bounds: client.answers.bounds(call.longest, call.has_probabilities()),
        share: client.answers.share(),
        timeouts: &settings.timeouts,
        dialect: settings.dialect,
    };
    if call.streams && !is_json(response.headers()) {
        let pieces = Pieces::of(response, &mut room, marks, started).await;
        read_stream(pieces, call, room, (started, observers.events), settings).await
    } else {
        read_plain(response, call, room, marks, &secrets(settings)).await
    }
}

/// Sends the request and waits for the head of its answer.
async fn first_byte(
    http: &reqwest::Client,
    route: &Route,
    call: &Call<'_>,
    started: Instant,
    sent: &Sent,
) -> Result<reqwest::Result<Response>, FailedExchange> {
    let mut request = http
        .post(call.address())
        .headers(dialect::headers(&route.settings)?);
    if call.streams {
        request = request.header(ACCEPT, "text/event-stream");
    }
    let sending = request.body(sent.body(call.body())).send();
    // The headers of a stream belong to the wait for its first data. A call without streaming may use its whole time.
    if call.streams {
        let timeouts = &route.settings.timeouts;
        timeout_at(started + timeouts.first_token, sending)
            .await
            .map_err(|_| first_token_late(timeouts))
    } else {
        Ok(sending.await)
    }
}

/// Sets the crash mark: from here on the process works on the answer.
pub(super) async fn looked_at(marks: Option<&dyn Marks>) {
    if let Some(marks) = marks {
        marks.works().await;
    }
}

/// The limits of an answer, in memory and in time.
pub(super) struct Room<'c> {
    pub(super) bounds: Bounds,
    pub(super) share: Share<'c>,
    pub(super) timeouts: &'c Timeouts,
    pub(super) dialect: Dialect,
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().contains("application/json"))
}

async fn read_stream(
    mut pieces: Pieces,
    call: &Call<'_>,
    room: Room<'_>,
    (started, events): (Instant, Option<&TaskEvents>),
    settings: &config::RouteSettings,
) -> Result<Got, FailedExchange> {
    let secrets = secrets(settings);
    let Room {
        bounds,
        mut share,
        timeouts,
        dialect,
    } = room;
    let headers = pieces.response.headers_mut();
    let (request_id, rate) = (request_id(headers, &secrets), rate_headers(headers));
    // Headers are slices of the connection's first buffer and would keep it from being reused.
    headers.clear();
    let mut incoming = Incoming::new(dialect, bounds.stream, bounds.text).hiding(secrets);
    if call.is_line() {
        incoming = incoming.assembling(bounds.body);
    } else {
        incoming = incoming.without_repetitions();
    }
    let mut deadline = started + timeouts.first_token;
    let mut first_token = None;
    loop {
        let chunk = match pieces.next(deadline).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => break,
            // After the finish reason only a token count can be lost.
            Ok(Err(_)) | Err(_) if incoming.is_complete() => break,
            Ok(Err(error)) => return Err(cut(&error)),
            Err(_) if first_token.is_none() => return Err(first_token_late(timeouts)),
            Err(_) => return Err(stalled(timeouts)),
        };
        let progress = incoming.push(&chunk)?;
        if first_token.is_none() && incoming.first_token_seen() {
            let after = started.elapsed();
            first_token = Some(after);
            if let Some(events) = events {
                events.call(CallFact::FirstToken {
                    route: settings.name.clone(),
                    after,
                });
            }
        }
        match progress {
            // A request in the server's queue may wait up to the total timeout. After the first token, comments and
            // empty frames do not count: a server that sends nothing else has stalled.
            StreamProgress::Waits if first_token.is_none() => {
                deadline = Instant::now() + timeouts.first_token;
            }
            StreamProgress::Quiet | StreamProgress::Waits => {}
            StreamProgress::Data if first_token.is_some() => deadline = Instant::now() + timeouts.idle,
            StreamProgress::Data => {}
            StreamProgress::Done => deadline = Instant::now() + LINGER,
        }
        if incoming.is_over() {
            break;
        }
        if share.grow_to(incoming.held_bytes()).await {
            // The server was not read in the meantime, so it has not stalled.
            deadline = deadline.max(Instant::now() + timeouts.idle);
        }
    }
    let (answer, object) = incoming.end_with_object()?;
    let (bill, finish) = (Bill::of(&answer), Finish::of(&answer));
    let response = match object {
        Some(object) => {
            answer.verdict_of_finish().or_else(|error| match error.verdict {
                Verdict::Retry => Err(error),
                // For a Batch line, an answer of a content filter is an answer like any other.
                _ => Ok(()),
            })?;
            ModelResponse::Verbatim(Verbatim {
                status: 200,
                request_id,
                body: to_raw_value(&object).map_err(|error| failed(Class::Internal, &error.to_string()))?,
            })
        }
        None => ModelResponse::Answer(answer),
    };
    Ok(Got {
        response,
        status: 200,
        bill,
        finish,
        first_token,
        rate,
    })
}

async fn read_plain(
    response: Response,
    call: &Call<'_>,
    mut room: Room<'_>,
    marks: Option<&dyn Marks>,
    secrets: &Secrets,
) -> Result<Got, FailedExchange> {
    let (headers, status) = (response.headers().clone(), response.status().as_u16());
    let body = read_body(response, &mut room).await?;
    looked_at(marks).await;
    let (request_id, rate) = (request_id(&headers, secrets), rate_headers(&headers));
    // A failed body is classified again without secrets, because its text becomes an error message.
    let (response, bill, finish) = if call.is_line() {
        let is_chat = call.is_chat();
        let mut whole = openai::passed_on(&body, is_chat)
            .or_else(|_| openai::passed_on(&secrets.mask_body(&body), is_chat))?;
        let instead = whole.instead.take();
        let verbatim = Verbatim {
            status,
            request_id,
            body: one_line(instead.map_or(body, String::into_bytes)),
        };
        (
            ModelResponse::Verbatim(verbatim),
            Bill::from(whole),
            Finish::default(),
        )
    } else {
        let plain = |body: &[u8]| dialect::plain(room.dialect, body);
        let answer = plain(&body).or_else(|_| plain(&secrets.mask_body(&body)))?;
        let answer = answer.hiding(secrets);
        let (bill, finish) = (Bill::of(&answer), Finish::of(&answer));
        (ModelResponse::Answer(answer), bill, finish)
    };
    Ok(Got {
        response,
        status,
        bill,
        finish,
        first_token: None,
        rate,
    })
}

/// Reads the rate-limit headers. Most servers send none.
pub(super) fn rate_headers(headers: &HeaderMap) -> RateHeaders {
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

/// Returns the time of the answer by the server's clock, because other headers use that clock.
pub(super) fn answered_at(headers: &HeaderMap) -> Timestamp {
    let date = headers.get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    date.and_then(|date| Timestamp::try_from(date).ok())
        .unwrap_or_else(clock::now)
}

async fn read_body(mut response: Response, room: &mut Room<'_>) -> Result<Vec<u8>, FailedExchange> {
    let limit = room.bounds.body;
    let mut body: Vec<u8> = Vec::new();
    loop {
        // The body follows its headers, so silence is a stall from here on.
        let chunk = timeout(room.timeouts.idle, response.chunk())
            .await
            .map_err(|_| stalled(room.timeouts))?
            .map_err(|error| cut(&error))?;
        let Some(chunk) = chunk else { break };
        let length = body.len() + chunk.len();
        if length > limit {
            return Err(wire::too_long(&format!("the answer is larger than {limit} bytes")).into());
        }
        room.share.grow_to(length).await;
        if body.is_empty() {
            // The announced size takes only address space until the data arrives.
            let announced = response.content_length().unwrap_or(0);
            body.reserve_exact(usize::try_from(announced).unwrap_or(limit).min(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

pub(super) fn request_id(headers: &HeaderMap, secrets: &Secrets) -> Option<String> {
    let value = headers.get("x-request-id")?.to_str().ok()?;
    Some(secrets.mask(value).into_owned())
}
