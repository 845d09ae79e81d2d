//! Says what a failed call was, and what it asks of the route that made it.
//!
//! The codes are those of OpenAI's error reference and of the compatible servers named beside them. A
//! terminal code beats the status, because gateways wrap one in the other: `insufficient_quota` has been
//! seen in a 503, and waiting does not fill an account. Request headers never reach a message, and what
//! a provider echoes of a key is masked.

use std::time::Duration;

use jiff::Timestamp;

use super::error_body::Detail;
use super::redact::clean;
use super::retry_after;
use super::sse::SseError;
use crate::domain::failure::{Class, Verdict};

const MAX_MESSAGE_CHARS: usize = 500;

/// Why a call gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// The class for the result line.
    pub class: Class,
    /// What to do about it.
    pub verdict: Verdict,
    /// One printable line, bounded and without keys.
    pub message: String,
    /// The HTTP status; for an error inside an HTTP 200, the status its code names, else 200.
    pub status: Option<u16>,
    /// The provider's code, or its type where it gave no code.
    pub code: Option<String>,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
}

impl CallError {
    /// An error that no HTTP answer stands behind.
    pub fn new(class: Class, verdict: Verdict, message: &str) -> Self {
        Self {
            class,
            verdict,
            message: clean(message, MAX_MESSAGE_CHARS),
            status: None,
            code: None,
            retry_after: None,
        }
    }
}

impl From<SseError> for CallError {
    /// An answer that is not text may be one at another try.
    fn from(fault: SseError) -> Self {
        match fault {
            SseError::InvalidUtf8 => Self::new(Class::Server, Verdict::Retry, &fault.to_string()),
            SseError::EventTooLarge { .. } | SseError::StreamTooLarge { .. } => too_long(&fault.to_string()),
        }
    }
}

/// An answer that is longer than its request allows. It says nothing of the route, and would be paid again and be as long
/// at another try; another model may know its end.
pub fn too_long(what: &str) -> CallError {
    let message = format!("{what}, which is more than its request allows (`max_tokens`, `--memory-limit`)");
    CallError::new(Class::Server, Verdict::Elsewhere, &message)
}

/// Judges an HTTP answer that is not a success.
///
/// `headers` finds a header by its lower-case name; `now` turns a date in `Retry-After` into a wait.
pub fn classify(
    status: u16,
    headers: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
    now: Timestamp,
) -> CallError {
    let detail = Detail::read(body);
    let mut error = judge(status, &detail);
    error.retry_after =
        retry_after::read(headers, now).or_else(|| retry_after::from_message(&detail.message));
    if by_code(&detail, acting_status(status, &detail)).is_none() {
        obey(&mut error, headers("x-should-retry").as_deref());
    }
    error
}

/// Judges an error object that came inside an HTTP 200, where a numeric code stands for the status and only its
/// message can say how long to wait.
pub(super) fn in_band(body: &str) -> CallError {
    let detail = Detail::read(body.as_bytes());
    let mut error = judge(200, &detail);
    error.retry_after = retry_after::from_message(&detail.message);
    error
}

fn judge(status: u16, detail: &Detail) -> CallError {
    let acting = acting_status(status, detail);
    let (class, verdict) = by_code(detail, acting).unwrap_or_else(|| by_status(acting, detail));
    CallError {
        class,
        verdict,
        message: clean(&describe(status, detail), MAX_MESSAGE_CHARS),
        status: Some(if status < 400 {
            detail.status().unwrap_or(status)
        } else {
            status
        }),
        code: detail.code.clone().or_else(|| detail.kind.clone()),
        retry_after: None,
    }
}

/// litellm and other proxies forward a server's own advice in `x-should-retry`, and the official SDKs
/// obey it before the status. An advice against trying again still leaves the other routes.
fn obey(error: &mut CallError, advice: Option<&str>) {
    let retries = matches!(
        error.verdict,
        Verdict::Retry | Verdict::RetryQuietly | Verdict::Pause
    );
    match advice.map(str::trim) {
        Some("true") if !retries => error.verdict = Verdict::Retry,
        Some("false") if retries => error.verdict = Verdict::Elsewhere,
        _ => {}
    }
}

/// The status to judge by: a rate-limit code speaks for itself, and an error inside a success is judged
/// by its numeric code or by what its names mean.
fn acting_status(status: u16, detail: &Detail) -> u16 {
    if detail.is_one_of(&RATE_CODES) {
        return 429;
    }
    if status >= 300 {
        return status;
    }
    let named = || {
        NAMED_STATUS
            .iter()
            .find(|(_, names)| detail.is_one_of(names))
            .map(|(status, _)| *status)
    };
    detail.status().or_else(named).unwrap_or(500)
}

