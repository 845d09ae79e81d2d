//! What the loop does because time has passed: leases, memory, the display, another look.

use std::sync::Arc;

use super::Dispatcher;
use crate::engine::RunError;
use crate::engine::keeper::Beat;
use crate::engine::purse::Till;
use crate::observe::RunEvent;

impl Dispatcher<'_> {
    /// Others may have made something ready, or finished.
    pub(super) fn look(&mut self) {
        self.may_find = true;
        self.looked = false;
        self.wakes.all();
    }

    pub(super) fn tick(&mut self) {
        if let Some(snooze) = self.quarantine.tick(self.slots.all_wait()) {
            self.slots.put_off(snooze);
        }
        self.may_find |= self.slots.is_idle() && !self.tools.store.is_shared();
        if self.tools.store.is_shared() {
            self.slots.run_out(self.keeper.margin());
        }
        self.outage.look(self.world);
        let kept = self.keeper.beat(|| self.slots.held(), self.board.done());
        if let Err(error) = kept {
            self.shutdown.fail(error);
        }
        if self.memory.look() {
            let store = Arc::clone(&self.tools.store);
            self.errands.send(async move { store.shed_caches().await });
        }
        self.watched.tell(self.world, self.run, &mut self.errands);
        let snapshot = self.board.shown(self.slots.calling(), self.waits());
        self.world.announcer.announce(RunEvent::Progressed(snapshot));
    }

    pub(super) fn beaten(&mut self, beat: Result<Beat, RunError>) {
        match beat {
            Ok(Beat { asked, lost, until }) => self.slots.renewed(&asked, &lost, until),
            Err(error) => self.shutdown.fail(error),
        }
    }

    /// What is waited for, in words.
    fn waits(&self) -> Vec<String> {
        let mut waits = self.slots.waits(self.world.client.routes(), self.ingested);
        waits.extend(self.memory.wait());
        waits.extend(self.tools.store.trouble());
        let queueing = self.tools.till.as_ref().map_or(0, Till::queueing);
        if queueing > 0 {
            waits.push(format!("{queueing} calls wait for money below the cost cap"));
        }
        waits
    }
}
