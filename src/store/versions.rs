//! What the databases know of a request's line, and of those that stood under its key before.

use super::model::{NewLine, Planned};
use crate::domain::failure::Failure;
use crate::domain::request::{Digest, Request, Stops};
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

    /// Why it fails when its name was on an earlier line of the same reading.
    pub(super) fn stands_twice(&self) -> Failure {
        let id = self.request.custom_id.as_deref().unwrap_or_default();
        Failure::bad_line(
            self.line.line,
            format!("`custom_id` `{id}` stands on an earlier line too (give each line its own)"),
        )
    }
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
}
