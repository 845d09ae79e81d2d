//! What goes through the port of sessions.

use serde_json::{Map, Value};

use super::PendingTask;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::state::TaskStatus;

/// What a task wants to know of what was made before.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its queue; `None` for a request that is not stored.
    pub queue_id: Option<i64>,
    /// Whose it is.
    pub user: UserId,
    /// Its session, where it has one.
    pub session: Option<SessionId>,
    /// Ids of items, as far as the session has them: `insight1`.
    pub items: Vec<String>,
    /// So many of the session's last rounds.
    pub rounds: usize,
}

/// What was made before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Material {
    /// Results of earlier tasks of the queue, and of those it continues, oldest first.
    pub earlier: Vec<Earlier>,
    /// The wanted items, in the order of the wish.
    pub items: Vec<StoredItem>,
    /// Rounds of the session, oldest first.
    pub rounds: Vec<Round>,
    /// Ids of items that were shown in these rounds, or in what the queue continues, and were not chosen.
    pub left: Vec<String>,
}

/// A completed task.
#[derive(Debug, Clone, PartialEq)]
pub struct Earlier {
    /// `task001` and so on.
    pub task_id: String,
    /// What it did.
    pub action: String,
    /// What it made.
    pub items: Vec<StoredItem>,
    /// Whether it belongs to the queue itself, rather than to one that this continues.
    pub own: bool,
}

/// A stored piece of a session's material.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredItem {
    /// Its id, unique in its session.
    pub id: String,
    /// The item without its id.
    pub body: Map<String, Value>,
}

/// An earlier request of the session and what it came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// Its number in the session.
    pub number: u64,
    /// The run it belonged to.
    pub run: String,
    /// Its name.
    pub custom_id: Option<String>,
    /// How it ended.
    pub status: String,
    /// What was asked.
    pub query: Option<String>,
    /// What its last completed task made.
    pub output: Vec<StoredItem>,
    /// Unix milliseconds of its end.
    pub completed_at: i64,
}

/// A session in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEntry {
    /// Whose it is.
    pub user_id: String,
    /// Its name.
    pub session_id: String,
    /// Its finished requests.
    pub rounds: u64,
    /// Its items.
    pub items: u64,
    /// Unix milliseconds of its last item.
    pub last_accessed: i64,
}

/// All that is known of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRecord {
    /// Its rounds, oldest first.
    pub rounds: Vec<Round>,
    /// Its items, by type and number.
    pub items: Vec<StoredItem>,
    /// The queue that is under way, paused, or was last.
    pub queue: Option<KnownQueue>,
    /// What a request that continues would take over.
    pub pending: Vec<PendingTask>,
}

/// A queue as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownQueue {
    /// Its run.
    pub run: String,
    /// Its request's name.
    pub custom_id: Option<String>,
    /// Its state.
    pub state: String,
    /// Whether its tasks are known.
    pub planned: bool,
    /// The store's number.
    pub queue_id: i64,
    /// Tasks settled so far.
    pub current_task: usize,
    /// Its tasks.
    pub tasks: Vec<(PendingTask, TaskStatus)>,
}

/// What was forgotten.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Cleared {
    /// Rounds.
    pub rounds: u64,
    /// Items.
    pub items: u64,
    /// Pending tasks.
    pub pending: u64,
}

/// How a session stands in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCounts {
    /// The user.
    pub user_id: String,
    /// The session.
    pub session_id: String,
    /// Requests of the present input.
    pub total: u64,
    /// Those finished well.
    pub done: u64,
    /// Those failed.
    pub failed: u64,
    /// Those that stopped for a person to choose.
    pub paused: u64,
    /// Paused ones that a later request goes on with.
    pub continued: u64,
}
