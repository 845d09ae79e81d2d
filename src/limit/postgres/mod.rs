//! The limiter of a fleet: one row of a PostgreSQL table for each route.
//!
//! ```text
//! take ──▶ queue: waiting callers, in order ──▶ batcher: one statement for all of them ──▶ nova3_take(…) on the row
//! settle, lower, pause ──▶ queue ────────▶   │
//!   ◀── grants, pauses of others ───────────┘
//! ```
//!
//! Failure behaviour:
//!
//! * While the database is out of reach, nothing is granted, and callers wait until it answers.
//! * The row is unlogged: a crash of the server loses it. The server then grants nothing for a minute, in which all
//!   earlier grants expire.
//! * A statement whose answer is lost counts as if everything in it had been granted and nothing given back.
//! * When a process crashes, its grants and reservations count as used.
//!
//! The clock is the server's. The process uses its own monotonic clock only for the age of an answer.

mod grant_batcher;
mod row;
mod wait_queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::grant_batcher::GrantBatcher;
use self::row::LimitRow;
use self::wait_queue::{QueuePlace, WaitQueue};
use super::{Grant, Limiter, Limits, Pause, TooLarge, WaitingGuard, prolong};
use crate::postgres::Database;

/// A limiter whose limits are shared by everyone who uses their name in the same database.
#[derive(Debug)]
pub struct InPostgres {
    database: Database,
    name: String,
    queue: Arc<WaitQueue>,
    pauses: watch::Sender<Option<Pause>>,
    waiting: AtomicUsize,
    /// Whether the warning about late answers was logged.
    told_late: AtomicBool,
    /// The batcher, which ends with the limiter. Corrections that it has not sent by then stay reserved.
    _asker: JoinSet<()>,
}

impl InPostgres {
    /// Creates a limiter for the limits of this name, which other processes may share. The first statement creates the
    /// row.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn new(database: Database, name: &str, limits: Limits) -> Self {
        let queue = Arc::new(WaitQueue::new(limits));
        let pauses = watch::Sender::default();
        let batcher = GrantBatcher::new(
            LimitRow::new(database.clone(), name),
            Arc::clone(&queue),
            pauses.clone(),
        );
        let mut owner = JoinSet::new();
        owner.spawn(batcher.run());
        Self {
            database,
            name: name.to_owned(),
            queue,
            pauses,
            waiting: AtomicUsize::new(0),
            told_late: AtomicBool::new(false),
            _asker: owner,
        }
    }
}

#[async_trait]
impl Limiter for InPostgres {
    async fn take(&self, tokens: u64) -> Result<Grant, TooLarge> {
        let _waiting = WaitingGuard::begin(&self.waiting);
        let mut place = QueuePlace::Last;
        loop {
            let grant = self.queue.queue(tokens, place).await?;
            if grant.is_fresh() {
                return Ok(grant);
            }
            self.queue.give_back(&grant);
            if !self.told_late.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "a grant expired before it arrived, and nova3 asks again (is the database slow or far away?)"
                );
            }
            place = QueuePlace::First;
        }
    }

    fn settle(&self, grant: Grant, used: u64) {
        self.queue.correct(grant.settled(used));
    }

    fn give_back(&self, grant: Grant) {
        self.queue.give_back(&grant);
    }

    fn keep(&self, limits: Limits) {
        self.queue.keep(limits);
    }

    fn learn(&self, limits: Limits) {
        self.queue.learn(limits);
    }

    /// The name of its row joins both names with a line break, which neither of them contains.
    fn of_model(&self, model: &str) -> Arc<dyn Limiter> {
        let name = format!("{}\n{model}", self.name);
        Arc::new(Self::new(self.database.clone(), &name, self.queue.limits()))
    }

    fn pause(&self, lasting: Duration, reason: &str) {
        let now = Instant::now();
        prolong(&self.pauses, now, lasting, reason);
        self.queue.pause(now + lasting, reason);
    }

    fn pauses(&self) -> watch::Receiver<Option<Pause>> {
        self.pauses.subscribe()
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The row holds the grants of every process. Grants that this one has not given back yet stay reserved.
    async fn close(&self) {}
}
