//! A thread that owns one connection and does the jobs sent to it.
//!
//! The write lane commits in groups. All jobs that wait when a transaction begins share its one `fsync`, and a single
//! job is committed at once. A job is answered after the commit. An urgent job goes before the waiting ones: a claim is
//! urgent, because slots are empty. When a job fails, the group is rolled back and each job is done again in its own
//! transaction, so that a bad job does not fail the others. Jobs must therefore be able to run twice.
//!
//! When the disk fails, or the store's file is removed or replaced, the write lane stays broken: it answers each job
//! with that error and writes nothing more. After a failed `fsync` the system may discard the unwritten pages. A second
//! `fsync` would then succeed although the data is lost.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::fault::Fault;
use super::lock::StoreLock;
use crate::store::StoreError;
use crate::store::keys::GROUP_BYTES;

/// The most jobs of one commit. A commit also ends once it holds enough bytes of results. More would save little and
/// delay a claim that arrives in the meantime.
const GROUP: usize = 64;

/// The capacity of the queue. Senders wait when it is full, which slows claims before memory grows.
const WAITING: usize = 1024;

/// How a lane runs its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Groups of jobs in one write transaction.
    Write,
    /// Each job in a read transaction of its own, so that it sees one consistent state.
    Read,
}

trait Job: Send {
    /// The estimated bytes that it writes.
    fn bytes(&self) -> usize;
    fn apply(&mut self, connection: &Connection) -> Result<(), Fault>;
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Call<T, F> {
    work: F,
    bytes: usize,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> Result<T, Fault> + Send,
{
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn apply(&mut self, connection: &Connection) -> Result<(), Fault> {
        self.result = Some((self.work)(connection)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { result, reply, .. } = *self;
        // The caller may have been cancelled; a committed job stays committed.
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
    /// Waits for the thread. Jobs that were sent are still committed. The lock is released only when this process can
    /// no longer reach the file.
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Lane {
    /// Starts the thread. It holds `lock` while it has the connection.
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

    /// Does `work` on the lane and returns when its transaction has ended.
    pub(super) async fn call<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.send(work, 0, Message::Job).await
    }

    /// Like [`Self::call`], for work that writes about `bytes` bytes.
    pub(super) async fn call_of<T, F>(&self, bytes: usize, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.send(work, bytes, Message::Job).await
    }

    /// Like [`Self::call`], before all jobs that wait in order.
    pub(super) async fn call_first<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.send(work, 0, Message::Hurried).await
    }

    async fn send<T, F>(
        &self,
        work: F,
        bytes: usize,
        message: fn(Box<dyn Job>) -> Message,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Call {
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

    /// Ends the lane after all jobs sent before. Its connection is closed on return.
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
        (Kind::Write, None) => {
            drop(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        }
        (Kind::Write, Some(_)) => drop(super::recovery::leave_log(&connection)),
        (Kind::Read, _) => {}
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
struct Waiting {
    hurried: Vec<Box<dyn Job>>,
    in_order: VecDeque<Box<dyn Job>>,
    closing: Option<oneshot::Sender<()>>,
}

impl Waiting {
    /// Returns the next group of at most `most` jobs, and waits if there is none. `None` when no more will come.
    fn next(&mut self, receiver: &mut mpsc::Receiver<Message>, most: usize) -> Option<Vec<Box<dyn Job>>> {
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

    fn take(&mut self, message: Message) {
        match message {
            Message::Job(job) => self.in_order.push_back(job),
            Message::Hurried(job) => self.hurried.push(job),
            Message::Close(reply) => self.closing = Some(reply),
        }
    }
}

/// Does the group and answers it. Returns the error that broke the lane, if one did.
fn run_group(
    connection: &Connection,
    kind: Kind,
    mut group: Vec<Box<dyn Job>>,
    path: &Path,
) -> Option<StoreError> {
    let Err(failed) = in_transaction(connection, kind, &mut group) else {
        answer(group, &Ok(()));
        return None;
    };
    let breaks = kind == Kind::Write && failed.breaks();
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

fn answer(group: Vec<Box<dyn Job>>, outcome: &Result<(), StoreError>) {
    for job in group {
        job.answer(outcome.clone());
    }
}

/// Does `work` in its own write transaction, before a lane exists.
pub(super) fn once<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
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
struct Failed {
    stage: Stage,
    fault: Fault,
}

impl Failed {
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

fn in_transaction(connection: &Connection, kind: Kind, group: &mut [Box<dyn Job>]) -> Result<(), Failed> {
    let behavior = match kind {
        Kind::Write => TransactionBehavior::Immediate,
        Kind::Read => TransactionBehavior::Deferred,
    };
    // Dropping the transaction without a commit rolls it back.
    let transaction =
        rusqlite::Transaction::new_unchecked(connection, behavior).map_err(Failed::at(Stage::Begin))?;
    for job in group {
        // A panic fails only its own job: the thread continues, and the transaction is rolled back.
        let applied = std::panic::catch_unwind(AssertUnwindSafe(|| job.apply(&transaction)));
        let fault = match applied {
            Ok(Ok(())) => continue,
            Ok(Err(fault)) => fault,
            Err(_) => Fault::Row("the store's thread panicked on this row".to_owned()),
        };
        return Err(Failed {
            stage: Stage::Job,
            fault,
        });
    }
    transaction.commit().map_err(Failed::at(Stage::Commit))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lane on a store of its own, in which a missing parent number fails the commit.
    fn setup() -> Lane {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "PRAGMA foreign_keys=ON; CREATE TABLE p(n INTEGER PRIMARY KEY);
                 CREATE TABLE c(n UNIQUE REFERENCES p DEFERRABLE INITIALLY DEFERRED);",
            )
            .unwrap();
        Lane::start(connection, Kind::Write, Path::new("a store"), None).unwrap()
    }

    async fn put(lane: &Lane, table: &'static str, n: i64) -> Result<(), StoreError> {
        lane.call(move |c| {
            c.execute(&format!("INSERT INTO {table} VALUES(?1)"), [n])?;
            Ok(())
        })
        .await
    }

    #[tokio::test]
    async fn a_job_that_fails_spoils_nobody_elses() {
        let lane = setup();
        put(&lane, "p", 1).await.unwrap();
        let (good, bad, other) = tokio::join!(put(&lane, "p", 2), put(&lane, "p", 1), put(&lane, "p", 3));
        assert!(good.is_ok() && bad.is_err() && other.is_ok());
    }

    #[test]
    fn a_group_ends_once_it_holds_enough_bytes() {
        let (sender, mut receiver) = mpsc::channel(WAITING);
        let mib = 1 << 20;
        for bytes in [64 * mib, 5 * mib, 2 * mib, 3 * mib, 1, 1] {
            let (reply, _) = oneshot::channel();
            let call = Call {
                work: |_: &Connection| Ok(()),
                bytes,
                result: None,
                reply,
            };
            assert!(sender.try_send(Message::Job(Box::new(call))).is_ok());
        }
        drop(sender);
        let mut waiting = Waiting::default();
        let mut groups = Vec::new();
        while let Some(group) = waiting.next(&mut receiver, GROUP) {
            groups.push(group.iter().map(|job| job.bytes() / mib).collect::<Vec<_>>());
        }
        assert_eq!(groups, [vec![64], vec![5, 2, 3], vec![0, 0]]);
    }

    #[tokio::test]
    async fn a_job_that_panics_spoils_nobody_elses() {
        let lane = setup();
        let panics = lane.call(|_| -> Result<(), Fault> { panic!("on purpose") });
        let (good, bad, other) = tokio::join!(put(&lane, "p", 1), panics, put(&lane, "p", 2));
        assert!(good.is_ok() && other.is_ok());
        assert!(bad.is_err_and(|error| error.is_of_one_row()));
        assert!(put(&lane, "p", 3).await.is_ok());
    }

    #[tokio::test]
    async fn after_a_failed_commit_nothing_more_is_promised() {
        let lane = setup();
        put(&lane, "p", 1).await.unwrap();
        let (with_it, fatal, behind) =
            tokio::join!(put(&lane, "p", 2), put(&lane, "c", 9), put(&lane, "p", 3));
        let said = fatal.unwrap_err().to_string();
        assert!(said.contains("a store"), "{said}");
        // These two may have shared the failed commit, which depends on when the thread woke. Later jobs did not.
        drop(with_it);
        drop(behind);
        for n in 10..13 {
            assert_eq!(put(&lane, "p", n).await.unwrap_err().to_string(), said);
        }
        lane.close().await;
    }
}
