//! A server that speaks OpenAI's Chat Completions and Anthropic's Messages and makes its answers up: for rehearsals
//! without a key, for demos without a network, and as the evidence of every test.
//!
//! An answer is the same whenever the seed and the prompt are, in both dialects. It can be checked: a marker in it names the
//! prompt, as in `[mock 1a2b3c4d]`. A plain text ends with the marker; JSON has it in its first string of
//! any length, a plan in its first instruction. JSON is filled by its schema, with strings such as
//! `[mock] cover 1`. The titles, texts and tags of the embedded agents come from a table of samples, so
//! that people can read a first rehearsal. Faults are injected by probability, rate limits are enforced by
//! a strict window, and a log tells what really arrived.
//!
//! Deliberately absent: TLS, HTTP/2, tools other than a forced one, several choices for one request, and any knowledge of
//! nova3's client beside the names of its agents; what the client does right or wrong shows only on the
//! wire.
//!
//! Failure behaviour: an error of one connection ends that connection and nothing else. Only a socket
//! or a log that cannot be opened is an error of the server, and it is one before the server starts.

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

use self::log::Log;
use self::server::Shared;

/// Why a mock server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum MockError {
    /// The address is taken or not ours.
    #[error("failed to listen on `{address}` (choose another with `--listen`)")]
    Bind {
        /// The address as configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The log cannot be written.
    #[error("failed to open the call log `{}`", path.display())]
    Log {
        /// The file as configured.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A server that runs. Dropping it stops it without waiting for anything.
pub struct Mock {
    addr: SocketAddr,
    shared: Arc<Shared>,
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
        .map(|path| Log::open(&path).map_err(|source| MockError::Log { path, source }));
    let listener = server::listen(address).map_err(bound)?;
    let addr = listener.local_addr().map_err(bound)?;
    let shared = Arc::new(Shared::new(config, log.transpose()?));
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
    /// Where the server listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What a client is configured with.
    pub fn base_url(&self) -> String {
        let mut reachable = self.addr;
        if reachable.ip().is_unspecified() {
            reachable.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        format!("http://{reachable}/v1")
    }

    /// The chat calls that arrived so far.
    pub fn calls(&self) -> u64 {
        self.shared.tally.calls()
    }

    /// The counts so far, as `GET /mock/stats` gives them.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Stops accepting and closes every connection. When it returns, the log is complete.
    pub async fn stop(self) {
        drop(self.stop);
        // The task cannot panic and is never aborted; if it did, there would be nothing left to close.
        let _ = self.serving.await;
        let shared = self.shared;
        let flush = move || shared.log.as_ref().map(Log::close);
        let _ = tokio::task::spawn_blocking(flush).await;
    }

    /// Returns when the server has ended, for whatever reason.
    pub async fn stopped(&self) {
        self.ended.cancelled().await;
    }
}
