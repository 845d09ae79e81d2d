//! The leases of this process, and whether their answers are awaited or being stored.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tracing::Span;

use crate::clock::{self, Uptime};
use crate::llm::Stop;
use crate::store::{Lease, ReleasedLease};

/// A lease whose queue is running.
struct RunningLease {
    lease: Lease,
    /// The time until which no other process can take the lease, by this machine's clock. `None` if the store gives leases
    /// that do not expire.
    until: Option<Uptime>,
    stop: Stop,
    /// Names the run and the request in log lines.
    span: Span,
    /// Names the request on the display.
    label: String,
    /// How long the queue may not be claimed after it is released.
    snooze: Duration,
}

/// The names of a request for people.
#[derive(Debug, Clone)]
pub(in crate::engine) struct RequestNames {
    /// Names the run and the request in log lines.
    pub(in crate::engine) span: Span,
    /// Names the request on the display.
    pub(in crate::engine) label: String,
}

/// The slots of a run. Only the dispatcher uses them.
pub(in crate::engine) struct Slots {
    concurrency: usize,
    /// Queues held in memory at most.
    most: usize,
    /// Queues whose last answer is awaited: each holds a slot.
    calling: HashMap<Lease, RunningLease>,
    /// Queues whose last answer is being stored.
    settling: HashMap<Lease, RunningLease>,
    /// Queues that were given back and are released together.
    released: Vec<ReleasedLease>,
    /// Queues whose chain is dead, or whose outcome the store refuses. They are kept until the run ends, because another
    /// claim would not help.
    parked: Vec<ReleasedLease>,
}

impl Slots {
    pub(in crate::engine) fn new(concurrency: usize, most: usize) -> Self {
        Self {
            concurrency,
            most,
            calling: HashMap::new(),
            settling: HashMap::new(),
            released: Vec::new(),
            parked: Vec::new(),
        }
    }

    /// How many queues may be claimed: as many as there are free slots. None if the disk is behind: answers that wait
    /// for it are stored first, so that a kill costs at most twice the slots. A queue whose failure waits for proof
    /// holds no slot.
    pub(in crate::engine) fn free(&self, in_doubt: usize) -> usize {
        if self.disk_is_behind() {
            0
        } else {
            let room = self.most.saturating_sub(self.in_memory() + self.parked.len());
            let calling = if failpoint!("slots-not-counted") {
                0
            } else {
                self.calling.len().saturating_sub(in_doubt)
            };
            self.concurrency.saturating_sub(calling).min(room)
        }
    }

    /// Whether so many queues are parked that no other can be claimed.
    pub(in crate::engine) fn is_full_of_parked(&self) -> bool {
        self.parked.len() >= self.most
    }

    /// Whether queues are parked.
    pub(in crate::engine) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// How many queues have their requests and answers in memory.
    pub(in crate::engine) fn in_memory(&self) -> usize {
        self.calling.len() + self.settling.len()
    }

    /// How many requests this process works on.
    pub(in crate::engine) fn queues(&self) -> usize {
        let leases = self.calling.keys().chain(self.settling.keys());
        leases.map(|lease| lease.queue_id).collect::<HashSet<_>>().len()
    }

    fn disk_is_behind(&self) -> bool {
        self.settling.len() >= self.concurrency
    }

    pub(in crate::engine) fn is_idle(&self) -> bool {
        self.calling.is_empty() && self.settling.is_empty()
    }

    /// How many queues do not have their last answer yet.
    pub(in crate::engine) fn calling(&self) -> usize {
        self.calling.len()
    }

    /// Every lease that must be renewed.
    pub(in crate::engine) fn held(&self) -> Vec<Lease> {
        self.calling
            .values()
            .chain(self.settling.values())
            .map(|held| held.lease)
            .chain(self.parked.iter().map(|left| left.lease))
            .collect()
    }

