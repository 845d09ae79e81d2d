//! A thread that owns one connection and does the jobs sent to it.
//!
//! The write thread commits in groups. All jobs that wait when a transaction begins share its one `fsync`, and a single
//! job is committed at once. A job is answered after the commit. An urgent job goes before the waiting ones: a claim is
//! urgent, because slots are empty. When a job fails, the group is rolled back and each job is done again in its own
//! transaction, so that a bad job does not fail the others. Jobs must therefore be able to run twice.
//!
//! When the disk fails, or the store's file is removed or replaced, the write thread stays broken: it answers each job
//! with that error and writes nothing more. After a failed `fsync` the system may discard the unwritten pages. A second
//! `fsync` would then succeed although the data is lost.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::fault::JobFault;
use super::lock::StoreLock;
use crate::store::StoreError;
use crate::store::keys::GROUP_BYTES;

/// The most jobs of one commit. A commit also ends once it holds enough bytes of results. More would save little and
/// delay a claim that arrives in the meantime.
const GROUP: usize = 64;

/// The capacity of the queue. Senders wait when it is full, which slows claims before memory grows.
const WAITING: usize = 1024;

/// How a thread runs its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DbThreadKind {
    /// Groups of jobs in one write transaction.
    Write,
    /// Each job in a read transaction of its own, so that it sees one consistent state.
    Read,
}

