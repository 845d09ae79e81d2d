//! Connections to a PostgreSQL database, their time limits, and the meaning of their failures.
//!
//! Failure behaviour: nothing waits for ever.
//!
//! * Every statement has a time limit here and on the server. A statement that the server cancelled at its limit is
//!   never sent again unchanged.
//! * Keepalives and `tcp_user_timeout` detect a dead network.
//! * A connection that was left in the middle of a statement or transaction is closed, which rolls the transaction
//!   back.
//! * An error says whether waiting cures it, and [`Database::patiently`] waits until then: a database that restarts,
//!   fails over or cannot be reached loses nothing meanwhile.
//!
//! Statements are unnamed and a session has no state, so that a pooler in transaction mode may stand between.
//!
//! Deliberately absent: SQL, which belongs to the callers.

mod composites;
mod connection;
mod fault;
mod params;
mod tls;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio::time::Instant;

pub use composites::Composites;
pub use connection::Connection;
pub use fault::{DatabaseFault, Passes, Passing};
pub use params::{Param, PgText, SentParam, text};

use crate::config::PostgresAddress;

/// The most connections of one process, beside the one for lease renewals. Statements are short, so that few
/// connections serve many calls; each one is a process of the server.
const CONNECTIONS: usize = 7;

/// The time limit of connecting, TLS included.
const CONNECT: Duration = Duration::from_secs(5);

/// The time limit of a statement at the client; the server ends it a little earlier.
const STATEMENT: Duration = Duration::from_secs(20);

/// Time limits at the server: for a statement, for a lock, and for idling in a transaction. A transaction whose client
/// is gone or frozen would block other clients. The server gives up a dead network as soon as the client does.
const SERVER_LIMITS: &str = "-c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=10s \
     -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2 -c tcp_user_timeout=10s \
     -c jit=off";

/// Makes every transaction of a connection one that only reads.
const READ_ONLY: &str = "-c default_transaction_read_only=on";

/// Shorter limits for the connection that renews leases. A renewal that takes longer is too late, and one locked row
/// must not delay the others.
const RENEWAL_LIMITS: &str = "-c statement_timeout=5s -c lock_timeout=2s";

/// Data that is not acknowledged for this long means that the network is dead (`tcp(7)`).
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// The first and the longest wait between two tries while the database is out of reach; the real wait is jittered below
/// it.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// How often a statement is retried after conflicts with concurrent transactions. More conflicts would be a bug of ours
/// that looks like a conflict.
const RIVALS: u32 = 50;

/// A database and its connections. Clones share them.
#[derive(Debug, Clone)]
pub struct Database {
    pool: Pool,
    /// A separate connection for work that must not wait for other work.
    apart: Pool,
    shown: Arc<str>,
    trouble: Arc<Mutex<Option<Trouble>>>,
    composites: Arc<Mutex<Option<Arc<Composites>>>>,
}

/// The time limit of each statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// The limit of the connection.
    Usual,
    /// This limit.
    Longer(Duration),
}

impl Within {
    /// Returns the next longer limit; `None` after the longest.
    fn longer(self) -> Option<Self> {
        match self {
            Self::Usual => Some(Self::Longer(Duration::from_secs(60))),
            Self::Longer(limit) if limit < Duration::from_secs(240) => Some(Self::Longer(limit * 4)),
            Self::Longer(_) => None,
        }
    }
}

/// Why the database does not answer.
#[derive(Debug, Clone)]
struct Trouble {
    since: Instant,
    reason: String,
}

impl Database {
    /// Creates a pool for the address without connecting. The error names a certificate that cannot be used.
    pub fn new(address: &PostgresAddress) -> Result<Self, String> {
        Self::with_options(address, SERVER_LIMITS)
    }

    /// As [`Self::new`]. The connections only read: the server refuses every change, also if it is no replica.
    pub fn to_read(address: &PostgresAddress) -> Result<Self, String> {
        Self::with_options(address, &format!("{SERVER_LIMITS} {READ_ONLY}"))
    }

