//! A network that can fail, between a client and a port of this machine.
//!
//! A dead network holds bytes and delivers them late when it works again, as TCP's own retransmission does: a statement
//! can reach the server after its client has given up. The end of a connection is held like a byte.
//!
//! Deliberately absent: lost or reordered bytes inside a connection (TCP hides both), and a refused connection (a test
//! stops the server for that).
#![expect(
    clippy::expect_used,
    reason = "the helpers of a test fail the way a test does"
)]

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// The directions in which bytes pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    Alive,
    /// Neither direction. A new connection is accepted, and waits until the network works again.
    Dead,
    /// Requests arrive at the server; its answers do not arrive at the client.
    NoAnswers,
    /// Answers arrive at the client; its requests do not arrive at the server.
    NoRequests,
}

impl Network {
    fn passes_requests(self) -> bool {
        matches!(self, Self::Alive | Self::NoAnswers)
    }

    fn passes_answers(self) -> bool {
        matches!(self, Self::Alive | Self::NoRequests)
    }
}

/// A proxy; dropping it ends it and its connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    server: u16,
    network: watch::Sender<Network>,
    resets: mpsc::UnboundedSender<Done>,
    counts: Arc<Counts>,
}

/// Notified when a reset is complete. The channel is that of the standard library, because a test waits for it with or
/// without a runtime.
type Done = std::sync::mpsc::Sender<()>;

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    open: AtomicUsize,
}

impl Proxy {
    /// Starts a proxy in front of a port of 127.0.0.1; the network works.
    pub(crate) fn to(server: u16) -> Self {
        let network = watch::Sender::new(Network::Alive);
        // Unbounded, because each caller waits until its reset is done.
        let (resets, asked) = mpsc::unbounded_channel();
        let counts = Arc::new(Counts::default());
        // A thread of its own, so that tests can use the proxy with and without a runtime.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (gate, counted) = (network.subscribe(), Arc::clone(&counts));
        std::thread::spawn(move || runtime.block_on(serve(listener, server, gate, asked, counted)));
        Self {
            port,
            server,
            network,
            resets,
            counts,
        }
    }

    /// Sets the state of the network for all connections, old and new.
    pub(crate) fn set(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// Resets every accepted connection on both sides, also through a dead network, as a router does that has lost its
    /// state. On return none of them is left; later connections are not reset.
    pub(crate) fn reset_all(&self) {
        let (done, reset) = std::sync::mpsc::channel();
        self.resets.send(done).expect("a running proxy");
        reset.recv().expect("a reset");
    }

    /// Returns the URL of the server with the port of the proxy.
    pub(crate) fn url(&self, direct: &str) -> String {
        direct.replacen(&format!(":{}/", self.server), &format!(":{}/", self.port), 1)
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.counts.accepted.load(SeqCst)
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.counts.open.load(SeqCst)
    }
}

/// Accepts connections until the proxy is dropped.
async fn serve(
    listener: TcpListener,
    server: u16,
    gate: watch::Receiver<Network>,
    mut resets: mpsc::UnboundedReceiver<Done>,
    counts: Arc<Counts>,
) {
    let (mut connections, cut) = (JoinSet::new(), watch::Sender::new(()));
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted.expect("a connection");
                counts.accepted.fetch_add(1, SeqCst);
                counts.open.fetch_add(1, SeqCst);
                let (gate, cut, counts) = (gate.clone(), cut.subscribe(), Arc::clone(&counts));
                connections.spawn(async move {
                    drop(connect(client, server, gate, cut).await);
                    counts.open.fetch_sub(1, SeqCst);
                });
            }
            Some(_) = connections.join_next() => {}
            asked = resets.recv() => {
                let Some(done) = asked else { return };
                cut.send_replace(());
                while connections.join_next().await.is_some() {}
                done.send(()).expect("the caller waits");
            }
        }
    }
}

/// Serves one connection, until both directions have ended or one of them breaks.
async fn connect(
    mut client: TcpStream,
    port: u16,
    gate: watch::Receiver<Network>,
    mut cut: watch::Receiver<()>,
) -> io::Result<()> {
    let mut server = None;
    let ended = tokio::select! {
        ended = pass_both(&mut client, &mut server, port, gate) => ended,
        _ = cut.changed() => Err(io::ErrorKind::ConnectionReset.into()),
    };
    if ended.is_err() {
        for socket in [Some(client), server].into_iter().flatten() {
            socket.set_zero_linger()?;
        }
    }
    Ok(())
}

async fn pass_both(
    client: &mut TcpStream,
    server: &mut Option<TcpStream>,
    port: u16,
    mut gate: watch::Receiver<Network>,
) -> io::Result<()> {
    gate.wait_for(|network| *network == Network::Alive)
        .await
        .map_err(io::Error::other)?;
    let server = server.insert(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::try_join!(
        pass(from_client, to_server, gate.clone(), Network::passes_requests),
        pass(from_server, to_client, gate, Network::passes_answers),
    )?;
    Ok(())
}

/// Passes the bytes of one direction, until its end.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut gate: watch::Receiver<Network>,
    passes: fn(Network) -> bool,
) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await;
        gate.wait_for(|network| passes(*network))
            .await
            .map_err(io::Error::other)?;
        match read? {
            0 => return to.shutdown().await,
            length => to.write_all(&bytes[..length]).await?,
        }
    }
}
