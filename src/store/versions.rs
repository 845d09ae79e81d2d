//! The versions of a request: how a line compares to the stored ones under its key, for both engines.

use super::model::{NewLine, Planned};
use crate::domain::failure::Failure;
use crate::domain::request::{Claim, Digest, Request, Stops, Work};
use crate::domain::state::{QueueState, Status};

/// A line that is a valid request.
pub(super) struct Good<'a> {
    pub(super) line: &'a NewLine,
    pub(super) request: &'a Request,
    pub(super) content: &'a Digest,
    pub(super) notes: &'a Digest,
    pub(super) stops: &'a Stops,
    pub(super) plan: &'a [Planned],
}

impl Good<'_> {
    /// Compares the line to the versions under its key. At most one of these is not superseded.
    pub(super) fn among<'v>(&self, versions: &'v [Version]) -> StoredVersion<'v> {
        let same = |version: &&Version| version.content == self.content.as_bytes();
        let valid = |version: &&Version| version.state != QueueState::Superseded;
        match versions.iter().find(valid) {
            None => StoredVersion::Nothing,
            Some(latest) if same(&latest) => StoredVersion::Same(latest),
            Some(latest) => StoredVersion::Other {
                latest,
                undone: versions.iter().find(same),
            },
        }
    }

    /// Returns a digest of the tasks that the line or a flag gives it. `None` if a model plans them.
    pub(super) fn given_tasks(&self) -> Option<i64> {
        if self.plan.is_empty() {
            return None;
        }
        let actions: Vec<&str> = self.plan.iter().map(|task| task.action.as_str()).collect();
        let mut text = actions.join("\n");
        for (index, task) in self.plan.iter().enumerate() {
            if let Some(needs) = &task.needs {
                text += &format!("\n{index} needs {needs:?}");
            }
        }
        let digest = Digest::of(text.as_bytes());
        let (start, _) = digest.as_bytes().split_first_chunk()?;
        Some(i64::from_le_bytes(*start))
    }

    /// Returns how many of its tasks are ready at first. Planning counts as one.
    pub(super) fn ready_at_first(&self) -> usize {
        let needs_none = |(index, task): &(usize, &Planned)| task.needed(*index).is_empty();
        self.plan.iter().enumerate().filter(needs_none).count().max(1)
    }

    /// Compares the version's tasks to those that line and flags give now.
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

    /// Turns the line into a bad one, with its claim and its failure.
    pub(super) fn twice<'b>(&'b self, (claim, failure): &'b (Claim, Failure)) -> Bad<'b> {
        Bad {
            line: self.line,
            digest: self.content,
            claim,
            failure,
        }
    }

    /// The claim of a line whose name was on an earlier line.
    pub(super) fn claim(&self) -> Claim {
        Claim {
            custom_id: None,
            is_batch: matches!(self.request.work, Work::Completion(_)),
        }
    }

    /// The failure of a line whose name was on an earlier line of the same reading.
    pub(super) fn stands_twice(&self) -> Failure {
        let id = self.request.custom_id.as_deref().unwrap_or_default();
        Failure::bad_line(
            self.line.line,
            format!("`custom_id` `{id}` is already used on an earlier line (give each line its own)"),
        )
    }
}

/// A line that is not a valid request, or repeats a name.
pub(super) struct Bad<'a> {
    pub(super) line: &'a NewLine,
    pub(super) digest: &'a Digest,
    pub(super) claim: &'a Claim,
    pub(super) failure: &'a Failure,
}

/// How a reading handles the tasks of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TasksNow {
    /// It does nothing: the tasks are the given ones, or are already marked as others.
    Same,
    /// It clears the mark: the tasks are the given ones again.
    SameAgain,
    /// It sets the mark: the version keeps its tasks, which differ from the given ones.
    Others,
    /// It gives the version the new tasks, or has them planned, unless one of its tasks was begun.
    OthersUnlessBegun,
}

/// The version under the key of a line.
pub(super) enum StoredVersion<'a> {
    /// No valid version.
    Nothing,
    /// The valid version has the same content.
    Same(&'a Version),
    /// The valid version has other content.
    Other {
        latest: &'a Version,
        /// The version with the same content from before an edit, which this line undoes.
        undone: Option<&'a Version>,
    },
}

impl Version {
    /// Whether it has its result, and no redo of it is under way.
    pub(super) const fn has_result(&self) -> bool {
        self.finished && !matches!(self.state, QueueState::Open | QueueState::Blocked)
    }
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
    /// Whether a worker or an outside job works on one of its tasks.
    pub(super) is_held: bool,
    /// The `custom_id` in its result.
    pub(super) custom_id: Option<String>,
    /// The digest of the tasks that its line or a flag gave it.
    pub(super) given_tasks: Option<i64>,
    /// Whether line and flags are known to give other tasks than it has.
    pub(super) other_tasks: bool,
}
