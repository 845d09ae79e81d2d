//! The connections of a route: which connection failures do not count against the route, and which of them are
//! permanent.
//!
//! A server closes a connection without notice when it has been idle for the server's keep-alive time. A request that
//! is sent at that moment meets a reset before the first byte of an answer. It is sent again at once on a new
//! connection, and the first attempt is not counted.

use std::cell::Cell;
use std::task::{Context, Poll};
use std::time::Duration;

use tower::{Layer, Service};

use super::fault::causes;

/// The time for which an idle connection is kept. Servers close theirs after 20 s or more, load balancers after 60 s.
pub(super) const KEPT_IDLE: Duration = Duration::from_secs(15);

/// Resolver messages for a name that does not exist: glibc, musl, macOS. An unreachable resolver gives another
/// message.
const UNKNOWN_NAME: [&str; 4] = [
    "Name or service not known",
    "No address associated with hostname",
    "Name does not resolve",
    "nodename nor servname provided",
];

/// The message for an unsupported scheme in `HTTPS_PROXY`.
const UNSUPPORTED_PROXY: &str = "unsupported scheme";

tokio::task_local! {
    /// Whether the request of this task has opened a new connection.
    static BEGUN: Cell<bool>;
}

/// Observes each new connection of a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watched;

impl<S> Layer<S> for Watched {
    type Service = WatchedService<S>;

    fn layer(&self, connect: S) -> WatchedService<S> {
        WatchedService(connect)
    }
}

/// A connector wrapped by [`Watched`].
#[derive(Debug, Clone)]
pub(super) struct WatchedService<S>(S);

impl<S: Service<A>, A> Service<A> for WatchedService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, address: A) -> S::Future {
        // A connection that no request waits for is opened outside of any request.
        BEGUN.try_with(|begun| begun.set(true)).unwrap_or_default();
        self.0.call(address)
    }
}

/// Sends a request. Returns whether it was sent on a connection that had carried another request before.
///
/// A request counts as sent on a new connection if it opened one, even if a returned connection was free earlier.
pub(super) async fn on_reused<T>(sending: impl Future<Output = T>) -> (T, bool) {
    BEGUN
        .scope(Cell::new(false), async {
            let sent = sending.await;
            (sent, BEGUN.with(|begun| !begun.get()))
        })
        .await
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

/// Whether a setting must change before a connection is possible: the certificate is refused, the server does not use
/// TLS, the scheme of the proxy is not supported, or the name does not exist.
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

/// Returns the error inside an I/O error. The `source` of an I/O error skips that error.
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
}
