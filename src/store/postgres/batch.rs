//! Settlements, plans and reservations of many queues in one statement: what comes in while a statement is on its way to
//! the disk goes with the next.
//!
//! One statement is in flight at a time, so that its size follows the load: one entry at rest, hundreds under pressure. A
//! statement ends once it holds enough bytes of results. A statement that the database cancelled at its time limit is
//! halved. When one fails in a way that does not pass, each entry is tried alone, so that a bad one spoils nobody else's.
//! Entries must therefore be able to be offered twice.

use std::collections::HashSet;
use std::fmt;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::fault::Fault;
use crate::domain::task::TaskNo;
use crate::postgres::{Database, Passing, Within};
use crate::store::keys::GROUP_BYTES;
use crate::store::{Settled, StoreError};

/// One statement takes at most so many: more would save little, and keep others waiting for the run's row.
const GROUP: usize = 256;

/// Those that may wait. Senders wait when it is full, which slows claims before memory grows.
const WAITING: usize = 1024;

/// An entry of a statement that writes for many queues of one run.
#[async_trait]
pub(super) trait Entry: Sized + Send + Sync + 'static {
    /// What the database answers to one entry.
    type Answer: Send + 'static;

    /// The queue it is about.
    fn queue(&self) -> i64;

    /// Entries with other terms go into other statements.
    fn terms(&self) -> u64 {
        0
    }

    /// About how many bytes its result takes.
    fn bytes(&self) -> usize;

    /// Writes all of them, which are of one run and one set of terms, in one statement; answers in their order. Under the
    /// same tickets it is safe to do again.
    async fn write(
        database: &Database,
        run: i64,
        group: &[&Self],
        tickets: &[i64],
        within: Within,
    ) -> Result<Vec<Self::Answer>, Fault>;
}

struct Waiting<T: Entry> {
    what: T,
    /// By which it is known when its answer was lost and it is offered again.
    ticket: i64,
    reply: oneshot::Sender<Result<T::Answer, StoreError>>,
}

/// The task that gathers, and what keeps it waiting for more.
struct Driving<T: Entry> {
    sender: mpsc::Sender<Waiting<T>>,
    driver: JoinHandle<()>,
}

/// The sending end.
pub(super) struct Batch<T: Entry> {
    sender: mpsc::WeakSender<Waiting<T>>,
    /// Both are taken when it is closed.
    driving: Mutex<Option<Driving<T>>>,
}

impl<T: Entry> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").finish_non_exhaustive()
    }
}

impl<T: Entry> Batch<T> {
    /// Starts the task that gathers; it ends with the last sender.
    pub(super) fn start(database: Database) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let driver = tokio::spawn(drive(database, receiver));
        Self {
            sender: sender.downgrade(),
            driving: Mutex::new(Some(Driving { sender, driver })),
        }
    }

    /// Durable on return.
    pub(super) async fn write(&self, what: T) -> Result<T::Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        let ticket = ticket();
        let sender = self.sender.upgrade().ok_or(StoreError::Closed)?;
        let sent = sender.send(Waiting { what, ticket, reply }).await;
        sent.map_err(|_| StoreError::Closed)?;
        drop(sender);
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Ends the task; nothing waits for it, or it is given up: whoever closes the store has awaited what it settled.
    pub(super) async fn close(&self) {
        if let Some(Driving { sender, driver }) = self.driving.lock().await.take() {
            drop(sender);
            driver.abort();
            // Cancelled, if it was in the middle of something.
            drop(driver.await);
        }
    }
}

async fn drive<T: Entry>(database: Database, mut receiver: mpsc::Receiver<Waiting<T>>) {
    let mut group = Vec::with_capacity(GROUP);
    while receiver.recv_many(&mut group, GROUP).await > 0 {
        while !group.is_empty() {
            let first = &group[0].what;
            let (run, terms) = (super::run_of(first.queue()), first.terms());
            // A queue stands in a statement once: what is offered twice at once is settled once.
            let mut queues = HashSet::with_capacity(group.len());
            let mut bytes = 0;
            let (ours, others): (Vec<_>, Vec<_>) = group.drain(..).partition(|waiting| {
                let queue = waiting.what.queue();
                let goes = bytes < GROUP_BYTES
                    && super::run_of(queue) == run
                    && waiting.what.terms() == terms
                    && queues.insert(queue);
                bytes += if goes { waiting.what.bytes() } else { 0 };
                goes
            });
            group = others;
            together(&database, run, ours).await;
        }
    }
}

async fn together<T: Entry>(database: &Database, run: i64, group: Vec<Waiting<T>>) {
    let all: Vec<&T> = group.iter().map(|waiting| &waiting.what).collect();
    let tickets: Vec<i64> = group.iter().map(|waiting| waiting.ticket).collect();
    let done = if group.len() == 1 {
        let attempt = |within| T::write(database, run, &all, &tickets, within);
        database.patiently_within(attempt).await
    } else {
        let attempt = || T::write(database, run, &all, &tickets, Within::Usual);
        database.patiently(attempt).await
    };
    match done {
        Ok(settled) => {
            for (waiting, settled) in group.into_iter().zip(settled) {
                // Whoever asked may have been cancelled; what is settled stays settled.
                drop(waiting.reply.send(Ok(settled)));
            }
        }
        Err(fault) if group.len() == 1 => {
            let error = fault.at(database.shown());
            group
                .into_iter()
                .for_each(|waiting| drop(waiting.reply.send(Err(error.clone()))));
        }
        Err(fault) if fault.is_cancelled() => {
            let mut first = group;
            let second = first.split_off(first.len() / 2);
            Box::pin(together(database, run, first)).await;
            Box::pin(together(database, run, second)).await;
        }
        Err(_) => {
            for waiting in group {
                Box::pin(together(database, run, vec![waiting])).await;
            }
        }
    }
}

/// What the database calls the ways in which a settlement can end.
pub(super) fn settled(outcome: &str) -> Result<Settled, Fault> {
    match outcome {
        "stepped" => Ok(Settled::Stepped),
        "yielded" => Ok(Settled::Yielded),
        "good" => Ok(Settled::Finished { ok: true }),
        "bad" => Ok(Settled::Finished { ok: false }),
        "lost" => Ok(Settled::LostLease),
        other => match other.strip_prefix("moved:").map(str::parse) {
            Some(Ok(no)) => Ok(Settled::Moved(TaskNo(no))),
            _ => Err(Fault::Row(format!("a settlement ended `{other}`"))),
        },
    }
}

/// A number that nobody else has.
pub(super) fn ticket() -> i64 {
    fastrand::i64(1..)
}
