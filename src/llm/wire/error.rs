//! Says what a failed call was, and what it asks of the route that made it.
//!
//! The words of each provider stand in `vendor`. A terminal code beats the status, because gateways wrap one in the
//! other: `insufficient_quota` has been seen in a 503, and waiting does not fill an account. Request headers never reach
//! a message, and what a provider echoes of a key is masked.

use std::time::Duration;

use jiff::Timestamp;

use super::error_body::Detail;
use super::redact::clean;
use super::retry_after;
use super::sse::SseError;
use super::vendor::{self, Meaning};
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
    /// Whether an answer came that could not be read.
    pub unreadable: bool,
    /// Whether the provider's own word, and not the status alone, names the key, the account or the model.
    pub is_named: bool,
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
            unreadable: false,
            is_named: false,
        }
    }

    /// The error of an answer that could not be read.
    #[must_use]
    pub(in crate::llm) fn of_unreadable(self) -> Self {
        Self {
            unreadable: true,
            ..self
        }
    }
}

impl From<SseError> for CallError {
    /// An answer that is not text may be one at another try.
    fn from(fault: SseError) -> Self {
        match fault {
            SseError::InvalidUtf8 => {
                Self::new(Class::Server, Verdict::Retry, &fault.to_string()).of_unreadable()
            }
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
    error.retry_after = retry_after::read(headers, now)
        .or_else(|| retry_after::from_body(&detail.waits, now))
        .or_else(|| retry_after::from_message(&detail.message));
    if vendor::meaning_of(&detail, acting_status(status, &detail)).is_none() {
        obey(&mut error, headers("x-should-retry").as_deref());
    }
    error
}

/// Judges an error object that came inside an HTTP 200, where a numeric code stands for the status and only its
/// message can say how long to wait.
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

/// What the answer's status says where its words say nothing.
fn by_status(status: u16, detail: &Detail) -> (Class, Verdict) {
    match status {
        401 | 403 | 407 => (Class::Auth, Verdict::Latch),
        402 => (Class::Quota, Verdict::Latch),
        // A redirect, a wrong path or a method it does not know: the address of the route is wrong, and
        // would be for every request.
        300..400 | 404 | 405 | 410 => (Class::BadRequest, Verdict::Latch),
        408 => (Class::Timeout, Verdict::Retry),
        // Two requests met, or the connection or the moment was a wrong one (499: a proxy lost patience).
        409 | 421 | 423 | 424 | 425 | 499 => (Class::Server, Verdict::RetryQuietly),
        // Groq has no room on its flex tier.
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
