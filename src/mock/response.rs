//! Responses and their headers.

use std::time::Duration;

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::call::MockCall;
use super::error_object::ErrorObject;
use super::limiter::{LimitStatus, Scarce};
use super::reply::{ConnectionEnd, Reply};
use crate::clock;
use crate::config::Dialect;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// Returns a complete JSON response.
pub(crate) fn json(
    status: StatusCode,
    body: impl Into<bytes::Bytes>,
    call: Option<MockCall>,
) -> Response<Reply> {
    let body = body.into();
    let length = body.len();
    sized(
        status,
        "application/json",
        length,
        Reply::whole(body, ConnectionEnd::Clean, call),
    )
}

/// Returns an error in the form of the dialect.
pub(crate) fn refusal(
    status: StatusCode,
    dialect: Dialect,
    error: &ErrorObject<'_>,
    call: Option<MockCall>,
) -> Response<Reply> {
    json(status, error.json(dialect), call)
}

/// Returns a response that announces `length`. A fault may send a shorter body.
pub(crate) fn sized(status: StatusCode, kind: &'static str, length: usize, body: Reply) -> Response<Reply> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Returns an event stream, sent in chunks like OpenAI's.
pub(crate) fn stream(body: Reply) -> Response<Reply> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    headers.insert(hyper::header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Adds the header with the id of the request.
pub(crate) fn name_request(headers: &mut HeaderMap, dialect: Dialect, call: u64) {
    let name = match dialect {
        Dialect::OpenAi => REQUEST_ID,
        Dialect::Anthropic => ANTHROPIC_REQUEST_ID,
    };
    insert(headers, name, &format!("req_{call:016x}"));
}

/// Adds the wait for the client: in seconds rounded up, and in OpenAI's dialect also in milliseconds.
pub(crate) fn ask_to_wait(headers: &mut HeaderMap, dialect: Dialect, wait: Duration) {
    let ms = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
    if dialect == Dialect::OpenAi {
        headers.insert(RETRY_AFTER_MS, HeaderValue::from(ms));
    }
}

/// Adds the `x-ratelimit-*` or `anthropic-ratelimit-*` headers.
pub(crate) fn show_limits(headers: &mut HeaderMap, dialect: Dialect, standings: &[LimitStatus]) {
    for LimitStatus {
        scarce,
        limit,
        remaining,
        reset,
    } in standings
    {
        let [limit_name, remaining_name, reset_name] = limit_headers(dialect, *scarce);
        headers.insert(HeaderName::from_static(limit_name), HeaderValue::from(*limit));
        headers.insert(
            HeaderName::from_static(remaining_name),
            HeaderValue::from(*remaining),
        );
        let reset = match dialect {
            Dialect::OpenAi => go_duration(*reset),
            Dialect::Anthropic => moment(*reset),
        };
        insert(headers, HeaderName::from_static(reset_name), &reset);
    }
}

/// Returns the names of the headers for limit, rest and reset.
const fn limit_headers(dialect: Dialect, scarce: Scarce) -> [&'static str; 3] {
    match (dialect, scarce) {
        (Dialect::OpenAi, Scarce::Requests) => [
            "x-ratelimit-limit-requests",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-reset-requests",
        ],
        (Dialect::OpenAi, Scarce::Tokens) => [
            "x-ratelimit-limit-tokens",
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-reset-tokens",
        ],
        (Dialect::Anthropic, Scarce::Requests) => [
            "anthropic-ratelimit-requests-limit",
            "anthropic-ratelimit-requests-remaining",
            "anthropic-ratelimit-requests-reset",
        ],
        (Dialect::Anthropic, Scarce::Tokens) => [
            "anthropic-ratelimit-tokens-limit",
            "anthropic-ratelimit-tokens-remaining",
            "anthropic-ratelimit-tokens-reset",
        ],
    }
}

/// Returns the end of a wait in Anthropic's form: RFC 3339, whole seconds, rounded up.
fn moment(wait: Duration) -> String {
    let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    let second = clock::now_ms().saturating_add(wait).div_euclid(1000) + 1;
    jiff::Timestamp::from_second(second).map_or_else(|_| String::new(), |moment| moment.to_string())
}

/// Returns a duration in OpenAI's form: `12ms`, `59.951s`, `1m0s`.
fn go_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (minutes, seconds, rest) = (ms / 60_000, ms / 1000 % 60, ms % 1000);
    let minutes = if minutes > 0 {
        format!("{minutes}m")
    } else {
        String::new()
    };
    let fraction = if rest > 0 {
        format!(".{rest:03}")
    } else {
        String::new()
    };
    format!("{minutes}{seconds}{fraction}s")
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_look_like_openais() {
        let written = [12, 59_951, 60_000, 7_000].map(|ms| go_duration(Duration::from_millis(ms)));
        assert_eq!(written, ["12ms", "59.951s", "1m0s", "7s"]);
    }
}
