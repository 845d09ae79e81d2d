//! The outcome of a task on its way into the store, and the store's answer.

use super::model::Lease;
use crate::domain::conditions::OnFailure;
use crate::domain::failure::Failure;
use crate::domain::outcome::{Attempt, Making, NewItem, Product};
use crate::domain::task::TaskNo;

/// The outcome of a task. Only the constructors make one, so that no settlement contradicts itself.
#[derive(Debug, Clone)]
pub struct Settlement {
    pub(super) lease: Lease,
    pub(super) task: TaskNo,
    pub(super) end: TaskEnd,
    pub(super) on_failure: OnFailure,
    /// The failure of a part that the task goes on without: its queue ends as `partial`.
    pub(super) flaw: Option<Failure>,
    /// The handle of the outside job that did the task, if one did.
    pub(super) handle: Option<String>,
    pub(super) making: Making,
    pub(super) attempts: Vec<Attempt>,
}

/// The ends of a task.
#[derive(Debug, Clone)]
pub enum TaskEnd {
    /// It has a result.
    Completed(Product, Then),
    /// It failed for good. A Batch line's HTTP error still has a response.
    Failed(Failure, Option<Product>),
    /// It is split into these parts and joins them when they are settled.
    FannedOut(Vec<NewPart>),
}

/// A part of a task that fans out; it has the action of its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPart {
    /// The id of the item that it is about; `None` for a sample.
    pub subject: Option<String>,
    /// A line for people.
    pub description: String,
    /// Its input.
    pub input: String,
}

/// A part of a task that has fanned out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub no: TaskNo,
    /// The id of the item that it is about; `None` for a sample.
    pub subject: Option<String>,
    /// Its input.
    pub input: String,
}

/// A settled part, as its join reads it.
#[derive(Debug, Clone)]
pub struct PartOutcome {
    /// The part.
    pub part: Part,
    /// Its items without numbers, or its failure.
    pub end: Result<Vec<NewItem>, Failure>,
}

/// What a queue does behind a completed task that is not its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It goes on.
    GoOn,
    /// It pauses, for a person to choose.
    Pause,
}

impl Settlement {
    fn new(lease: Lease, task: TaskNo, end: TaskEnd, making: Making, attempts: Vec<Attempt>) -> Self {
        Self {
            lease,
            task,
            end,
            on_failure: OnFailure::Fail,
            flaw: None,
            handle: None,
            making,
            attempts,
        }
    }

    /// The task has its result. The queue goes on with the next task, pauses, or is finished by the last.
    pub fn completed(
        lease: Lease,
        task: impl Into<TaskNo>,
        product: Product,
        then: Then,
        making: Making,
        attempts: Vec<Attempt>,
    ) -> Self {
        let end = TaskEnd::Completed(product, then);
        Self::new(lease, task.into(), end, making, attempts)
    }

    /// The task failed for good: its queue fails, and the tasks after it are skipped. A part fails alone.
    pub fn failed(
        lease: Lease,
        task: impl Into<TaskNo>,
        failure: Failure,
        response: Option<Product>,
        making: Making,
        attempts: Vec<Attempt>,
    ) -> Self {
        let end = TaskEnd::Failed(failure, response);
        Self::new(lease, task.into(), end, making, attempts)
    }

    /// The planned task is split into parts, which are ready, and waits for them to join them. The lease goes on with the
    /// first part.
    pub fn fanned_out(lease: Lease, task: impl Into<TaskNo>, parts: Vec<NewPart>) -> Self {
        let nothing = Making::without_calls(String::new(), String::new());
        Self::new(lease, task.into(), TaskEnd::FannedOut(parts), nothing, Vec::new())
    }

    /// The same, for a queue that goes on behind a failed task, or that does not.
    #[must_use]
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        Self { on_failure, ..self }
    }

    /// The same, of a task that goes on without a part that failed so: its queue ends as `partial`.
    #[must_use]
    pub fn in_part(self, flaw: Failure) -> Self {
        let flaw = Some(flaw);
        Self { flaw, ..self }
    }

    /// What its queue does behind it if it failed.
    pub const fn after_failure(&self) -> OnFailure {
        self.on_failure
    }

    /// The same, of a task that the outside job of that handle did.
    #[must_use]
    pub fn of_handle(self, handle: String) -> Self {
        let handle = Some(handle);
        Self { handle, ..self }
    }

    /// The right to settle it.
    pub const fn lease(&self) -> Lease {
        self.lease
    }

    /// The number of the task.
    pub const fn task(&self) -> TaskNo {
        self.task
    }

    /// About how many bytes its result takes in the store.
    pub(super) fn bytes(&self) -> usize {
        match &self.end {
            TaskEnd::Completed(product, _) | TaskEnd::Failed(_, Some(product)) => product.bytes(),
            TaskEnd::Failed(_, None) | TaskEnd::FannedOut(_) => 0,
        }
    }

    /// The bookkeeping of the task, and every call.
    pub fn bill(&self) -> (Making, Vec<Attempt>) {
        (self.making.clone(), self.attempts.clone())
    }
}

/// The store's answer to a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The task is settled, and the lease is handed on to the next planned task.
    Stepped,
    /// The task is settled, and the lease is handed on to this part or to this join.
    Moved(TaskNo),
    /// The part is settled, and the lease has ended: the other parts are under other leases.
    Yielded,
    /// The queue is finished, or paused, and has its line.
    Finished {
        /// Whether its line says `ok`.
        ok: bool,
    },
    /// The lease was lost: another owner has the queue, or its line changed.
    LostLease,
}
