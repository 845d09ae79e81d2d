//! Handles the facts of the reading of the input.

use super::Dispatcher;
use crate::engine::input::ingest::IngestFact;
use crate::observe::{RunEnding, RunEvent};

impl Dispatcher<'_> {
    pub(super) fn ingest(&mut self, fact: IngestFact) {
        self.counters.ingested(&fact);
        match fact {
            IngestFact::Unchanged(_) => {
                self.is_read = true;
                return;
            }
            IngestFact::Position(_) => return,
            IngestFact::Begun { run, change } => {
                self.is_read = true;
                if let Some(change) = change {
                    self.services
                        .events
                        .publish_run(RunEvent::InputChanged { run, change });
                }
            }
            IngestFact::Empty => return self.shutdown.drain(RunEnding::NoRequests, "", 0),
            IngestFact::Added { .. } => self.quarantine.input(),
            IngestFact::Ended => (self.is_read, self.ingested) = (true, true),
            IngestFact::Failed(error) => return self.shutdown.fail_gently(error, self.slots.calling()),
        }
        self.may_find = true;
        self.wakes.all();
    }
}