    fn with_options(address: &PostgresAddress, ours: &str) -> Result<Self, String> {
        let mut connection = address.connection.clone();
        if connection.get_application_name().is_none() {
            connection.application_name(concat!("nova3 ", env!("CARGO_PKG_VERSION")));
        }
        let theirs = connection.get_options().unwrap_or_default();
        let options = format!("{ours} {theirs}");
        connection
            .options(options.trim_end())
            .connect_timeout(CONNECT)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(2)
            .tcp_user_timeout(UNACKNOWLEDGED);
        let tls = tls::connector(address.tls, address.root_certificates.as_deref())?;
        let pool = |connection: &tokio_postgres::Config, size: usize| {
            let recycling_method = RecyclingMethod::Fast;
            let manager = Manager::from_config(
                connection.clone(),
                tls.clone(),
                ManagerConfig { recycling_method },
            );
            Pool::builder(manager)
                .max_size(size)
                .runtime(Runtime::Tokio1)
                .create_timeout(Some(CONNECT))
                .build()
                .map_err(|error| error.to_string())
        };
        let common = pool(&connection, CONNECTIONS)?;
        connection.options(format!("{options} {RENEWAL_LIMITS}"));
        Ok(Self {
            pool: common,
            apart: pool(&connection, 1)?,
            shown: address.to_string().into(),
            trouble: Arc::default(),
            composites: Arc::default(),
        })
    }

    /// Its address without the password.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Returns a connection of the pool, or a new one; waits until one is free.
    pub async fn connect(&self) -> Result<Connection, DatabaseFault> {
        let pooled = self.pool.get().await.map_err(DatabaseFault::of_pool)?;
        Ok(Connection::new(pooled, STATEMENT))
    }

    /// Returns the connection for lease renewals, which no other work uses.
    pub async fn connect_apart(&self) -> Result<Connection, DatabaseFault> {
        let pooled = self.apart.get().await.map_err(DatabaseFault::of_pool)?;
        Ok(Connection::new(pooled, STATEMENT))
    }

    /// As [`Self::connect`]. With a longer limit the work is one transaction, which [`Connection::end_within`] ends.
    pub async fn connect_within(&self, within: Within) -> Result<Connection, DatabaseFault> {
        let mut connection = self.connect().await?;
        if let Within::Longer(limit) = within {
            connection.begin_long(limit).await?;
        }
        Ok(connection)
    }

    /// Returns why the database does not answer, and since when.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let Trouble { since, reason } = trouble.as_ref()?;
        Some(format!(
            "the database does not answer, for {} s ({reason})",
            since.elapsed().as_secs()
        ))
    }

    /// Repeats the attempt until it succeeds, fails in a way that waiting does not cure, or has had `RIVALS` conflicts.
    /// An attempt may have taken effect although its answer was lost, so it must be safe to repeat. Cancel-safe between
    /// two tries.
    pub async fn patiently<T, E, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, E>
    where
        E: Passing,
        F: Future<Output = Result<T, E>>,
    {
        let mut wait = FIRST_WAIT;
        let mut rivals = 0;
        loop {
            let done = attempt().await;
            let passes = done.as_ref().err().and_then(Passing::passing);
            let Some(Passes { reason, of_rivals }) = passes.filter(|_| rivals < RIVALS) else {
                self.note(None);
                return done;
            };
            rivals += u32::from(of_rivals);
            if !of_rivals {
                self.note(Some(reason));
            }
            tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            wait = if of_rivals {
                FIRST_WAIT
            } else {
                (wait * 2).min(LONGEST_WAIT)
            };
        }
    }

    /// As [`Self::patiently`]. A statement that the server cancelled at its time limit is repeated with a longer limit;
    /// the call fails when the longest one was too short.
    pub async fn patiently_within<T, E, F>(&self, mut attempt: impl FnMut(Within) -> F) -> Result<T, E>
    where
        E: Passing,
        F: Future<Output = Result<T, E>>,
    {
        let mut within = Within::Usual;
        loop {
            let done = self.patiently(|| attempt(within)).await;
            let cancelled = done.as_ref().err().is_some_and(Passing::is_cancelled);
            match within.longer().filter(|_| cancelled) {
                Some(longer) => within = longer,
                None => return done,
            }
            tracing::warn!(
                store = &*self.shown,
                "the database cancelled a statement at its time limit; it is tried within a longer one"
            );
        }
    }

    fn note(&self, reason: Option<String>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (reason, trouble.as_mut()) {
            (None, None) => {}
            (None, Some(_)) => {
                *trouble = None;
                tracing::info!(store = &*self.shown, "the database answers again");
            }
            (Some(reason), Some(known)) => known.reason = reason,
            (Some(reason), None) => {
                tracing::info!(
                    store = &*self.shown,
                    reason,
                    "the database does not answer; waiting for it"
                );
                let since = Instant::now();
                *trouble = Some(Trouble { since, reason });
            }
        }
    }

    /// Closes the connections.
    pub fn close(&self) {
        self.pool.close();
        self.apart.close();
    }
}
