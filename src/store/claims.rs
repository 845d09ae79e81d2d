//! What a claim asks for and comes to.

use super::model::Lease;
use super::settlement::Part;
use crate::domain::failure::Failure;
use crate::domain::outcome::Attempt;
use crate::domain::request::Request;
use crate::domain::task::{TaskKind, TaskNo};

/// Which tasks are claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimable {
    /// Whatever may run and is not in quarantine.
    All,
    /// Planning alone.
    Unplanned,
    /// The largest group that quarantine allows: none while the owner holds any other lease.
    Quarantined,
}

/// What a recorded queue is doing. A crash counts against it only while it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashMark {
    /// The process works on it: it builds a prompt, or reads an answer.
    Working,
    /// It waits for its turn to call, or its call is on the wire and nothing of the answer is looked at.
    Waiting,
}

/// A leased task with all that is needed to work on it and on the tasks behind it.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The right to settle it.
    pub lease: Lease,
    /// The task.
    pub task: TaskNo,
    /// Its kind.
    pub kind: TaskKind,
    /// The request.
    pub request: Request,
    /// Its place in the input.
    pub index: u64,
    /// Whether its tasks are known; otherwise planning is its first step.
    pub planned: bool,
    /// The place of the task among the planned ones, or of the task that it is a part of.
    pub current_task: usize,
    /// Whether it was leased at a crash and has settled nothing since: its crash mark is set and has to be kept.
    pub is_recorded: bool,
    /// Panics of workers on its present task.
    pub panics: u32,
    /// Calls of its present task that panics have left without a result; a claim knows of none.
    pub lost_calls: Vec<Attempt>,
    /// All planned tasks of its queue, in order.
    pub tasks: Vec<PendingTask>,
    /// The parts of a task that has fanned out, in order.
    pub parts: Vec<Part>,
    /// The failure of a part that its join goes on without; a claim knows of none.
    pub flaw: Option<Failure>,
}

/// What a claim came to.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// Tasks to work on.
    pub queues: Vec<Claimed>,
    /// Tasks that are leased too, and can only be failed.
    pub unreadable: Vec<Unreadable>,
    /// Whether another process takes these leases over if they are not renewed in time.
    pub expire: bool,
}

/// A leased task of a queue whose stored request cannot be read.
#[derive(Debug, Clone)]
pub struct Unreadable {
    /// The right to settle it.
    pub lease: Lease,
    /// The task.
    pub task: TaskNo,
    /// What is wrong with the request.
    pub reason: String,
}

impl Claims {
    /// Reads the stored request of a queue.
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
    /// What is to be done.
    pub action: String,
    /// What it is, in a line for people.
    pub description: String,
    /// What it is given.
    pub input: String,
}
