//! The record of what was done to a run.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{RunId, StoreError};

/// The most actions that a run keeps. The oldest ones are dropped.
pub const KEPT_ACTIONS: usize = 1000;

/// The actions on runs: invocations of the commands that work on a run or change it.
#[async_trait]
pub trait Actions: Send + Sync {
    /// The action is in the record of the run, without an end. An action of the same number is there already, and stays. The run keeps its newest [`KEPT_ACTIONS`] actions.
    async fn begin_action(&self, run: RunId, action: &NewAction) -> Result<(), StoreError>;

    /// The action has this end, in place of an earlier one. An action that is no longer kept stays dropped.
    async fn end_action(&self, run: RunId, action_no: i64, ending: &str) -> Result<(), StoreError>;

    /// Returns at most `limit` actions of the run, the newest first.
    async fn actions(&self, run: RunId, limit: usize) -> Result<Vec<RecordedAction>, StoreError>;
}

/// An action that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAction {
    /// A random number, which names it in its run.
    pub action_no: i64,
    /// The command: `run`, `worker`, `retry` or `redo`.
    pub command: String,
    /// The flags and variables that were given, such as `--concurrency 5` and `NOVA3_RPM=60`. They hold no secrets.
    pub flags: Vec<String>,
    /// Where it was done, and by whom.
    pub actor: ActionOrigin,
}

/// The person, the place and the process that began an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionOrigin {
    /// The name of the user, or its number.
    pub user: String,
    /// The host.
    pub host: String,
    /// The working folder.
    pub folder: String,
    /// The process.
    pub pid: u32,
    /// The version of the program.
    pub version: String,
}

/// An action in the record of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedAction {
    /// The action as it began.
    pub action: NewAction,
    /// Unix milliseconds at which it began.
    pub began_at: i64,
    /// Unix milliseconds of its end. `None` if it goes on, or if its process crashed.
    pub ended_at: Option<i64>,
    /// How it ended, in one word or sentence.
    pub ending: Option<String>,
}
