//! A session's history as it is stored, and what a task is told of it, on every engine.

use super::{Material, Round, StoredItem};
use crate::domain::request::{Brief, Request, Work};

/// A queue that continues one that continues another … is followed so far.
pub(super) const CHAIN: usize = 10;

/// A round as it is stored; the request is parsed by whoever asked, not on the store's thread.
pub(super) struct RoundRow {
    pub(super) number: u64,
    pub(super) run: String,
    pub(super) custom_id: Option<String>,
    pub(super) status: String,
    pub(super) request: Option<String>,
    pub(super) output: Vec<StoredItem>,
    pub(super) completed_at: i64,
    /// Whether it is of the queue itself, or of one that it continues: no history, but its choices count.
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

/// The material with the rounds that are history, and what people chose and left in all of them.
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