/// What a code or an unmistakable message decides whatever the status.
fn by_code(detail: &Detail, status: u16) -> Option<(Class, Verdict)> {
    if detail.is_one_of(&["in_flight_budget_exhausted"]) {
        // OpenRouter holds back the budget of calls in flight; it frees itself as they end.
        return Some((Class::RateLimited, Verdict::RetryQuietly));
    }
    // Gateways keep only the text of an upstream error; a 400 may quote the prompt, so it is not searched.
    if detail.is_one_of(&BILLING_CODES) || (status != 400 && detail.says(&BILLING_PHRASES)) {
        return Some((Class::Quota, Verdict::Latch));
    }
    // Google and xAI answer a bad key with 400 and no code of its own.
    let begins = detail.message.to_lowercase();
    let bad_key = status == 400 && BAD_KEY.iter().any(|phrase| begins.starts_with(phrase));
    if bad_key || detail.is_one_of(&AUTH_CODES) {
        return Some((Class::Auth, Verdict::Latch));
    }
    let too_long = detail.is_one_of(&LENGTH_CODES)
        || (!matches!(status, 401 | 403 | 429) && detail.says(&LENGTH_PHRASES))
        || (status == 429 && detail.says(&["request too large"]));
    if too_long {
        return Some((Class::ContextLength, Verdict::Elsewhere));
    }
    if detail.filtered || detail.is_one_of(&FILTER_CODES) || detail.says(&["content exists risk"]) {
        return Some((Class::ContentFilter, Verdict::Elsewhere));
    }
    if detail.is_one_of(&["model_not_found"]) {
        return Some((Class::BadRequest, Verdict::Latch));
    }
    None
}

fn by_status(status: u16, detail: &Detail) -> (Class, Verdict) {
    match status {
        401 | 403 | 407 => (Class::Auth, Verdict::Latch),
        402 => (Class::Quota, Verdict::Latch),
        // A redirect, a wrong path or a method it does not know: the address of the route is wrong, and
        // would be for every request.
        300..400 | 404 | 405 | 410 => (Class::BadRequest, Verdict::Latch),
        408 => (Class::Timeout, Verdict::Retry),
        409 | 425 => (Class::Server, Verdict::RetryQuietly),
        429 => (Class::RateLimited, Verdict::Pause),
        400..500 if detail.is_one_of(&["overloaded_error"]) => (Class::Server, Verdict::Retry),
        400..500 => (Class::BadRequest, Verdict::Final),
        _ if failpoint!("server-error-is-final") => (Class::Server, Verdict::Final),
        _ => (Class::Server, Verdict::Retry),
    }
}

fn describe(status: u16, detail: &Detail) -> String {
    let head = if status < 300 {
        format!("an error inside an HTTP {status}")
    } else {
        format!("HTTP {status}")
    };
    let names = match (&detail.kind, &detail.code) {
        (Some(kind), Some(code)) if kind != code => format!(" ({kind}, {code})"),
        (Some(name), _) | (None, Some(name)) => format!(" ({name})"),
        (None, None) => String::new(),
    };
    match detail.message.as_str() {
        "" => format!("{head}{names} with an empty body"),
        message => format!("{head}{names}: {message}"),
    }
}

const RATE_CODES: [&str; 4] = [
    "rate_limit_error",
    "rate_limit_exceeded",
    "slow_down",
    "too_many_requests",
];

/// OpenAI's billing codes first; then what compatible providers call the same.
const BILLING_CODES: [&str; 12] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
    "billing_not_active",
    // Anthropic.
    "billing_error",
    // Moonshot.
    "exceeded_current_quota_error",
    // DashScope.
    "arrearage",
    // Volcengine Ark.
    "accountoverdueerror",
    "insufficient_balance",
];

/// Not "exceeded your current quota": Google says so of its limits by the minute.
const BILLING_PHRASES: [&str; 2] = ["insufficient balance", "insufficient_quota"];

const AUTH_CODES: [&str; 4] = [
    "invalid_api_key",
    "account_deactivated",
    "unsupported_country_region_territory",
    "authentication_error",
];

/// How such an answer begins; further in it could be a quotation of the prompt.
const BAD_KEY: [&str; 3] = ["api key not valid", "incorrect api key", "api key expired"];

const LENGTH_CODES: [&str; 3] = [
    "context_length_exceeded",
    // llama.cpp.
    "exceed_context_size_error",
    "string_above_max_length",
];

const LENGTH_PHRASES: [&str; 9] = [
    // OpenAI, DeepSeek, vLLM.
    "maximum context length",
    "context length exceeded",
    "context_length_exceeded",
    // llama.cpp.
    "available context size",
    // vLLM.
    "maximum model length",
    "context window",
    // Anthropic.
    "prompt is too long",
    // Google.
    "input token count",
    // DashScope.
    "range of input length",
];

const FILTER_CODES: [&str; 5] = [
    "content_filter",
    "content_policy_violation",
    "responsibleaipolicyviolation",
    // DashScope, in its compatible and its own mode.
    "data_inspection_failed",
    "datainspectionfailed",
];

/// The status that a name stands for where an error inside a success has no numeric code.
const NAMED_STATUS: [(u16, &[&str]); 6] = [
    (
        400,
        &[
            "invalid_request_error",
            "badrequesterror",
            "bad_request",
            "invalid_argument",
        ],
    ),
    (
        401,
        &[
            "permission_error",
            "permission_denied",
            "unauthorized",
            "unauthenticated",
        ],
    ),
    (404, &["not_found_error", "notfounderror", "not_found"]),
    (408, &["timeout", "timeout_error", "request_timeout"]),
    (429, &["resource_exhausted", "requests", "tokens"]),
    (
        503,
        &[
            "overloaded_error",
            "server_is_overloaded",
            "unavailable_error",
            "service_unavailable_error",
        ],
    ),
];
