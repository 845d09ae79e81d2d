//! Asking for queues, and starting those that were claimed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Dispatcher;
use crate::clock::Uptime;
use crate::engine::dispatch::event::Claiming;
use crate::engine::work::worker::{fail_unreadable, work};
use crate::llm::Stop;
use crate::store::{Claims, Lease, Left, StoreError};

/// A failure that waits for proof waits so long for another line of an input that is still read.
const FOR_INPUT: Duration = Duration::from_secs(2);

impl Dispatcher<'_> {
    /// Asks for as many queues as may be claimed, one question at a time.
    pub(super) fn start_claim(&mut self) {
        let held = self.shutdown.doubts().held();
        let room = self.memory.room(self.slots.in_memory());
        let free = self.stop_conditions.at_most(self.slots.free(held).min(room));
        let waits = self.claiming.is_some() || !self.is_read || !self.may_find;
        // Held requests may be as many failures as the run may have.
        let waits = waits || (held > 0 && self.stop_conditions.would_end(held));
        if waits || self.shutdown.has_begun() || free == 0 {
            return;
        }
        let Some(which) = self.quarantine.next(self.tools.plan_only, self.slots.is_idle()) else {
            return;
        };
        let (store, run, owner) = (Arc::clone(&self.tools.store), self.run, self.owner.clone());
        let (until, lease_ms) = (self.heartbeat.until(), self.heartbeat.lease_ms());
        self.may_find = false;
        self.claiming = Some(Claiming {
            answer: Box::pin(async move { store.claim(run, &owner, which, free, lease_ms).await }),
            until,
        });
    }

    pub(super) fn claimed(&mut self, claimed: Result<Claims, StoreError>, until: Uptime) {
        self.claiming = None;
        let Claims {
            queues,
            unreadable,
            expire,
        } = match claimed {
            Ok(claims) => claims,
            Err(error) => return self.shutdown.fail(error.into()),
        };
        let until = expire.then_some(until);
        let count = queues.len() + unreadable.len();
        if count > 0 {
            self.may_find = true;
            self.poll_backoff.found();
        } else if self.slots.is_idle() && !self.may_find {
            self.may_find = self.quarantine.found_nothing(self.tools.plan_only, self.ingested);
        }
        // The request of a part was begun with its task.
        let parts = queues.iter().filter(|queue| queue.task.is_part()).count();
        self.stop_conditions.begun(count - parts);
        for queue in unreadable {
            if self.begin(queue.lease, until).is_some() {
                let (tools, tell) = (Arc::clone(&self.tools), self.tell.clone());
                self.workers.spawn(fail_unreadable(tools, queue, tell));
            }
        }
        for queue in queues {
            if let Some(stop) = self.begin(queue.lease, until) {
                let (tools, tell) = (Arc::clone(&self.tools), self.tell.clone());
                self.workers.spawn(work(tools, queue, stop, tell));
            }
        }
    }

    /// Registers a queue before it runs, so that the counters and the truth agree; gives it back if the run is ending.
    fn begin(&mut self, lease: Lease, until: Option<Uptime>) -> Option<Stop> {
        if self.shutdown.has_begun() {
            self.slots.leave(Left::untouched(lease));
            return None;
        }
        let stop = self.shutdown.stop_for_one(lease.queue_id);
        self.slots.begin(lease, until, stop.clone());
        Some(stop)
    }

    /// Releases the requests whose failure waits for proof when no other request can be begun that could bring one, or
    /// when they are as many failures as the run may have.
    pub(super) fn weigh_doubts(&mut self) {
        let held = self.shutdown.doubts().held();
        if held == 0 {
            self.held_since = None;
            return;
        }
        let since = *self.held_since.get_or_insert_with(Instant::now);
        let others = self.slots.in_memory() > held || self.claiming.is_some();
        let may_come = !self.ingested && since.elapsed() < FOR_INPUT;
        if self.stop_conditions.would_end(held) || !(others || may_come) {
            self.shutdown.doubts().release();
        }
    }
}
