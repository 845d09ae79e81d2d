//! The scrape endpoint: `GET /metrics` and `GET /healthz`, on a thread of its own.
//!
//! Each connection serves one request and has a few seconds for it. Connections above [`MOST_CONNECTIONS`] are closed
//! at once. A scraper that stalls, sends garbage or connects a thousand times therefore holds nothing of the run.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as BoundListener};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::RunMetrics;

/// Connections that are served at once. Prometheus needs one.
const MOST_CONNECTIONS: usize = 16;

/// The time for the headers of a request.
const HEADERS: Duration = Duration::from_secs(3);

/// The time of a connection as a whole.
const WHOLE: Duration = Duration::from_secs(10);

/// The largest request line with its headers.
const LARGEST_REQUEST: usize = 16 << 10;

/// The wait after the system refused a connection, for example because no file descriptor is left.
const REFUSED: Duration = Duration::from_millis(200);

/// The interval at which samples of histograms are moved into their buckets.
const TIDY: Duration = Duration::from_secs(5);

/// A bound address that does not serve yet.
#[derive(Debug)]
pub struct MetricsEndpoint {
    listener: BoundListener,
    address: SocketAddr,
}

impl MetricsEndpoint {
    /// Binds the address. Port 0 takes a free port.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = BoundListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The bound address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on a thread of its own until the process ends.
    pub fn serve(self, metrics: Arc<RunMetrics>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(self.listener)?
        };
        std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || runtime.block_on(accept(listener, metrics)))?;
        Ok(())
    }
}

async fn accept(listener: TcpListener, metrics: Arc<RunMetrics>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut tidy = interval(TIDY);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = tidy.tick() => {
                metrics.tidy();
                continue;
            }
        };
        match accepted {
            Ok((stream, _)) => {
                if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                    let metrics = Arc::clone(&metrics);
                    connections.spawn(async move {
                        serve(stream, metrics).await;
                        drop(place);
                    });
                }
            }
            Err(error) => {
                tracing::debug!("the metrics endpoint cannot accept a connection: {error}");
                sleep(REFUSED).await;
            }
        }
    }
}

/// Serves one request. An error concerns this scraper only.
async fn serve(stream: TcpStream, metrics: Arc<RunMetrics>) {
    let service = service_fn(move |request| {
        let response = answer(&metrics, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .keep_alive(false)
        .max_buf_size(LARGEST_REQUEST)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(WHOLE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a scrape failed: {error}"),
        Err(_) => tracing::debug!("a scraper was too slow"),
    }
}

fn answer(metrics: &RunMetrics, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let is_get = request.method() == Method::GET;
    let (status, kind, body) = match request.uri().path() {
        "/metrics" | "/healthz" if !is_get => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new()),
        "/metrics" => (StatusCode::OK, "text/plain; version=0.0.4", metrics.render()),
        "/healthz" => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "not found\n".to_owned()),
    };
    let response = Response::builder().status(status).header(CONTENT_TYPE, kind);
    let response = if status == StatusCode::METHOD_NOT_ALLOWED {
        response.header(ALLOW, "GET")
    } else {
        response
    };
    // The parts are constants, so that they are always valid.
    response.body(Full::new(body.into())).unwrap_or_default()
}
