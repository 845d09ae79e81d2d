//! The connections of a route: which failures of one say nothing of the route, and which no wait mends.
//!
//! A server closes a connection that has been idle for its own keep-alive time, without a word. A request that is sent at
//! that moment meets a reset before the first byte of an answer. It is sent again at once on a new connection, and the
//! first try is not counted.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::fault::causes;

/// How long an idle connection is kept. Servers close theirs after 20 s and more; load balancers after 60 s.
pub(super) const KEPT_IDLE: Duration = Duration::from_secs(15);

/// What resolvers say of a name that does not exist: glibc, musl, macOS. A resolver that is out of reach says otherwise.
const UNKNOWN_NAME: [&str; 4] = [
    "Name or service not known",
    "No address associated with hostname",
    "Name does not resolve",
    "nodename nor servname provided",
];

/// What is said of a scheme in `HTTPS_PROXY` that is not supported.
const UNSUPPORTED_PROXY: &str = "unsupported scheme";

/// When a connection of the route was last given back for the next request.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Option<Instant>>);

impl Connections {
    /// An answer has come whole: its connection may carry the next request.
    pub(super) fn given_back(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a request may be sent on a connection that has carried another one.
    pub(super) fn may_be_reused(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() <= KEPT_IDLE)
    }
}

/// Whether the server closed the connection before the first byte of its answer.
pub(super) fn is_closed_early(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    !error.is_connect()
        && !error.is_timeout()
        && causes(error).any(|cause| {
            let of_hyper = cause.downcast_ref::<hyper::Error>();
            let of_io = cause.downcast_ref::<std::io::Error>();
            of_hyper.is_some_and(|error| error.is_incomplete_message() || error.is_canceled())
                || of_io.is_some_and(|error| {
                    matches!(
                        error.kind(),
                        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
                    )
                })
        })
}

/// Whether a setting has to change before there can be a connection: the certificate is refused, the server speaks no
/// TLS, the proxy's scheme is not supported, or the name does not exist.
pub(super) fn is_permanent(error: &reqwest::Error) -> bool {
    error.is_connect() && causes(error).any(|cause| is_refused_tls(cause) || is_setting(&cause.to_string()))
}

fn is_setting(message: &str) -> bool {
    message.starts_with(UNSUPPORTED_PROXY) || UNKNOWN_NAME.iter().any(|words| message.contains(words))
}

fn is_refused_tls(cause: &(dyn std::error::Error + 'static)) -> bool {
    use rustls::Error::{InvalidCertificate, InvalidMessage, NoCertificatesPresented, PeerIncompatible};
    matches!(
        innermost(cause).downcast_ref(),
        Some(InvalidCertificate(_) | InvalidMessage(_) | NoCertificatesPresented | PeerIncompatible(_))
    )
}

/// What an I/O error was made of: its `source` is only what lies behind that.
fn innermost<'e>(cause: &'e (dyn std::error::Error + 'static)) -> &'e (dyn std::error::Error + 'static) {
    let mut cause = cause;
    while let Some(inner) = cause
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref)
    {
        cause = inner;
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_exist_is_told_from_a_resolver_that_is_out_of_reach() {
        let lookup = "failed to lookup address information: ";
        for (said, permanent) in [
            ("Name or service not known", true),
            ("No address associated with hostname", true),
            ("Name does not resolve", true),
            ("Temporary failure in name resolution", false),
            ("Try again", false),
        ] {
            assert_eq!(is_setting(&format!("{lookup}{said}")), permanent, "{said}");
        }
        assert!(is_setting("unsupported scheme socks5"));
        assert!(!is_setting("Connection refused (os error 111)"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_may_be_reused_for_as_long_as_an_idle_one_is_kept() {
        let connections = Connections::default();
        assert!(!connections.may_be_reused());
        connections.given_back();
        tokio::time::advance(KEPT_IDLE).await;
        assert!(connections.may_be_reused());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!connections.may_be_reused());
    }
}
