//! A server that speaks OpenAI's Chat Completions and Anthropic's Messages and invents its answers. It serves
//! rehearsals without a key, demos without a network, and the tests.
//!
//! Equal seeds and prompts give equal answers, in both dialects. An answer can be checked: a marker in it names the
//! prompt, as in `[mock 1a2b3c4d]`. A plain text ends with the marker. JSON has it in its first string that may have
//! any length; a plan has it in its first instruction. JSON is filled by its schema, with strings such as
//! `[mock] cover 1`. The titles, texts and tags of the embedded agents come from a table of samples, so that people can
//! read a first rehearsal. A fact quotes a search result of its prompt, if the prompt has one. Faults are injected by
//! probability, a strict window enforces the rate limits, and a log records every call that arrived. `GET /search` is a
//! search provider with sample results, for rehearsals and tests.
//!
//! Deliberately absent: TLS, HTTP/2, tools other than a forced one, several choices for one request, and any knowledge
//! of nova3's client except the names of its agents. The mock knows a client only by its requests.
//!
//! Failure behaviour: an error of one connection ends that connection and nothing else. The server itself fails only
//! before its start, if its socket or its log cannot be opened.

mod answer;
mod answer_request;
mod call;
mod chat;
mod chunks;
mod config;
mod credentials;
mod error_object;
mod events;
mod extras;
mod faults;
mod frames;
mod grounding;
mod limiter;
mod log;
mod messages;
mod number;
mod plan;
mod prompt;
mod prompt_cache;
mod refusal;
mod reply;
mod request;
mod response;
mod samples;
mod schema;
mod search;
mod search_samples;
mod server;
mod strings;
mod tally;
mod tokens;
mod topic;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::config::{Latency, MockConfig};
pub use self::faults::Faults;
pub use self::prompt::{key_id, prompt_id};
pub use self::tally::{Busiest, Gauge, Stats};

use self::log::CallLog;
use self::server::ServerState;

/// Why a mock server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum MockError {
    /// The address is in use or does not belong to this machine.
    #[error("failed to listen on `{address}` (choose another with `--listen`)")]
    Bind {
        /// The address as configured.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The log cannot be opened.
    #[error("failed to open the call log `{}`", path.display())]
    Log {
        /// The file as configured.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

/// A running server. Dropping it stops the server and does not wait for its end.
pub struct Mock {
    addr: SocketAddr,
    shared: Arc<ServerState>,
    serving: JoinHandle<()>,
    stop: DropGuard,
    ended: CancellationToken,
}

/// Starts a server on the current tokio runtime. It accepts connections when this returns.
#[expect(
    clippy::unused_async,
    reason = "the caller must be inside a runtime, and an async fn says so"
)]
pub async fn start(config: MockConfig) -> Result<Mock, MockError> {
    let address = config.listen;
    let bound = |source| MockError::Bind { address, source };
    let log = config
        .log
        .clone()
        .map(|path| CallLog::open(&path).map_err(|source| MockError::Log { path, source }));
    let listener = server::listen(address).map_err(bound)?;
    let addr = listener.local_addr().map_err(bound)?;
    let shared = Arc::new(ServerState::new(config, log.transpose()?));
    let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
    let serving = server::serve(listener, Arc::clone(&shared), stop.clone());
    let at_end = ended.clone().drop_guard();
    let serving = tokio::spawn(async move {
        let _at_end = at_end;
        serving.await;
    });
    Ok(Mock {
        addr,
        shared,
        serving,
        stop: stop.drop_guard(),
        ended,
    })
}

impl Mock {
    /// Returns the address on which the server listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the base address for clients.
    pub fn base_url(&self) -> String {
        let mut reachable = self.addr;
        if reachable.ip().is_unspecified() {
            reachable.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        format!("http://{reachable}/v1")
    }

    /// Returns the number of chat calls that arrived so far.
    pub fn calls(&self) -> u64 {
        self.shared.tally.calls()
    }

    /// Returns the counts so far, like `GET /mock/stats`.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Stops accepting and closes every connection. When it returns, the log is complete.
    pub async fn stop(self) {
        drop(self.stop);
        // The task does not panic and is never aborted. After a panic there would be nothing left to close.
        let _ = self.serving.await;
        let shared = self.shared;
        let flush = move || shared.log.as_ref().map(CallLog::close);
        let _ = tokio::task::spawn_blocking(flush).await;
    }

    /// Returns when the server has ended, for any reason.
    pub async fn stopped(&self) {
        self.ended.cancelled().await;
    }
}
