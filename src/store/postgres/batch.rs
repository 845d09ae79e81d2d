//! Batches of settlements, plans and reservations. While one statement is in flight, new entries gather for the next.
//!
//! One statement is in flight at a time, so its size follows the load: one entry at rest, hundreds under pressure. A
//! statement is full when it holds enough bytes of results. A statement that the database cancelled at its time limit
//! is halved. When one fails with a permanent error, each entry is tried alone, so that a bad entry does not fail the
//! others. Entries must therefore be safe to send twice.

use std::collections::HashSet;
use std::fmt;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::fault::JobFault;
use crate::domain::task::TaskNo;
use crate::postgres::{Database, Passing, Within};
use crate::store::keys::GROUP_BYTES;
use crate::store::{Settled, StoreError};

/// The most entries of one statement. More would save little, and would make others wait longer for the run's row.
const GROUP: usize = 256;

/// The capacity of the queue. Senders wait when it is full, which slows claims before memory grows.
const WAITING: usize = 1024;

/// An entry of a statement that writes for many queues of one run.
#[async_trait]
pub(super) trait BatchEntry: Sized + Send + Sync + 'static {
    /// The database's answer to one entry.
    type Answer: Send + 'static;

    /// The queue that the entry belongs to.
    fn queue(&self) -> i64;

    /// The terms of the entry. Entries with other terms go into other statements.
    fn terms(&self) -> u64 {
        0
    }

    /// The estimated bytes of its result.
    fn bytes(&self) -> usize;

    /// Writes all entries in one statement and returns the answers in their order. The entries are of one run and have
    /// equal terms. Repeating it under the same tickets is safe.
    async fn write(
        database: &Database,
        run: i64,
        group: &[&Self],
        tickets: &[i64],
        within: Within,
    ) -> Result<Vec<Self::Answer>, JobFault>;
}

struct PendingEntry<T: BatchEntry> {
    what: T,
    /// Identifies the entry when its answer was lost and it is sent again.
    ticket: i64,
    reply: oneshot::Sender<Result<T::Answer, StoreError>>,
}

/// The background task that gathers entries, and the sender that keeps it running.
struct Driving<T: BatchEntry> {
    sender: mpsc::Sender<PendingEntry<T>>,
    driver: JoinHandle<()>,
}

/// The sending end.
pub(super) struct Batch<T: BatchEntry> {
    sender: mpsc::WeakSender<PendingEntry<T>>,
    /// Taken out when the batch is closed.
    driving: Mutex<Option<Driving<T>>>,
}

impl<T: BatchEntry> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").finish_non_exhaustive()
    }
}

impl<T: BatchEntry> Batch<T> {
    /// Starts the background task that gathers entries. It ends with the last sender.
    pub(super) fn start(database: Database) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let driver = tokio::spawn(drive(database, receiver));
        Self {
            sender: sender.downgrade(),
            driving: Mutex::new(Some(Driving { sender, driver })),
        }
    }

    /// Sends one entry. The entry is durable on return.
    pub(super) async fn write(&self, what: T) -> Result<T::Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        let ticket = ticket();
        let sender = self.sender.upgrade().ok_or(StoreError::Closed)?;
        let sent = sender.send(PendingEntry { what, ticket, reply }).await;
        sent.map_err(|_| StoreError::Closed)?;
        drop(sender);
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Stops the background task. Callers have awaited their settlements before they close the store, so the task is
    /// idle, or its work is abandoned.
    pub(super) async fn close(&self) {
        if let Some(Driving { sender, driver }) = self.driving.lock().await.take() {
            drop(sender);
            driver.abort();
            // The result is an error if the task was cancelled.
            drop(driver.await);
        }
    }
}

async fn drive<T: BatchEntry>(database: Database, mut receiver: mpsc::Receiver<PendingEntry<T>>) {
    let mut group = Vec::with_capacity(GROUP);
    while receiver.recv_many(&mut group, GROUP).await > 0 {
        while !group.is_empty() {
            let first = &group[0].what;
            let (run, terms) = (super::run_of(first.queue()), first.terms());
            // A statement has each queue once. An entry that is sent twice at once is settled once.
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

async fn together<T: BatchEntry>(database: &Database, run: i64, group: Vec<PendingEntry<T>>) {
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
                // The caller may have been cancelled; its entry stays settled.
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

/// Parses the database's name for the outcome of a settlement.
pub(super) fn settled(outcome: &str) -> Result<Settled, JobFault> {
    match outcome {
        "stepped" => Ok(Settled::Stepped),
        "yielded" => Ok(Settled::Yielded),
        "good" => Ok(Settled::Finished { ok: true }),
        "bad" => Ok(Settled::Finished { ok: false }),
        "lost" => Ok(Settled::LostLease),
        other => match other.strip_prefix("moved:").map(str::parse) {
            Some(Ok(no)) => Ok(Settled::Moved(TaskNo(no))),
            _ => Err(JobFault::Row(format!("a settlement ended `{other}`"))),
        },
    }
}

/// Returns a random ticket number.
pub(super) fn ticket() -> i64 {
    fastrand::i64(1..)
}
