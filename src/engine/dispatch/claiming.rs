//! Claims queues and starts their workers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::Dispatcher;
use crate::clock::Uptime;
use crate::domain::ids::shortened;
use crate::engine::dispatch::event::Claiming;
use crate::engine::dispatch::slots::RequestNames;
use crate::engine::work::worker::{fail_unreadable, work};
use crate::llm::Stop;
use crate::store::{Claims, Lease, ReleasedLease, StoreError};

/// How long a held failure waits for another line while the input is still being read.
const FOR_INPUT: Duration = Duration::from_secs(2);

/// The longest name of a request on the display, in characters.
const LABEL: usize = 40;

impl Dispatcher<'_> {
    /// Starts a claim of as many queues as may start now. At most one claim is in flight.
    pub(super) fn start_claim(&mut self) {
        let held = self.shutdown.doubts().held();
        let room = self.memory.room(self.slots.in_memory());
        let free = self.stop_conditions.at_most(self.slots.free(held).min(room));
        let waits = self.claiming.is_some() || !self.is_read || !self.may_find;
        // All held requests may fail together. No more begin if that would reach the run's failure limit.
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
        // The request of a subtask was counted when its task began.
        let subtasks = queues.iter().filter(|queue| queue.task.is_subtask()).count();
        self.stop_conditions.begun(count - subtasks);
        for queue in unreadable {
            let names = request_names(queue.lease, None, "an unreadable request");
            let span = names.span.clone();
            if self.begin(queue.lease, until, names).is_some() {
                let (tools, tell) = (Arc::clone(&self.tools), self.tell.clone());
                self.workers
                    .spawn(fail_unreadable(tools, queue, tell).instrument(span));
            }
        }
        for queue in queues {
            let line = format!("line {}", queue.index + 1);
            let names = request_names(queue.lease, queue.request.custom_id.as_deref(), &line);
            let span = names.span.clone();
            if let Some(stop) = self.begin(queue.lease, until, names) {
                let (tools, tell) = (Arc::clone(&self.tools), self.tell.clone());
                self.workers
                    .spawn(work(tools, queue, stop, tell).instrument(span));
            }
        }
    }

    /// Registers a queue before its worker starts, so that the counters include it. Releases the queue if the run is
    /// ending.
    fn begin(&mut self, lease: Lease, until: Option<Uptime>, names: RequestNames) -> Option<Stop> {
        if self.shutdown.has_begun() {
            self.slots.leave(ReleasedLease::untouched(lease));
            return None;
        }
        let stop = self.shutdown.stop_for_one(lease.queue_id);
        self.slots.begin(lease, until, stop.clone(), names);
        Some(stop)
    }

    /// Releases the held failures when no other request can begin that could prove anything about their route, or when
    /// they would reach the run's failure limit.
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

/// The names of one request: its span inside the run's span, and its `custom_id`, else `otherwise`.
fn request_names(lease: Lease, custom_id: Option<&str>, otherwise: &str) -> RequestNames {
    RequestNames {
        span: tracing::info_span!("request", request.id = custom_id, queue.id = lease.queue_id),
        label: custom_id.map_or_else(|| otherwise.to_owned(), |id| shortened(id, LABEL)),
    }
}