trait DbJob: Send {
    /// The estimated bytes that it writes.
    fn bytes(&self) -> usize;
    fn apply(&mut self, connection: &Connection) -> Result<(), JobFault>;
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct DirectJob<T, F> {
    work: F,
    bytes: usize,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> DbJob for DirectJob<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> Result<T, JobFault> + Send,
{
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn apply(&mut self, connection: &Connection) -> Result<(), JobFault> {
        self.result = Some((self.work)(connection)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { result, reply, .. } = *self;
        // The caller may have been cancelled; a committed job stays committed.
        drop(reply.send(outcome.and_then(|()| result.ok_or(StoreError::Closed))));
    }
}

enum ThreadMessage {
    Job(Box<dyn DbJob>),
    Hurried(Box<dyn DbJob>),
    Close(oneshot::Sender<()>),
}

/// The sending end of a thread.
#[derive(Debug)]
pub(super) struct DbThread {
    sender: Option<mpsc::Sender<ThreadMessage>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for DbThread {
    /// Waits for the thread. Jobs that were sent are still committed. The lock is released only when this process can
    /// no longer reach the file.
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl DbThread {
    /// Starts the thread. It holds `lock` while it has the connection.
    pub(super) fn start(
        connection: Connection,
        kind: DbThreadKind,
        path: &Path,
        lock: Option<StoreLock>,
    ) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let owned = path.to_path_buf();
        let name = if kind == DbThreadKind::Write {
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

    /// Does `work` on the thread and returns when its transaction has ended.
    pub(super) async fn call<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, JobFault> + Send + 'static,
    {
        self.send(work, 0, ThreadMessage::Job).await
    }

    /// Like [`Self::call`], for work that writes about `bytes` bytes.
    pub(super) async fn call_of<T, F>(&self, bytes: usize, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, JobFault> + Send + 'static,
    {
        self.send(work, bytes, ThreadMessage::Job).await
    }

    /// Like [`Self::call`], before all jobs that wait in order.
    pub(super) async fn call_first<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, JobFault> + Send + 'static,
    {
        self.send(work, 0, ThreadMessage::Hurried).await
    }

    async fn send<T, F>(
        &self,
        work: F,
        bytes: usize,
        message: fn(Box<dyn DbJob>) -> ThreadMessage,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, JobFault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = DirectJob {
            work,
            bytes,
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

    /// Ends the thread after all jobs sent before. Its connection is closed on return.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if let Some(sender) = &self.sender
            && sender.send(ThreadMessage::Close(reply)).await.is_ok()
        {
            drop(answer.await);
        }
    }
}

fn drive(
    connection: Connection,
    kind: DbThreadKind,
    mut receiver: mpsc::Receiver<ThreadMessage>,
    path: &Path,
    lock: Option<StoreLock>,
) {
    let mut waiting = TakenJobs::default();
    let most = if kind == DbThreadKind::Write { GROUP } else { 1 };
    let mut broken: Option<StoreError> = None;
    while let Some(group) = waiting.next(&mut receiver, most) {
        if broken.is_none() {
            // The store's name may belong to another file now, so no write can be promised any more.
            broken = lock.as_ref().and_then(|lock| lock.check().err());
        }
        match &broken {
            Some(error) => answer(group, &Err(error.clone())),
            None => broken = run_group(&connection, kind, group, path),
        }
    }
    match (kind, broken) {
        // The checkpoint makes a closed store one file. A failure is harmless, because the next opening does the
        // checkpoint.
        (DbThreadKind::Write, None) => {
            drop(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        }
        (DbThreadKind::Write, Some(_)) => drop(super::recovery::leave_log(&connection)),
        (DbThreadKind::Read, _) => {}
    }
    drop(connection);
    drop(lock);
    if let Some(reply) = waiting.closing {
        // The caller of `close` may have stopped waiting.
        let _: Result<(), ()> = reply.send(());
    }
}

/// Jobs that were taken out of the channel and are not done yet.
#[derive(Default)]
struct TakenJobs {
    hurried: Vec<Box<dyn DbJob>>,
    in_order: VecDeque<Box<dyn DbJob>>,
    closing: Option<oneshot::Sender<()>>,
}

impl TakenJobs {
    /// Returns the next group of at most `most` jobs, and waits if there is none. `None` when no more will come.
    fn next(
        &mut self,
        receiver: &mut mpsc::Receiver<ThreadMessage>,
        most: usize,
    ) -> Option<Vec<Box<dyn DbJob>>> {
        if self.in_order.is_empty() && self.closing.is_none() {
            let message = receiver.blocking_recv()?;
            self.take(message);
        }
        // The limit is the capacity of the channel, so that senders still wait when the disk is slow.
        while self.in_order.len() < WAITING && self.closing.is_none() {
            let Ok(message) = receiver.try_recv() else { break };
            self.take(message);
        }
        if !self.hurried.is_empty() {
            return Some(std::mem::take(&mut self.hurried));
        }
        let (mut count, mut bytes) = (0, 0);
        for job in self.in_order.iter().take(most) {
            if bytes >= GROUP_BYTES {
                break;
            }
            count += 1;
            bytes += job.bytes();
        }
        let group: Vec<_> = self.in_order.drain(..count).collect();
        (!group.is_empty()).then_some(group)
    }

    fn take(&mut self, message: ThreadMessage) {
        match message {
            ThreadMessage::Job(job) => self.in_order.push_back(job),
            ThreadMessage::Hurried(job) => self.hurried.push(job),
            ThreadMessage::Close(reply) => self.closing = Some(reply),
        }
    }
}

/// Does the group and answers it. Returns the error that broke the thread, if one did.
fn run_group(
    connection: &Connection,
    kind: DbThreadKind,
    mut group: Vec<Box<dyn DbJob>>,
    path: &Path,
) -> Option<StoreError> {
    let Err(failed) = in_transaction(connection, kind, &mut group) else {
        answer(group, &Ok(()));
        return None;
    };
    let breaks = kind == DbThreadKind::Write && failed.breaks();
    if breaks || !failed.is_one_jobs() || group.len() == 1 {
        let error = failed.fault.at(path);
        answer(group, &Err(error.clone()));
        return breaks.then_some(error);
    }
    let mut broken: Option<StoreError> = None;
    for job in group {
        match &broken {
            Some(error) => job.answer(Err(error.clone())),
            None => broken = run_group(connection, kind, vec![job], path),
        }
    }
    broken
}

fn answer(group: Vec<Box<dyn DbJob>>, outcome: &Result<(), StoreError>) {
    for job in group {
        job.answer(outcome.clone());
    }
}

/// Does `work` in its own write transaction, before a thread exists.
pub(super) fn once<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, JobFault>,
) -> Result<T, JobFault> {
    let transaction = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let result = work(&transaction)?;
    transaction.commit()?;
    Ok(result)
}

/// The stage at which a transaction failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begin,
    Job,
    Commit,
}

/// A transaction that was rolled back.
struct RolledBack {
    stage: Stage,
    fault: JobFault,
}

impl RolledBack {
    fn at(stage: Stage) -> impl Fn(rusqlite::Error) -> Self {
        move |error| Self {
            stage,
            fault: error.into(),
        }
    }

    /// Whether the fault belongs to one job, so that the others can be done without it.
    fn is_one_jobs(&self) -> bool {
        self.stage == Stage::Job
    }

    /// Whether this connection can no longer promise any write.
    fn breaks(&self) -> bool {
        self.stage == Stage::Commit || self.fault.is_of_the_disk()
    }
}

fn in_transaction(
    connection: &Connection,
    kind: DbThreadKind,
    group: &mut [Box<dyn DbJob>],
) -> Result<(), RolledBack> {
    let behavior = match kind {
        DbThreadKind::Write => TransactionBehavior::Immediate,
        DbThreadKind::Read => TransactionBehavior::Deferred,
    };
    // Dropping the transaction without a commit rolls it back.
    let transaction =
        rusqlite::Transaction::new_unchecked(connection, behavior).map_err(RolledBack::at(Stage::Begin))?;
    for job in group {
        // A panic fails only its own job: the thread continues, and the transaction is rolled back.
        let applied = std::panic::catch_unwind(AssertUnwindSafe(|| job.apply(&transaction)));
        let fault = match applied {
            Ok(Ok(())) => continue,
            Ok(Err(fault)) => fault,
            Err(_) => JobFault::Row("the store's thread panicked on this row".to_owned()),
        };
        return Err(RolledBack {
            stage: Stage::Job,
            fault,
        });
    }
    transaction.commit().map_err(RolledBack::at(Stage::Commit))
}

#[cfg(test)]
mod tests;
