//! Accepts connections, routes their requests, and closes all connections at the end.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::chat;
use super::config::MockConfig;
use super::credentials;
use super::error_object::{WRONG_KEY, invalid};
use super::limiter::{Denial, LimitStatus, MockLimiter};
use super::log::CallLog;
use super::prompt_cache::PromptCache;
use super::reply::{Cut, Reply};
use super::response;
use super::search;
use super::tally::{Stats, Tally};
use crate::config::Dialect;

/// The most connections that wait to be accepted. A client may open thousands at once. The kernel may allow fewer.
const BACKLOG: u32 = 16_384;

/// The pause after a failed accept. The cause is nearly always a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// The state that all calls of a server share.
pub(crate) struct ServerState {
    pub(crate) config: MockConfig,
    pub(crate) tally: Tally,
    pub(crate) log: Option<CallLog>,
    pub(crate) prompt_cache: PromptCache,
    limiter: Option<Mutex<MockLimiter>>,
    began: Instant,
}

impl ServerState {
    pub(crate) fn new(config: MockConfig, log: Option<CallLog>) -> Self {
        let limiter = MockLimiter::new(config.rpm, config.tpm).map(Mutex::new);
        Self {
            config,
            tally: Tally::default(),
            log,
            prompt_cache: PromptCache::default(),
            limiter,
            began: Instant::now(),
        }
    }

    /// Returns the microseconds since the start.
    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Admits a call that costs `tokens`, and adds the state of the limits to `headers`.
    pub(crate) fn admit(&self, dialect: Dialect, tokens: u64, headers: &mut HeaderMap) -> Result<(), Denial> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        let mut limiter = limiter.lock().unwrap_or_else(PoisonError::into_inner);
        // The time is read under the lock, so that times in the window never decrease.
        let now = self.now_us();
        limiter.admit(now, tokens)?;
        response::show_limits(headers, dialect, &limiter.standings(now));
        Ok(())
    }

    /// Returns the state of the limits.
    pub(crate) fn standings(&self) -> Vec<LimitStatus> {
        let Some(limiter) = &self.limiter else {
            return Vec::new();
        };
        limiter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .standings(self.now_us())
    }

    /// Returns whether the request has the key of the server, or the server needs none.
    pub(crate) fn knows(&self, dialect: Dialect, headers: &HeaderMap) -> bool {
        self.config
            .api_key
            .as_ref()
            .is_none_or(|key| credentials::key(dialect, headers) == Some(key.as_str()))
    }

    /// Returns the counts so far.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            log_error: self.log.as_ref().and_then(CallLog::error),
            ..self.tally.stats()
        }
    }
}

/// Opens the listening socket.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop`. Then it closes every connection and returns when all are closed.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<ServerState>, stop: CancellationToken) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = open.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    open.spawn(connection(socket, CountedConnection::new(&shared)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    open.shutdown().await;
}

/// A connection in the statistics. Its end is counted when it is dropped.
struct CountedConnection(Arc<ServerState>);

impl CountedConnection {
    fn new(shared: &Arc<ServerState>) -> Self {
        shared.tally.connected();
        Self(Arc::clone(shared))
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.tally.disconnected();
    }
}

/// Serves one connection to its end. Its errors are ignored: they come from the client or from a planned fault.
async fn connection(socket: TcpStream, counted: CountedConnection) {
    // Without this, small frames would wait for the acknowledgement of earlier ones.
    let _ = socket.set_nodelay(true);
    let service = service_fn(|request| route(&counted.0, request));
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

async fn route(shared: &Arc<ServerState>, request: Request<Incoming>) -> Result<Response<Reply>, Cut> {
    let (parts, body) = request.into_parts();
    let response = match (&parts.method, parts.uri.path()) {
        (&Method::POST, "/v1/chat/completions" | "/chat/completions") => {
            return chat::chat(shared, Dialect::OpenAi, &parts.headers, body).await;
        }
        (&Method::POST, "/v1/messages" | "/messages") => {
            return chat::chat(shared, Dialect::Anthropic, &parts.headers, body).await;
        }
        (&Method::GET, "/v1/search" | "/search") => {
            return search::search(shared, parts.uri.query()).await;
        }
        (&Method::GET, "/v1/models" | "/models") if shared.knows(Dialect::OpenAi, &parts.headers) => models(),
        (&Method::GET, "/v1/models" | "/models") => {
            response::refusal(StatusCode::UNAUTHORIZED, Dialect::OpenAi, &WRONG_KEY, None)
        }
        (&Method::GET, "/health") => response::json(StatusCode::OK, r#"{"status":"ok"}"#, None),
        (&Method::GET, "/mock/stats") => {
            response::json(StatusCode::OK, json!(shared.stats()).to_string(), None)
        }
        (method, path) => unknown(method, path),
    };
    Ok(response)
}

fn models() -> Response<Reply> {
    let model = |id| json!({ "id": id, "object": "model", "created": 1_700_000_000, "owned_by": "nova3" });
    let list = json!({ "object": "list", "data": [model("mock-small"), model("mock-large")] });
    response::json(StatusCode::OK, list.to_string(), None)
}

fn unknown(method: &Method, path: &str) -> Response<Reply> {
    let message = format!("Invalid URL ({method} {path})");
    response::refusal(
        StatusCode::NOT_FOUND,
        Dialect::OpenAi,
        &invalid(&message, Some("unknown_url")),
        None,
    )
}