    /// Registers a queue whose lease is good until the given time; `stop` reaches its worker.
    pub(in crate::engine) fn begin(
        &mut self,
        lease: Lease,
        until: Option<Uptime>,
        stop: Stop,
        names: RequestNames,
    ) {
        let held = RunningLease {
            lease,
            until,
            stop,
            span: names.span,
            label: names.label,
            snooze: Duration::ZERO,
        };
        if let Some(until) = until {
            held.stop.lease_until(until);
        }
        self.calling.insert(lease, held);
    }

    pub(in crate::engine) fn answer_in(&mut self, lease: Lease) {
        if let Some(held) = self.calling.remove(&lease) {
            self.settling.insert(lease, held);
        }
    }

    /// Records a renewal: the asked leases are good until the given time, except the lost ones. A queue with a lost
    /// lease sends no new call, and its call in flight is cancelled.
    pub(in crate::engine) fn renewed(&mut self, asked: &[Lease], lost: &[Lease], until: Uptime) {
        for lease in asked {
            let held = self.calling.get_mut(lease);
            let Some(held) = held.or(self.settling.get_mut(lease)) else {
                continue;
            };
            if lost.contains(lease) {
                held.stop.drain.cancel();
                held.stop.cancel.cancel();
            } else if held.until.is_some() {
                held.until = Some(until);
                held.stop.lease_until(until);
            }
        }
    }

    /// Stops queues whose leases expire. Within `margin` of its end a lease starts no new call. A call under an expired
    /// lease is cancelled, because another worker may have the lease now.
    pub(in crate::engine) fn run_out(&mut self, margin: Duration) {
        let now = clock::uptime();
        for held in self.calling.values() {
            let Some(until) = held.until else { continue };
            if until <= now + margin {
                held.stop.drain.cancel();
            }
            if until <= now && !held.stop.cancel.is_cancelled() {
                held.span.in_scope(|| {
                    tracing::warn!("the lease expired before it was renewed: its call is given up");
                });
                held.stop.cancel.cancel();
            }
        }
    }

    /// Whether queues are running and all their calls wait to be sent.
    pub(in crate::engine) fn all_wait(&self) -> bool {
        !self.calling.is_empty() && self.calling.values().all(|held| held.stop.is_waiting())
    }

    /// Stops all queues from sending new calls, so that they are released. They may not be claimed again for that long.
    pub(in crate::engine) fn put_off(&mut self, snooze: Duration) {
        for held in self.calling.values_mut() {
            held.snooze = snooze;
            held.stop.drain.cancel();
        }
    }

    pub(in crate::engine) fn end(&mut self, lease: Lease) {
        self.calling.remove(&lease);
        self.settling.remove(&lease);
    }

    /// Marks the queue for release; its tasks stay as they were.
    pub(in crate::engine) fn leave(&mut self, mut left: ReleasedLease) {
        if let Some(held) = self.calling.remove(&left.lease) {
            left.snooze = left.snooze.max(held.snooze);
        }
        self.released.push(left);
    }

    /// Parks the queue until the run ends; its tasks stay as they were.
    pub(in crate::engine) fn park(&mut self, left: ReleasedLease) {
        self.end(left.lease);
        self.parked.push(left);
    }

    /// Takes the queues that are to be released now, without the parked ones.
    pub(in crate::engine) fn take_released(&mut self) -> Vec<ReleasedLease> {
        std::mem::take(&mut self.released)
    }

    /// Takes all queues that are to be released at the end, parked ones included.
    pub(in crate::engine) fn take_left(&mut self) -> Vec<ReleasedLease> {
        let mut left = std::mem::take(&mut self.released);
        left.append(&mut self.parked);
        left
    }

    /// The name of a running request.
    pub(in crate::engine) fn label(&self, queue: i64) -> Option<&str> {
        let mut running = self.calling.values();
        let held = running.find(|held| held.lease.queue_id == queue)?;
        Some(&held.label)
    }

    /// Messages for the display about everything that queues wait for, beside their routes.
    pub(in crate::engine) fn waits(&self, ingested: bool) -> Vec<String> {
        let mut waits = Vec::new();
        if self.disk_is_behind() {
            waits.push(format!("{} answers wait for the disk", self.settling.len()));
        }
        if !ingested && self.is_idle() {
            waits.push("waiting for input".to_owned());
        }
        waits
    }
}
