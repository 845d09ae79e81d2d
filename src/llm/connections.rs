//! The connections of a route: which failures of one say nothing of the route, and which no wait mends.
//!
//! A server closes a connection that has been idle for its own keep-alive time, without a word. A request that is sent at
//! that moment meets a reset before the first byte of an answer. It is sent again at once on a new connection, and the
//! first try is not counted.

use std::cell::Cell;
use std::task::{Context, Poll};
use std::time::Duration;

use tower::{Layer, Service};

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

tokio::task_local! {
    /// Whether the request of this task has begun a new connection.
    static BEGUN: Cell<bool>;
}

/// Sees each new connection of a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watched;

impl<S> Layer<S> for Watched {
    type Service = WatchedService<S>;

    fn layer(&self, connect: S) -> WatchedService<S> {
        WatchedService(connect)
    }
}

/// A connector behind [`Watched`].
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
        // Connections that nobody waits for are begun outside of any request.
        BEGUN.try_with(|begun| begun.set(true)).unwrap_or_default();
        self.0.call(address)
    }
}

/// Sends a request; answers whether it went out on a connection that had carried another one before.
///
/// A request that began a new connection and was overtaken by one that came back counts as on a new one.
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
}
