//! The port of histories: everything that happened to one request.

use async_trait::async_trait;

use super::{RunId, StoreError};
use crate::domain::failure::{Class, Failure};
use crate::domain::outcome::{Attempt, CallEnd, Provenance};
use crate::domain::state::{Status, TaskStatus};
use crate::domain::task::{TaskKind, TaskNo};

/// The most calls of a history. Later calls are left out.
pub const MOST_CALLS_OF_HISTORY: usize = 4000;

/// Histories of queues.
#[async_trait]
pub trait Histories: Send + Sync {
    /// Returns the history of a queue of the run: its tasks in all their versions, and its calls by all processes. `None`
    /// if the run has no such queue. Texts of the request, the tasks and the results are read only `with_texts`.
    async fn history(
        &self,
        run: RunId,
        queue: i64,
        with_texts: bool,
    ) -> Result<Option<QueueHistory>, StoreError>;
}

/// The history of a queue.
#[derive(Debug, Clone)]
pub struct QueueHistory {
    /// The name of its run.
    pub run: String,
    /// Random bytes of its run. With the number of the queue they give the id of its trace.
    pub seed: Vec<u8>,
    /// Its number in the store.
    pub queue_id: i64,
    /// The `custom_id` of its request.
    pub custom_id: Option<String>,
    /// The user.
    pub user_id: String,
    /// The session, if it has one.
    pub session_id: Option<String>,
    /// How it ended; `None` if it has not ended.
    pub status: Option<Status>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Unix milliseconds at which its line arrived.
    pub created_at: i64,
    /// Unix milliseconds of its end.
    pub completed_at: Option<i64>,
    /// The stored request, as JSON.
    pub request: Option<String>,
    /// Its tasks, by number and version.
    pub tasks: Vec<TaskHistory>,
    /// Its calls, in the order of their start. There are at most [`MOST_CALLS_OF_HISTORY`].
    pub calls: Vec<CallHistory>,
}

/// One version of a task.
#[derive(Debug, Clone)]
pub struct TaskHistory {
    /// Its number.
    pub task: TaskNo,
    /// Its version.
    pub version: i64,
    /// Its kind.
    pub kind: TaskKind,
    /// Its action.
    pub action: String,
    /// Its instruction, with texts.
    pub input: Option<String>,
    /// The tasks that it needs.
    pub needs: Vec<TaskNo>,
    /// Its state.
    pub status: TaskStatus,
    /// Unix milliseconds at which it was settled.
    pub completed_at: Option<i64>,
    /// Its stored result, with texts.
    pub result: Option<String>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// How its result was made.
    pub making: Option<Provenance>,
}

/// A call of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallHistory {
    /// Its task.
    pub task: TaskNo,
    /// The version of the task.
    pub version: i64,
    /// The call as the ledger has it.
    pub attempt: Attempt,
}

/// Returns the end of a call with this stored cause. A cause that is no error class counts as `internal`.
pub(super) fn call_end(cause: Option<&str>) -> CallEnd {
    match cause {
        None => CallEnd::Answered,
        Some("abandoned") => CallEnd::Abandoned,
        Some(class) => CallEnd::Failed(Class::parse(class).unwrap_or(Class::Internal)),
    }
}
