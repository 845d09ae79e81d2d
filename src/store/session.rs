//! The values of the port of sessions.

use serde_json::{Map, Value};

use super::PendingTask;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::state::TaskStatus;

/// The context that a task asks for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its queue; `None` for a request that is not stored.
    pub queue_id: Option<i64>,
    /// The user of its session.
    pub user: UserId,
    /// Its session, if it has one.
    pub session: Option<SessionId>,
    /// Ids of items of the session, such as `insight1`.
    pub items: Vec<String>,
    /// How many of the session's last rounds.
    pub rounds: usize,
}

/// The context of a task: earlier results and the session's history.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Material {
    /// Results of earlier tasks of the queue and of the queues that it continues, oldest first.
    pub earlier: Vec<Earlier>,
    /// The wanted items, in the order of [`Wanted::items`].
    pub items: Vec<StoredItem>,
    /// Rounds of the session, oldest first.
    pub rounds: Vec<Round>,
    /// Ids of items that were shown in these rounds, or in the queues that this one continues, and were not selected.
    pub left: Vec<String>,
    /// The wanted items that a redo replaced. They are still found by their ids.
    pub replaced: Vec<String>,
}

/// A completed task.
#[derive(Debug, Clone, PartialEq)]
pub struct Earlier {
    /// `task001` and so on.
    pub task_id: String,
    /// The name of its action.
    pub action: String,
    /// Its items.
    pub items: Vec<StoredItem>,
    /// Whether it belongs to the queue itself, and not to one that it continues.
    pub own: bool,
}

/// A stored item.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredItem {
    /// Its id, unique in its session.
    pub id: String,
    /// The item without its id.
    pub body: Map<String, Value>,
}

/// An earlier request of the session with its outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// Its number in the session.
    pub number: u64,
    /// The run it belonged to.
    pub run: String,
    /// The `custom_id` of the request.
    pub custom_id: Option<String>,
    /// The status it ended with.
    pub status: String,
    /// The query of the request.
    pub query: Option<String>,
    /// The items of its last completed task.
    pub output: Vec<StoredItem>,
    /// Unix milliseconds of its end.
    pub completed_at: i64,
}

/// A session in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEntry {
    /// Its user.
    pub user_id: String,
    /// Its name.
    pub session_id: String,
    /// How many requests it has finished.
    pub rounds: u64,
    /// How many items it has.
    pub items: u64,
    /// Unix milliseconds of its last item.
    pub last_accessed: i64,
}

/// The full record of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRecord {
    /// Its rounds, oldest first.
    pub rounds: Vec<Round>,
    /// Its items, by type and number.
    pub items: Vec<StoredItem>,
    /// The queue that is under way, else the paused one, else the last.
    pub queue: Option<KnownQueue>,
    /// The tasks that a continuing request would take over.
    pub pending: Vec<PendingTask>,
}

/// A queue as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownQueue {
    /// Its run.
    pub run: String,
    /// The `custom_id` of its request.
    pub custom_id: Option<String>,
    /// Its state.
    pub state: String,
    /// Whether its tasks are known.
    pub planned: bool,
    /// Its number in the store.
    pub queue_id: i64,
    /// How many tasks are settled.
    pub current_task: usize,
    /// Its tasks with their states.
    pub tasks: Vec<(PendingTask, TaskStatus)>,
}

/// How much was cleared.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Cleared {
    /// Rounds.
    pub rounds: u64,
    /// Items.
    pub items: u64,
    /// Pending tasks.
    pub pending: u64,
}

/// The counts of a session's requests in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCounts {
    /// The user.
    pub user_id: String,
    /// The session.
    pub session_id: String,
    /// Requests of the present input.
    pub total: u64,
    /// Completed requests.
    pub done: u64,
    /// Failed requests.
    pub failed: u64,
    /// Requests that paused for a person's selection.
    pub paused: u64,
    /// Paused requests that a later request continues.
    pub continued: u64,
}
