//! A thread that owns one connection and does the jobs sent to it.
//!
//! The write lane commits in groups: everything that waits when a transaction begins shares its one
//! `fsync`, and a lone job is committed at once. Nobody is answered before the commit. A job that hurries, as
//! a claim does while slots stand empty, goes before those that wait in order. When a job fails, the group is
//! rolled back and each job is done again in a transaction of its own, so that one bad job spoils nobody
//! else's; jobs must therefore be able to run twice.

use std::collections::VecDeque;
use std::path::Path;
use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::fault::Fault;
use super::open::StoreLock;
use crate::store::StoreError;

/// One commit takes at most so many jobs: more would save little, and delay the claim that comes meanwhile.
const GROUP: usize = 64;

/// Jobs that may wait. Senders wait when it is full, which slows claims before memory grows.
const WAITING: usize = 1024;

/// How a lane treats its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Groups of jobs in one write transaction.
    Write,
    /// Each job in a read transaction of its own, so that it sees one moment.
    Read,
}

trait Job: Send {
    fn apply(&mut self, connection: &Connection) -> Result<(), Fault>;
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Call<T, F> {
    work: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> Result<T, Fault> + Send,
{
    fn apply(&mut self, connection: &Connection) -> Result<(), Fault> {
        self.result = Some((self.work)(connection)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { result, reply, .. } = *self;
        // Whoever asked may have been cancelled; what was committed stays committed.
        drop(reply.send(outcome.and_then(|()| result.ok_or(StoreError::Closed))));
    }
}

enum Message {
    Job(Box<dyn Job>),
    Hurried(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// The sending end of a lane.
#[derive(Debug)]
pub(super) struct Lane {
    sender: Option<mpsc::Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Lane {
    /// Waits for the thread: what was sent is still committed, and the lock is free for the next opener only
    /// when nothing of this one can reach the file any more.
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Lane {
    /// Starts the thread, which holds `lock` for as long as it has the connection.
    pub(super) fn start(
        connection: Connection,
        kind: Kind,
        path: &Path,
        lock: Option<StoreLock>,
    ) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let owned = path.to_path_buf();
        let name = if kind == Kind::Write {
            "store-write"
        } else {
            "store-read"
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || drive(connection, kind, receiver, &owned, lock))
            .map_err(|error| StoreError::Io {
                path: path.to_path_buf(),
                action: "starting its thread",
                reason: error.to_string(),
            })?;
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread),
        })
    }

    /// Does `work` on the lane and answers when its transaction has ended.
    pub(super) async fn call<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.send(work, Message::Job).await
    }

    /// As [`Self::call`], before everything that waits in order.
    pub(super) async fn call_first<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.send(work, Message::Hurried).await
    }

    async fn send<T, F>(&self, work: F, message: fn(Box<dyn Job>) -> Message) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Call {
            work,
            result: None,
            reply,
        };
        let sender = self.sender.as_ref().ok_or(StoreError::Closed)?;
        sender
            .send(message(Box::new(call)))
            .await
            .map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Ends the lane after everything sent before; its connection is closed on return.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if let Some(sender) = &self.sender
            && sender.send(Message::Close(reply)).await.is_ok()
        {
            drop(answer.await);
        }
    }
}

fn drive(
    connection: Connection,
    kind: Kind,
    mut receiver: mpsc::Receiver<Message>,
    path: &Path,
    lock: Option<StoreLock>,
) {
    let mut waiting = Waiting::default();
    let most = if kind == Kind::Write { GROUP } else { 1 };
    while let Some(mut group) = waiting.next(&mut receiver, most) {
        run_group(&connection, kind, &mut group, path);
    }
    if kind == Kind::Write {
        // The log is folded into the database, so that a closed store is one file. Failure is harmless:
        // the next opening does it.
        drop(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    }
    drop(connection);
    drop(lock);
    if let Some(reply) = waiting.closing {
        // Whoever closed it may not wait for it.
        let _: Result<(), ()> = reply.send(());
    }
}

/// What was taken out of the channel, to be put in order, and is not done.
#[derive(Default)]
struct Waiting {
    hurried: Vec<Box<dyn Job>>,
    in_order: VecDeque<Box<dyn Job>>,
    closing: Option<oneshot::Sender<()>>,
}

impl Waiting {
    /// The next group, of at most so many jobs; waits if there is none. `None` when no more will come.
    fn next(&mut self, receiver: &mut mpsc::Receiver<Message>, most: usize) -> Option<Vec<Box<dyn Job>>> {
        if self.in_order.is_empty() && self.closing.is_none() {
            let message = receiver.blocking_recv()?;
            self.take(message);
        }
        // No more than the channel holds, so that senders still wait when the disk is behind.
        while self.in_order.len() < WAITING && self.closing.is_none() {
            let Ok(message) = receiver.try_recv() else { break };
            self.take(message);
        }
        if !self.hurried.is_empty() {
            return Some(std::mem::take(&mut self.hurried));
        }
        let group: Vec<_> = self.in_order.drain(..most.min(self.in_order.len())).collect();
        (!group.is_empty()).then_some(group)
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Job(job) => self.in_order.push_back(job),
            Message::Hurried(job) => self.hurried.push(job),
            Message::Close(reply) => self.closing = Some(reply),
        }
    }
}

fn run_group(connection: &Connection, kind: Kind, group: &mut Vec<Box<dyn Job>>, path: &Path) {
    let outcome = in_transaction(connection, kind, group);
    match outcome {
        Ok(()) => group.drain(..).for_each(|job| job.answer(Ok(()))),
        Err(fault) if group.len() == 1 => {
            let error = fault.at(path);
            group.drain(..).for_each(|job| job.answer(Err(error.clone())));
        }
        Err(_) => {
            for job in group.drain(..) {
                let mut alone = vec![job];
                run_group(connection, kind, &mut alone, path);
            }
        }
    }
}

/// Does `work` in a write transaction of its own, before there is a lane.
pub(super) fn once<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let transaction = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let result = work(&transaction)?;
    transaction.commit()?;
    Ok(result)
}

fn in_transaction(connection: &Connection, kind: Kind, group: &mut [Box<dyn Job>]) -> Result<(), Fault> {
    let behavior = match kind {
        Kind::Write => TransactionBehavior::Immediate,
        Kind::Read => TransactionBehavior::Deferred,
    };
    // Dropping the transaction without a commit rolls it back.
    let transaction = rusqlite::Transaction::new_unchecked(connection, behavior)?;
    for job in group {
        job.apply(&transaction)?;
    }
    transaction.commit()?;
    Ok(())
}
