//! What the databases know of a request's line, and of those that stood under its key before.

use super::model::{NewLine, Planned};
use crate::domain::failure::Failure;
use crate::domain::request::{Claim, Digest, Request, Stops, Work};
use crate::domain::state::{QueueState, Status};

/// A line that is a request.
pub(super) struct Good<'a> {
    pub(super) line: &'a NewLine,
    pub(super) request: &'a Request,
    pub(super) content: &'a Digest,
    pub(super) notes: &'a Digest,
    pub(super) stops: &'a Stops,
    pub(super) plan: &'a [Planned],
}

impl Good<'_> {
    /// What the line is to the versions under its key, of which at most one is not superseded.
    pub(super) fn among<'v>(&self, versions: &'v [Version]) -> Found<'v> {
        let same = |version: &&Version| version.content == self.content.as_bytes();
        let valid = |version: &&Version| version.state != QueueState::Superseded;
        match versions.iter().find(valid) {
            None => Found::Nothing,
            Some(latest) if same(&latest) => Found::Same(latest),
            Some(latest) => Found::Other {
                latest,
                undone: versions.iter().find(same),
            },
        }
    }

    /// A digest of the tasks that the line or a flag gives it; `None` if it is to be planned.
    pub(super) fn given_tasks(&self) -> Option<i64> {
        if self.plan.is_empty() {
            return None;
        }
        let actions: Vec<&str> = self.plan.iter().map(|task| task.action.as_str()).collect();
        let digest = Digest::of(actions.join("\n").as_bytes());
        let (start, _) = digest.as_bytes().split_first_chunk()?;
        Some(i64::from_le_bytes(*start))
    }

    /// What the tasks that it has are to those that line and flags give now.
    pub(super) fn tasks_of(&self, version: &Version) -> TasksNow {
        let waits = matches!(version.state, QueueState::Open | QueueState::Blocked) && !version.is_held;
        match (self.given_tasks() == version.given_tasks, version.other_tasks) {
            (true, false) => TasksNow::Same,
            (true, true) => TasksNow::SameAgain,
            (false, _) if waits => TasksNow::OthersUnlessBegun,
            (false, false) => TasksNow::Others,
            (false, true) => TasksNow::Same,
        }
    }

    /// The line as a bad one, with what it says of itself and why it is one.
    pub(super) fn twice<'b>(&'b self, (claim, failure): &'b (Claim, Failure)) -> Bad<'b> {
        Bad {
            line: self.line,
            digest: self.content,
            claim,
            failure,
        }
    }

    /// What the line says of itself when its name was on an earlier line.
    pub(super) fn claim(&self) -> Claim {
        Claim {
            custom_id: None,
            is_batch: matches!(self.request.work, Work::Completion(_)),
        }
    }

    /// Why it fails when its name was on an earlier line of the same reading.
    pub(super) fn stands_twice(&self) -> Failure {
        let id = self.request.custom_id.as_deref().unwrap_or_default();
        Failure::bad_line(
            self.line.line,
            format!("`custom_id` `{id}` stands on an earlier line too (give each line its own)"),
        )
    }
}

/// A line that is no request, or no second one of its name.
pub(super) struct Bad<'a> {
    pub(super) line: &'a NewLine,
    pub(super) digest: &'a Digest,
    pub(super) claim: &'a Claim,
    pub(super) failure: &'a Failure,
}

/// What a reading does about the tasks of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TasksNow {
    /// Nothing: its tasks are those that it is given, or it is known that they are not.
    Same,
    /// Its tasks are those that it is given, which they were not before.
    SameAgain,
    /// It keeps its tasks, which are others than those that it is given.
    Others,
    /// It takes the tasks that it is given, or is planned, unless a task of it was begun.
    OthersUnlessBegun,
}

/// What stands under the key of a line.
pub(super) enum Found<'a> {
    /// No version that is valid.
    Nothing,
    /// The valid version says the same.
    Same(&'a Version),
    /// The valid version says something else.
    Other {
        latest: &'a Version,
        /// The version that said the same before an edit, which this line undoes.
        undone: Option<&'a Version>,
    },
}

/// A stored version of a request.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) queue_id: i64,
    pub(super) seq: i64,
    pub(super) content: Vec<u8>,
    pub(super) state: QueueState,
    pub(super) user: String,
    pub(super) session: Option<String>,
    /// The last reading that saw it.
    pub(super) ingest: i64,
    pub(super) notes: Option<Vec<u8>>,
    pub(super) status: Option<Status>,
    pub(super) line_index: i64,
    pub(super) line: i64,
    pub(super) finished: bool,
    /// Whether a worker or an outside job works on a task of it.
    pub(super) is_held: bool,
    /// The `custom_id` that its result has.
    pub(super) custom_id: Option<String>,
    /// A digest of the tasks that its line or a flag gave it.
    pub(super) given_tasks: Option<i64>,
    /// Whether those are known to be others than it has.
    pub(super) other_tasks: bool,
}
