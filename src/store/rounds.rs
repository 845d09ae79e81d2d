//! A session's history as both engines store it, and the part of it that a task gets.

use super::{Material, Round, StoredItem};
use crate::domain::request::{Brief, Request, Work};

/// The most queues in a chain of continued queues that are followed.
pub(super) const CHAIN: usize = 10;

/// A round as it is stored. The caller parses the request, not the thread of the store.
pub(super) struct RoundRow {
    pub(super) number: u64,
    pub(super) run: String,
    pub(super) custom_id: Option<String>,
    pub(super) status: String,
    pub(super) request: Option<String>,
    pub(super) output: Vec<StoredItem>,
    pub(super) completed_at: i64,
    /// Whether it is a round of the queue itself, or of a queue that it continues. Such a round is no history, but its
    /// selections count.
    pub(super) own: bool,
}

impl RoundRow {
    fn brief(&self) -> Option<Brief> {
        let request = Request::from_stored(self.request.as_deref()?).ok()?;
        match request.work {
            Work::Brief(brief) => Some(*brief),
            Work::Completion(_) => None,
        }
    }

    pub(super) fn parsed(self) -> Round {
        self.with(None)
    }

    fn with(self, brief: Option<Brief>) -> Round {
        let brief = brief.or_else(|| self.brief());
        Round {
            number: self.number,
            run: self.run,
            custom_id: self.custom_id,
            status: self.status,
            query: brief.and_then(|brief| brief.query),
            output: self.output,
            completed_at: self.completed_at,
        }
    }
}

/// Adds the rounds that are history, and the items that were deselected in all of them.
pub(super) fn with_rounds(mut material: Material, rows: Vec<RoundRow>) -> Material {
    for row in rows {
        let brief = row.brief();
        for item in brief.iter().flat_map(|brief| &brief.selections.items) {
            material.left.retain(|id| *id != item.id);
            if !item.selected {
                material.left.push(item.id.clone());
            }
        }
        if !row.own {
            material.rounds.push(row.with(brief));
        }
    }
    material
}
