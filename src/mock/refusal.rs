//! Responses to calls that get no answer.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};

use super::call::{CallArrival, MockCall};
use super::error_object::{ErrorObject, OVERLOADED, PROXY_PAGE, SERVER_ERROR, WRONG_KEY, invalid};
use super::extras::Extras;
use super::limiter::{Denial, Scarce};
use super::reply::{ConnectionEnd, Reply};
use super::response;
use super::server::ServerState;
use super::tally::CallOutcome;
use crate::config::Dialect;

/// The wait in a 429 that comes from a fault and not from the limiter.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// Begins a call without a readable prompt.
fn begin_unread(shared: &Arc<ServerState>) -> MockCall {
    let (prompt, custom, key, stream) = (None, None, None, false);
    MockCall::begin(
        shared,
        &CallArrival {
            prompt,
            custom,
            model: "",
            key,
            user: "",
            stream,
            input_tokens: 0,
            output_tokens: 0,
            extras: &Extras::default(),
        },
    )
}

/// 400: the body is not a chat request.
pub(crate) fn malformed(
    shared: &Arc<ServerState>,
    dialect: Dialect,
    headers: &HeaderMap,
    message: &str,
) -> Response<Reply> {
    let call = begin_unread(shared);
    if !shared.knows(dialect, headers) {
        return unauthorized(dialect, call);
    }
    bad_request(dialect, call, message)
}

/// 400.
pub(crate) fn bad_request(dialect: Dialect, mut call: MockCall, message: &str) -> Response<Reply> {
    call.heads_for(CallOutcome::BadRequest);
    response::refusal(
        StatusCode::BAD_REQUEST,
        dialect,
        &invalid(message, None),
        Some(call),
    )
}

/// 413.
pub(crate) fn too_large(shared: &Arc<ServerState>, dialect: Dialect, limit: usize) -> Response<Reply> {
    let mut call = begin_unread(shared);
    call.heads_for(CallOutcome::BadRequest);
    let message = format!("Request body is too large. Expected at most {limit} bytes.");
    response::refusal(
        StatusCode::PAYLOAD_TOO_LARGE,
        dialect,
        &invalid(&message, Some("request_too_large")),
        Some(call),
    )
}

/// 401.
pub(crate) fn unauthorized(dialect: Dialect, mut call: MockCall) -> Response<Reply> {
    call.heads_for(CallOutcome::Unauthorized);
    response::refusal(StatusCode::UNAUTHORIZED, dialect, &WRONG_KEY, Some(call))
}

/// 500 in the form of the service, or 503 in the form of a proxy in front of it.
pub(crate) fn server_error(dialect: Dialect, mut call: MockCall, behind_a_proxy: bool) -> Response<Reply> {
    call.heads_for(CallOutcome::ServerError);
    let number = call.number();
    let mut response = if behind_a_proxy {
        let page = Reply::whole(PROXY_PAGE, ConnectionEnd::Clean, Some(call));
        response::sized(
            StatusCode::SERVICE_UNAVAILABLE,
            "text/html",
            PROXY_PAGE.len(),
            page,
        )
    } else {
        response::refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            dialect,
            &SERVER_ERROR,
            Some(call),
        )
    };
    response::name_request(response.headers_mut(), dialect, number);
    response
}

/// 529 in the form of Anthropic, or 503 in the form of OpenAI.
pub(crate) fn overloaded(dialect: Dialect, mut call: MockCall) -> Response<Reply> {
    call.heads_for(CallOutcome::Overloaded);
    let number = call.number();
    let status = match dialect {
        Dialect::OpenAi => StatusCode::SERVICE_UNAVAILABLE,
        // 529 is a valid status number, so the second status is never used.
        Dialect::Anthropic => StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
    };
    let mut response = response::refusal(status, dialect, &OVERLOADED, Some(call));
    response::name_request(response.headers_mut(), dialect, number);
    response
}

/// 429. `denial` is the limiter's reason; a 429 from a fault has none.
pub(crate) fn rate_limited(
    shared: &ServerState,
    dialect: Dialect,
    mut call: MockCall,
    denial: Option<&Denial>,
) -> Response<Reply> {
    call.heads_for(CallOutcome::RateLimited);
    let number = call.number();
    let wait = shared
        .config
        .retry_after
        .or(denial.map(|denial| denial.wait))
        .unwrap_or(DEFAULT_WAIT);
    let (kind, message) = match denial {
        None => (
            "rate_limit_error",
            "Rate limit reached. Please slow down.".to_owned(),
        ),
        Some(denial) => complaint(denial, wait),
    };
    let error = ErrorObject {
        message: &message,
        kind,
        anthropic_kind: "rate_limit_error",
        param: None,
        code: Some("rate_limit_exceeded"),
    };
    let mut response = response::refusal(StatusCode::TOO_MANY_REQUESTS, dialect, &error, Some(call));
    let headers = response.headers_mut();
    response::ask_to_wait(headers, dialect, wait);
    response::show_limits(headers, dialect, &shared.standings());
    response::name_request(headers, dialect, number);
    response
}

fn complaint(denial: &Denial, wait: Duration) -> (&'static str, String) {
    let Denial {
        scarce,
        limit,
        used,
        requested,
        ..
    } = denial;
    let (kind, what) = match scarce {
        Scarce::Requests => ("requests", "requests per min (RPM)"),
        Scarce::Tokens => ("tokens", "tokens per min (TPM)"),
    };
    if requested > limit {
        return (
            kind,
            format!("Request too large on {what}: Limit {limit}, Requested {requested}."),
        );
    }
    let seconds = wait.as_secs_f64();
    let numbers = format!("Limit {limit}, Used {used}, Requested {requested}");
    (
        kind,
        format!("Rate limit reached on {what}: {numbers}. Please try again in {seconds:.3}s."),
    )
}
