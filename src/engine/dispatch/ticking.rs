//! Handles polls, ticks and renewals: leases, memory, the display.

use std::sync::Arc;

use super::Dispatcher;
use crate::engine::RunError;
use crate::engine::dispatch::heartbeat::Renewed;
use crate::engine::work::budget::CostBudget;
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
        let snapshot = self.counters.shown(self.slots.calling(), self.waits());
        self.services.events.publish_run(RunEvent::Progressed(snapshot));
    }

    pub(super) fn beaten(&mut self, beat: Result<Renewed, RunError>) {
        match beat {
            Ok(Renewed { asked, lost, until }) => self.slots.renewed(&asked, &lost, until),
            Err(error) => self.shutdown.fail(error),
        }
    }

    /// Messages for the display about everything that the run waits for.
    fn waits(&self) -> Vec<String> {
        let mut waits = self.slots.waits(self.services.client.routes(), self.ingested);
        waits.extend(self.memory.wait());
        waits.extend(self.tools.store.trouble());
        let queueing = self.tools.cost_budget.as_ref().map_or(0, CostBudget::queueing);
        if queueing > 0 {
            waits.push(format!("{queueing} calls wait for money below the cost cap"));
        }
        waits
    }
}
