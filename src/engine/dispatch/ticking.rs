//! Handles polls, ticks and renewals: leases, memory, the display.

use std::sync::Arc;

use super::Dispatcher;
use crate::engine::RunError;
use crate::engine::dispatch::heartbeat::Renewed;
use crate::observe::RunEvent;

impl Dispatcher<'_> {
    /// Other processes may have made a queue ready, or finished one.
    pub(super) fn look(&mut self) {
        self.may_find = true;
        self.looked = false;
        self.wakes.all();
    }

    pub(super) fn tick(&mut self) {
        if let Some(snooze) = self.quarantine.tick(self.slots.all_wait()) {
            self.slots.put_off(snooze);
        }
        self.slots.run_out(self.heartbeat.margin());
        self.outage.look(self.services);
        let kept = self.heartbeat.beat(|| self.slots.held(), self.counters.done());
        if let Err(error) = kept {
            self.shutdown.fail(error);
        }
        if self.memory.look() {
            let store = Arc::clone(&self.tools.store);
            self.background_writes
                .send(async move { store.shed_caches().await });
        }
        self.watched
            .tell(self.services, self.run, &mut self.background_writes);
        let snapshot = self.counters.shown(self.present_calls());
        self.services
            .events
            .publish_run(RunEvent::Progressed(Box::new(snapshot)));
    }

    pub(super) fn beaten(&mut self, beat: Result<Renewed, RunError>) {
        match beat {
            Ok(Renewed { asked, lost, until }) => self.slots.renewed(&asked, &lost, until),
            Err(error) => self.shutdown.fail(error),
        }
    }
}
