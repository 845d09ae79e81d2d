//! What can go wrong on the way of one exchange, in the words of a person.

use std::time::Duration;

use reqwest::Url;

use super::connections::is_permanent;
use super::response::Verbatim;
use super::wire::{CallError, RateHeaders};
use crate::config::Timeouts;
use crate::domain::failure::{Class, Verdict};

/// How long a route pauses when this machine has no descriptor or port left for a connection.
const LOCAL_PAUSE: Duration = Duration::from_secs(1);

/// A bad one.
pub(super) struct Failed {
    pub(super) error: CallError,
    /// The HTTP error as it came, for a Batch line.
    pub(super) response: Option<Verbatim>,
    /// How far it went.
    pub(super) reached: Reached,
    pub(super) rate: RateHeaders,
}

/// How far a failed call went, which decides what it may have cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// There was no connection: nothing was sent.
    Nobody,
    /// The server refused it by its status: nothing is charged for that.
    Refusal,
    /// The server may have worked on it.
    Server,
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self {
            error,
            response: None,
            reached: Reached::Server,
            rate: RateHeaders::default(),
        }
    }
}

pub(super) fn failed(class: Class, message: &str) -> Failed {
    CallError::new(class, Verdict::Retry, message).into()
}

pub(super) fn first_token_late(timeouts: &Timeouts) -> Failed {
    let message = format!(
        "no data came within {:?} (`--first-token-timeout`)",
        timeouts.first_token.min(timeouts.total)
    );
    failed(Class::Timeout, &message)
}

pub(super) fn stalled(timeouts: &Timeouts) -> Failed {
    failed(
        Class::Stalled,
        &format!("the answer stopped for {:?} (`--idle-timeout`)", timeouts.idle),
    )
}

pub(super) fn cut(error: &reqwest::Error) -> Failed {
    failed(
        Class::Network,
        &format!(
            "the connection broke in the middle of the answer: {}",
            root(error)
        ),
    )
}

/// An address without its query, which may hold a key.
pub(super) fn address(endpoint: &Url) -> String {
    let mut shown = endpoint.clone();
    shown.set_query(None);
    shown.to_string()
}

pub(super) fn unreachable(error: &reqwest::Error, timeouts: &Timeouts, endpoint: &Url) -> Failed {
    let reached = if error.is_connect() {
        Reached::Nobody
    } else {
        Reached::Server
    };
    let failed = |class, message: &str| Failed {
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
        return Failed {
            reached: Reached::Nobody,
            ..CallError::new(Class::Network, Verdict::Latch, &message).into()
        };
    }
    if is_local(error) {
        let mut error = CallError::new(Class::Network, Verdict::Pause, &message);
        error.retry_after = Some(LOCAL_PAUSE);
        return Failed {
            reached: Reached::Nobody,
            ..error.into()
        };
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
pub(super) fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |cause| {
        cause.source()
    })
}

/// The innermost cause: reqwest's own text is only the address.
fn root(error: &reqwest::Error) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}
