//! Claims: their filter and their result.

use super::model::Lease;
use super::settlement::Part;
use crate::domain::failure::Failure;
use crate::domain::outcome::Attempt;
use crate::domain::request::Request;
use crate::domain::task::{TaskKind, TaskNo};

/// A filter: the tasks that a claim may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimable {
    /// Every task that may run and is not in quarantine.
    All,
    /// Planning tasks only.
    Unplanned,
    /// The largest group of quarantined tasks that may run. It is empty while the owner holds any other lease.
    Quarantined,
}

/// The activity of a queue that is recorded as in flight. A crash counts against the queue only while the mark is
/// `Working`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashMark {
    /// The process works on the queue: it builds a prompt or reads an answer.
    Working,
    /// The queue waits for its turn to call, or its call is on the wire and no part of the answer has been read.
    Waiting,
}

/// A leased task with the data that it and the later tasks of its queue need.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The right to settle it.
    pub lease: Lease,
    /// Its number.
    pub task: TaskNo,
    /// Its kind.
    pub kind: TaskKind,
    /// The request.
    pub request: Request,
    /// Its place in the input, from 0.
    pub index: u64,
    /// Whether its queue has a plan. Planning is the first step when it has none.
    pub planned: bool,
    /// The index of the planned task: of this task, or of the one that it is a part of.
    pub current_task: usize,
    /// Whether it was leased when a worker crashed and no settlement has followed: its crash mark is set and must be
    /// kept current.
    pub is_recorded: bool,
    /// How many workers panicked on this task.
    pub panics: u32,
    /// Calls for this task that ended without a result because of a panic. A claim leaves it empty.
    pub lost_calls: Vec<Attempt>,
    /// All planned tasks of its queue, in order.
    pub tasks: Vec<PendingTask>,
    /// The parts of a task that was split, in order.
    pub parts: Vec<Part>,
    /// The failure of a part that its join continues without. A claim leaves it empty.
    pub flaw: Option<Failure>,
}

/// The result of a claim.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// Tasks to work on.
    pub queues: Vec<Claimed>,
    /// Tasks that are leased as well and can only be failed.
    pub unreadable: Vec<Unreadable>,
    /// Whether another process takes over these leases when they are not renewed in time.
    pub expire: bool,
}

/// A leased task of a queue whose stored request cannot be parsed.
#[derive(Debug, Clone)]
pub struct Unreadable {
    /// The right to settle it.
    pub lease: Lease,
    /// Its number.
    pub task: TaskNo,
    /// Why the request cannot be parsed.
    pub reason: String,
}

impl Claims {
    /// Parses the stored request of a queue and adds the task to `queues`, or to `unreadable` when parsing fails.
    pub(super) fn add(
        &mut self,
        stored: &str,
        (lease, task): (Lease, TaskNo),
        queue: impl FnOnce(Request) -> Claimed,
    ) {
        match Request::from_stored(stored) {
            Ok(request) => self.queues.push(queue(request)),
            Err(error) => self.unreadable.push(Unreadable {
                lease,
                task,
                reason: format!(
                    "the stored request of queue {} cannot be read: {error}",
                    lease.queue_id
                ),
            }),
        }
    }
}

/// A planned task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingTask {
    /// `task001` and so on.
    pub task_id: String,
    /// The name of its action.
    pub action: String,
    /// Its description for people, one line.
    pub description: String,
    /// Its input.
    pub input: String,
}
