//! The failures of one HTTP exchange, with messages for people.

use std::time::Duration;

use reqwest::Url;

use super::connections::is_permanent;
use super::response::Verbatim;
use super::wire::{CallError, RateHeaders};
use crate::config::Timeouts;
use crate::domain::failure::{Class, Verdict};

/// The pause of a route when this machine has no file descriptor or port left for a connection.
const LOCAL_PAUSE: Duration = Duration::from_secs(1);

/// A failed exchange.
pub(super) struct FailedExchange {
    pub(super) error: CallError,
    /// The HTTP error response, unchanged, for a Batch line.
    pub(super) response: Option<Verbatim>,
    /// How far the call got.
    pub(super) reached: Reached,
    pub(super) rate: RateHeaders,
}

/// How far a failed call got. This decides its possible cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// No connection: nothing was sent.
    Nobody,
    /// The server refused the call by its status. A refused call costs nothing.
    Refusal,
    /// The server may have worked on the call.
    Server,
}

impl From<CallError> for FailedExchange {
    fn from(error: CallError) -> Self {
        Self {
            error,
            response: None,
            reached: Reached::Server,
            rate: RateHeaders::default(),
        }
    }
}

pub(super) fn failed(class: Class, message: &str) -> FailedExchange {
    CallError::new(class, Verdict::Retry, message).into()
}

pub(super) fn first_token_late(timeouts: &Timeouts) -> FailedExchange {
    let message = format!(
        "no data came within {:?} (`--first-token-timeout`)",
        timeouts.first_token.min(timeouts.total)
    );
    failed(Class::Timeout, &message)
}

pub(super) fn stalled(timeouts: &Timeouts) -> FailedExchange {
    failed(
        Class::Stalled,
        &format!("the answer stopped for {:?} (`--idle-timeout`)", timeouts.idle),
    )
}

pub(super) fn cut(error: &reqwest::Error) -> FailedExchange {
    failed(
        Class::Network,
        &format!(
            "the connection broke in the middle of the answer: {}",
            root(error)
        ),
    )
}

/// Returns an address without its query, which may hold a key.
pub(super) fn address(endpoint: &Url) -> String {
    let mut shown = endpoint.clone();
    shown.set_query(None);
    shown.to_string()
}

pub(super) fn unreachable(error: &reqwest::Error, timeouts: &Timeouts, endpoint: &Url) -> FailedExchange {
    let reached = if error.is_connect() {
        Reached::Nobody
    } else {
        Reached::Server
    };
    let failed = |class, message: &str| FailedExchange {
        reached,
        ..failed(class, message)
    };
    if error.is_timeout() && error.is_connect() {
        return failed(
            Class::Timeout,
            &format!(
                "no connection to `{}` within {:?}",
                address(endpoint),
                timeouts.connect
            ),
        );
    }
    let what = if error.is_connect() {
        "connecting to"
    } else {
        "sending the request to"
    };
    let message = format!("{what} `{}` failed: {}", address(endpoint), root(error));
    if is_permanent(error) {
        return FailedExchange {
            reached: Reached::Nobody,
            ..CallError::new(Class::Network, Verdict::Latch, &message).into()
        };
    }
    if is_local(error) {
        let mut error = CallError::new(Class::Network, Verdict::Pause, &message);
        error.retry_after = Some(LOCAL_PAUSE);
        return FailedExchange {
            reached: Reached::Nobody,
            ..error.into()
        };
    }
    failed(Class::Network, &message)
}

/// Whether this machine has no file descriptor or port left for a connection. Such a failure counts against neither
/// the provider nor the request, and ends as other calls end.
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

/// Returns the error and its causes, the innermost last.
pub(super) fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |cause| {
        cause.source()
    })
}

/// Returns the innermost cause, because reqwest's own text shows only the address.
fn root(error: &reqwest::Error) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}
