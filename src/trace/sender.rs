//! Sends batches of traces to one destination.
//!
//! A batch is tried again while the server may accept it later, with growing waits or those that it asks for. A batch that
//! is too large is halved. A server that refuses everything is asked again once in half a minute; what comes in between is
//! dropped and counted.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::encode::{EncodedTrace, body};
use crate::clock;
use crate::config::TraceDestination;
use crate::domain::ids::shortened;
use crate::domain::printable::printable;
use crate::domain::retry_after;
use crate::observe::{DroppedTraces, tell};

/// The longest wait before a batch is sent again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A batch that no try has delivered for this long is dropped.
const GIVE_UP: Duration = Duration::from_secs(300);

/// So long a server that refuses everything is left alone.
const REST: Duration = Duration::from_secs(30);

/// The most bytes of an answer that are read.
const LARGEST_ANSWER: usize = 64 << 10;

/// The deliveries to one destination so far.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    /// Traces that were delivered.
    pub(super) sent: AtomicU64,
    /// Traces that were dropped, by this destination alone.
    pub(super) dropped: AtomicU64,
    /// Until when a server that refuses everything is left alone.
    rests_until: Mutex<Option<Instant>>,
    /// Whether a warning was given.
    told: AtomicBool,
}

impl Deliveries {
    /// Whether the server refuses everything and is left alone.
    pub(super) fn rests(&self) -> bool {
        let until = *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn rest_until(&self, until: Option<Instant>) {
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// The answer of a server to a batch.
enum TraceAnswer {
    /// All but this many spans were accepted.
    Accepted { rejected: u64, message: String },
    /// The server may accept it later, at the earliest after this time.
    Later(Option<Duration>, String),
    /// The batch is too large.
    TooLarge,
    /// The server refuses this batch.
    Refused(String),
    /// The server refuses every batch.
    RefusesAll(String),
}

pub(super) struct Sender {
    destination: TraceDestination,
    client: Client,
    headers: HeaderMap,
    deliveries: Arc<Deliveries>,
    /// Counts dropped traces of all destinations.
    dropped: DroppedTraces,
}

impl Sender {
    pub(super) fn new(
        destination: TraceDestination,
        client: Client,
        deliveries: Arc<Deliveries>,
        dropped: DroppedTraces,
    ) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if destination.is_gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        for (name, value) in &destination.headers {
            if let Ok(mut value) = HeaderValue::from_str(value.expose_secret()) {
                value.set_sensitive(true);
                headers.insert(name.clone(), value);
            }
        }
        Self {
            destination,
            client,
            headers,
            deliveries,
            dropped,
        }
    }

    /// Sends each batch until the channel is closed and empty.
    pub(super) async fn run(self, mut batches: mpsc::Receiver<Vec<EncodedTrace>>) {
        while let Some(batch) = batches.recv().await {
            if self.deliveries.rests() {
                self.drop_traces(batch.len(), None);
                continue;
            }
            self.deliver(batch).await;
        }
    }

    /// Delivers one batch, in halves if it is too large. Each trace is delivered, or dropped and counted.
    async fn deliver(&self, batch: Vec<EncodedTrace>) {
        let mut left = vec![batch];
        while let Some(mut batch) = left.pop() {
            match self.until_answered(&batch).await {
                TraceAnswer::Accepted { rejected, message } => self.accepted(&batch, rejected, &message),
                TraceAnswer::TooLarge if batch.len() > 1 => {
                    let second = batch.split_off(batch.len() / 2);
                    left.extend([second, batch]);
                }
                TraceAnswer::TooLarge if batch.iter().any(has_texts) => {
                    left.push(batch.into_iter().map(EncodedTrace::without_texts).collect());
                }
                TraceAnswer::TooLarge => self.drop_traces(batch.len(), Some("a trace is too large for it")),
                TraceAnswer::Refused(reason) | TraceAnswer::Later(_, reason) => {
                    self.drop_traces(batch.len(), Some(&reason));
                }
                TraceAnswer::RefusesAll(reason) => {
                    self.deliveries.rest_until(Some(Instant::now() + REST));
                    self.drop_traces(batch.len(), Some(&reason));
                    let rest: usize = left.drain(..).map(|batch| batch.len()).sum();
                    self.drop_traces(rest, None);
                }
            }
        }
    }

    fn accepted(&self, batch: &[EncodedTrace], rejected: u64, message: &str) {
        self.deliveries.rest_until(None);
        let traces = batch.len() as u64;
        let dropped = if rejected == 0 {
            0
        } else {
            // The server does not say which spans it rejected.
            let spans = batch
                .iter()
                .map(|trace| trace.spans.len() as u64)
                .sum::<u64>()
                .max(1);
            (rejected.saturating_mul(traces)).div_ceil(spans).min(traces)
        };
        self.deliveries
            .sent
            .fetch_add(traces - dropped, Ordering::Relaxed);
        if dropped > 0 {
            let reason = format!("it rejected {rejected} spans: {message}");
            self.drop_traces(usize::try_from(dropped).unwrap_or(batch.len()), Some(&reason));
        }
    }

    /// Counts traces as dropped, and warns once.
    fn drop_traces(&self, traces: usize, reason: Option<&str>) {
        let traces = traces as u64;
        self.deliveries.dropped.fetch_add(traces, Ordering::Relaxed);
        self.dropped.add(traces);
        let Some(reason) = reason else { return };
        tracing::warn!(
            trace.server = self.destination.host(),
            traces,
            "traces are dropped: {reason}"
        );
        if !self.deliveries.told.swap(true, Ordering::Relaxed) {
            tell(&format!(
                "{} `{}` does not take traces, and they are dropped: {reason} (the run goes on; `{}` switched them on)",
                self.destination.server.name(),
                self.destination.host(),
                self.destination.source,
            ));
        }
    }

    /// Sends a batch until the server answers it for good, or until [`GIVE_UP`].
    async fn until_answered(&self, batch: &[EncodedTrace]) -> TraceAnswer {
        let body = bytes::Bytes::from(self.compressed(body(batch, &self.destination.resource)));
        let began = Instant::now();
        let mut wait = Duration::from_secs(1);
        loop {
            let answer = self.send(body.clone()).await;
            let TraceAnswer::Later(asked, reason) = answer else {
                return answer;
            };
            let pause = asked
                .unwrap_or(wait.mul_f64(0.5 + fastrand::f64() / 2.0))
                .min(LONGEST_WAIT);
            if began.elapsed() + pause > GIVE_UP {
                return TraceAnswer::Later(None, reason);
            }
            tracing::debug!(
                trace.server = self.destination.host(),
                "traces are sent again: {reason}"
            );
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn compressed(&self, body: Vec<u8>) -> Vec<u8> {
        if !self.destination.is_gzip {
            return body;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Writing to memory does not fail.
        encoder
            .write_all(&body)
            .and_then(|()| encoder.finish())
            .unwrap_or(body)
    }

    async fn send(&self, body: bytes::Bytes) -> TraceAnswer {
        let request = self
            .client
            .post(self.destination.url.clone())
            .headers(self.headers.clone())
            .timeout(self.destination.timeout)
            .body(body);
        match request.send().await {
            // The error names the URL, which can hold a password.
            Err(error) => TraceAnswer::Later(None, failure(&error.without_url())),
            Ok(mut response) => {
                let status = response.status();
                let asked = asked_wait(response.headers());
                let mut text = Vec::new();
                while text.len() < LARGEST_ANSWER {
                    match response.chunk().await {
                        Ok(Some(chunk)) => text.extend_from_slice(&chunk),
                        Ok(None) | Err(_) => break,
                    }
                }
                text.truncate(LARGEST_ANSWER);
                judged(status, asked, &text)
            }
        }
    }
}

fn has_texts(trace: &EncodedTrace) -> bool {
    trace.clone().without_texts().bytes < trace.bytes
}

fn failure(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it does not answer in time".to_owned();
    }
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message = error.to_string();
        cause = error.source();
    }
    shortened(&printable(&message), 200)
}

/// The wait that a server asks for, in seconds or until a date (RFC 9110, section 10.2.3).
fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    retry_after::of_header(text, clock::now())
}

/// Judges an answer. OTLP repeats 429, 502, 503 and 504; LangSmith says 409 for spans that it has already.
fn judged(status: StatusCode, asked: Option<Duration>, body: &[u8]) -> TraceAnswer {
    let said = || {
        let text = String::from_utf8_lossy(body);
        let text = shortened(printable(&text).trim(), 200);
        let code = status.as_u16();
        if text.is_empty() {
            format!("it answers {code}")
        } else {
            format!("it answers {code}: {text}")
        }
    };
    match status.as_u16() {
        200..=299 => {
            let partial = ExportTraceServiceResponse::decode(body).ok();
            let partial = partial
                .and_then(|answer| answer.partial_success)
                .unwrap_or_default();
            TraceAnswer::Accepted {
                rejected: partial.rejected_spans.max(0).unsigned_abs(),
                message: shortened(&printable(&partial.error_message), 200),
            }
        }
        409 => TraceAnswer::Accepted {
            rejected: 0,
            message: String::new(),
        },
        413 => TraceAnswer::TooLarge,
        408 | 425 | 429 | 500 | 502..=504 => TraceAnswer::Later(asked, said()),
        300..=399 | 401 | 403 | 404 | 405 | 407 | 410 => TraceAnswer::RefusesAll(said()),
        _ => TraceAnswer::Refused(said()),
    }
}
