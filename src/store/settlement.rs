//! The outcome of a task on its way into the store, and the store's answer.

use super::model::Lease;
use crate::domain::conditions::OnFailure;
use crate::domain::failure::Failure;
use crate::domain::outcome::{Attempt, NewItem, Product, Provenance};
use crate::domain::task::TaskNo;

/// The outcome of a task. Only its constructors make one, so that no settlement contradicts itself.
#[derive(Debug, Clone)]
pub struct Settlement {
    pub(super) lease: Lease,
    pub(super) task: TaskNo,
    pub(super) end: SettlementEnd,
    pub(super) on_failure: OnFailure,
    /// The failure of a part that the task continues without. Its queue ends as `partial`.
    pub(super) flaw: Option<Failure>,
    /// The handle of the outside job that did the task, if one did.
    pub(super) handle: Option<String>,
    pub(super) making: Provenance,
    pub(super) attempts: Vec<Attempt>,
}

/// The ends of a task.
#[derive(Debug, Clone)]
pub enum SettlementEnd {
    /// The task has a result.
    Completed(Product, Then),
    /// The task failed permanently. The HTTP error of a Batch line still has a response.
    Failed(Failure, Option<Product>),
    /// The task is split into these parts and joins them when they are settled.
    FannedOut(Vec<NewPart>),
    /// The task waits for its search.
    Searches,
    /// The condition of the task is false: it has no result, and its queue continues.
    Skipped,
}

/// A new part of a task that fans out. It has the action of its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPart {
    /// The id of the item that it is about. `None` for a sample.
    pub subject: Option<String>,
    /// Its description for people, one line.
    pub description: String,
    /// Its input.
    pub input: String,
}

/// A part of a task that has fanned out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub no: TaskNo,
    /// The id of the item that it is about. `None` for a sample.
    pub subject: Option<String>,
    /// Its input.
    pub input: String,
}

/// A settled part, as its join gets it.
#[derive(Debug, Clone)]
pub struct PartOutcome {
    /// The part.
    pub part: Part,
    /// Its items without numbers, or its failure.
    pub end: Result<Vec<NewItem>, Failure>,
}

/// How a queue proceeds behind a completed task that is not its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It continues.
    GoOn,
    /// It pauses until a person has selected items.
    Pause,
}

impl Settlement {
    fn new(
        lease: Lease,
        task: TaskNo,
        end: SettlementEnd,
        making: Provenance,
        attempts: Vec<Attempt>,
    ) -> Self {
        Self {
            lease,
            task,
            end,
            on_failure: OnFailure::Continue,
            flaw: None,
            handle: None,
            making,
            attempts,
        }
    }

    /// The task has its result. The queue continues with the next task, pauses, or is finished.
    pub fn completed(
        lease: Lease,
        task: impl Into<TaskNo>,
        product: Product,
        then: Then,
        making: Provenance,
        attempts: Vec<Attempt>,
    ) -> Self {
        let end = SettlementEnd::Completed(product, then);
        Self::new(lease, task.into(), end, making, attempts)
    }

    /// The task failed permanently. The tasks that need it are skipped, and its queue fails when the tasks at its side are
    /// settled. A part fails alone.
    pub fn failed(
        lease: Lease,
        task: impl Into<TaskNo>,
        failure: Failure,
        response: Option<Product>,
        making: Provenance,
        attempts: Vec<Attempt>,
    ) -> Self {
        let end = SettlementEnd::Failed(failure, response);
        Self::new(lease, task.into(), end, making, attempts).on_failure(OnFailure::Fail)
    }

    /// The condition of the task is false. It has no result, and its queue continues as behind a completed task.
    pub fn skipped(lease: Lease, task: impl Into<TaskNo>) -> Self {
        let nothing = Provenance::without_calls(String::new(), String::new());
        Self::new(lease, task.into(), SettlementEnd::Skipped, nothing, Vec::new())
    }

    /// The planned task is split into parts, which are ready, and waits to join them. The lease goes to the first part.
    pub fn fanned_out(lease: Lease, task: impl Into<TaskNo>, parts: Vec<NewPart>) -> Self {
        let nothing = Provenance::without_calls(String::new(), String::new());
        Self::new(
            lease,
            task.into(),
            SettlementEnd::FannedOut(parts),
            nothing,
            Vec::new(),
        )
    }

    /// The planned task waits for its search, which is ready and gets the lease. A planned task searches at most once.
    pub fn searches(lease: Lease, task: impl Into<TaskNo>) -> Self {
        let nothing = Provenance::without_calls(String::new(), String::new());
        Self::new(lease, task.into(), SettlementEnd::Searches, nothing, Vec::new())
    }

    /// Sets whether the queue continues behind a failed task. A queue with a failed task that does not continue ends as
    /// failed.
    #[must_use]
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        Self { on_failure, ..self }
    }

    /// Notes the failure of a part that the task continues without. Its queue ends as `partial`.
    #[must_use]
    pub fn in_part(self, flaw: Failure) -> Self {
        let flaw = Some(flaw);
        Self { flaw, ..self }
    }

    /// Whether the queue continues if the task failed.
    pub const fn after_failure(&self) -> OnFailure {
        self.on_failure
    }

    /// Marks the task as done by the outside job of that handle.
    #[must_use]
    pub fn of_handle(self, handle: String) -> Self {
        let handle = Some(handle);
        Self { handle, ..self }
    }

    /// The lease of the task.
    pub const fn lease(&self) -> Lease {
        self.lease
    }

    /// The number of the task.
    pub const fn task(&self) -> TaskNo {
        self.task
    }

    /// Estimates the bytes that its result takes in the store.
    pub(super) fn bytes(&self) -> usize {
        match &self.end {
            SettlementEnd::Completed(product, _) | SettlementEnd::Failed(_, Some(product)) => product.bytes(),
            SettlementEnd::Failed(_, None)
            | SettlementEnd::FannedOut(_)
            | SettlementEnd::Searches
            | SettlementEnd::Skipped => 0,
        }
    }

    /// The record of the task, and all its calls.
    pub fn bill(&self) -> (Provenance, Vec<Attempt>) {
        (self.making.clone(), self.attempts.clone())
    }
}

/// The store's answer to a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The task is settled, and the lease is handed on to the next planned task.
    Stepped,
    /// The task is settled, and the lease is handed on to this subtask, to a planned task behind its subtasks, or to a
    /// planned task that is not the next one.
    Moved(TaskNo),
    /// The task is settled, and its lease has ended: other leases have the remaining parts, or an outside job did the
    /// task.
    Yielded,
    /// The queue is finished or paused and has its result line.
    Finished {
        /// Whether the line's status counts as success.
        ok: bool,
    },
    /// The lease was lost: another owner has the queue, or its line changed.
    LostLease,
}
