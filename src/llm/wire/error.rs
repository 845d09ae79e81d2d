//! Classifies a failed call: its class, and the verdict for its route.
//!
//! The words of each provider are in `vendor`. A terminal code overrides the status, because gateways wrap one in the
//! other: a 503 with `insufficient_quota` has been observed, and waiting does not fill an account. Request headers
//! never appear in a message, and keys that a provider echoes are masked.

use std::time::Duration;

use jiff::Timestamp;

use super::error_body::Detail;
use super::redact::clean;
use super::retry_after;
use super::sse::SseError;
use super::vendor::{self, Meaning};
use crate::domain::failure::{Class, Verdict};

const MAX_MESSAGE_CHARS: usize = 500;

/// The error of a call without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// The class for the result line.
    pub class: Class,
    /// The verdict: the action to take.
    pub verdict: Verdict,
    /// One printable line, bounded and without keys.
    pub message: String,
    /// The HTTP status. For an error inside an HTTP 200, the status in its code, else 200.
    pub status: Option<u16>,
    /// The provider's code, or its type if there is no code.
    pub code: Option<String>,
    /// The wait that the provider requests.
    pub retry_after: Option<Duration>,
    /// Whether an answer arrived that could not be read.
    pub unreadable: bool,
    /// Whether a word of the provider names the key, the account or the model, and not only the status.
    pub is_named: bool,
}

impl CallError {
    /// Makes an error without an HTTP answer.
    pub fn new(class: Class, verdict: Verdict, message: &str) -> Self {
        Self {
            class,
            verdict,
            message: clean(message, MAX_MESSAGE_CHARS),
            status: None,
            code: None,
            retry_after: None,
            unreadable: false,
            is_named: false,
        }
    }

    /// Marks the error as that of an unreadable answer.
    #[must_use]
    pub(in crate::llm) fn of_unreadable(self) -> Self {
        Self {
            unreadable: true,
            ..self
        }
    }
}

impl From<SseError> for CallError {
    /// Converts a stream error. An answer that is not text may be readable on a retry.
    fn from(fault: SseError) -> Self {
        match fault {
            SseError::InvalidUtf8 => {
                Self::new(Class::Server, Verdict::Retry, &fault.to_string()).of_unreadable()
            }
            SseError::EventTooLarge { .. } | SseError::StreamTooLarge { .. } => too_long(&fault.to_string()),
        }
    }
}

/// Returns the error of an answer that is longer than its request allows. It does not count against the route. A retry
/// would be paid again and be as long, but another model may give a shorter answer.
pub fn too_long(what: &str) -> CallError {
    let message = format!("{what}, which is more than its request allows (`max_tokens`, `--memory-limit`)");
    CallError::new(Class::Server, Verdict::Elsewhere, &message)
}

/// Classifies an HTTP answer that is not a success.
///
/// `headers` finds a header by its lower-case name. `now` converts a date in `Retry-After` to a wait.
pub fn classify(
    status: u16,
    headers: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
    now: Timestamp,
) -> CallError {
    let detail = Detail::read(body);
    let mut error = judge(status, &detail);
    error.retry_after = retry_after::read(headers, now)
        .or_else(|| retry_after::from_body(&detail.waits, now))
        .or_else(|| retry_after::from_message(&detail.message));
    if vendor::meaning_of(&detail, acting_status(status, &detail)).is_none() {
        obey(&mut error, headers("x-should-retry").as_deref());
    }
    error
}

/// Classifies an error object inside an HTTP 200. A numeric code stands for the status. Only the body can name a wait.
pub(in crate::llm) fn in_band(body: &str) -> CallError {
    let detail = Detail::read(body.as_bytes());
    let mut error = judge(200, &detail);
    error.retry_after = retry_after::from_body(&detail.waits, Timestamp::UNIX_EPOCH)
        .or_else(|| retry_after::from_message(&detail.message));
    error
}

fn judge(status: u16, detail: &Detail) -> CallError {
    let acting = acting_status(status, detail);
    let meaning = vendor::meaning_of(detail, acting);
    let (class, verdict) = meaning
        .and_then(Meaning::judgement)
        .unwrap_or_else(|| by_status(acting, detail));
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
        unreadable: false,
        is_named: matches!(meaning, Some(Meaning::Balance | Meaning::Key | Meaning::Model)),
    }
}

/// Applies the advice in `x-should-retry`. litellm and other proxies forward it from a server, and the official SDKs
/// follow it before the status. Advice against a retry still allows other routes.
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

/// Returns the status that decides the class. A rate-limit code overrides the status. An error inside a success uses
/// its numeric code, or the meaning of its names.
fn acting_status(status: u16, detail: &Detail) -> u16 {
    if let Some(meant) = vendor::status_of(detail, status) {
        return meant;
    }
    if status >= 300 {
        return status;
    }
    detail
        .status()
        .or_else(|| vendor::status_in_success(detail))
        .unwrap_or(500)
}

/// Returns the class and verdict by the status, if no word of the error decides.
fn by_status(status: u16, detail: &Detail) -> (Class, Verdict) {
    match status {
        401 | 403 | 407 => (Class::Auth, Verdict::Latch),
        402 => (Class::Quota, Verdict::Latch),
        // A redirect, a wrong path or an unknown method: the address of the route is wrong for every request.
        300..400 | 404 | 405 | 410 => (Class::BadRequest, Verdict::Latch),
        408 => (Class::Timeout, Verdict::Retry),
        // A conflict of two requests, or a wrong connection or moment (499: a proxy gave up waiting).
        409 | 421 | 423 | 424 | 425 | 499 => (Class::Server, Verdict::RetryQuietly),
        // Groq has no capacity on its flex tier.
        498 => (Class::Server, Verdict::Retry),
        429 => (Class::RateLimited, Verdict::Pause),
        400..500 if detail.is_called(|name| name == "overloaded_error") => (Class::Server, Verdict::Retry),
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
