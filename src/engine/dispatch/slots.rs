//! The leases of this process, and how far the answer of each is on its way to the disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{self, Uptime};
use crate::llm::{Route, Standing, Stop};
use crate::store::{Lease, Left};

/// A lease that is worked under.
struct Held {
    lease: Lease,
    /// Until when nobody else can have it, by this machine's own clock; `None` if nobody can.
    until: Option<Uptime>,
    stop: Stop,
    /// For how long nobody is to claim it when it is given back.
    snooze: Duration,
}

/// The slots of a run. Only the dispatcher has them.
pub(in crate::engine) struct Slots {
    concurrency: usize,
    /// Queues held in memory at most.
    most: usize,
    /// Queues whose answers are not in yet: each holds a slot.
    calling: HashMap<Lease, Held>,
    /// Queues whose answers wait for the disk.
    settling: HashMap<Lease, Held>,
    /// Queues left over by an ending run, given back together.
    released: Vec<Left>,
    /// Queues whose chain is of no use any more, kept until the run ends: nobody would get further with them.
    parked: Vec<Left>,
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

    /// How many queues may be claimed: as many as there are free slots, unless the disk is behind. Then the
    /// answers that wait for it are let in first, so that a kill never costs more than twice the slots. A queue whose
    /// failure waits for proof holds no slot.
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

    /// Whether so many queues are parked that no other can be taken.
    pub(in crate::engine) fn is_full_of_parked(&self) -> bool {
        self.parked.len() >= self.most
    }

    /// Whether queues wait for a chain that is of no use any more.
    pub(in crate::engine) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Queues whose requests and answers are in memory.
    pub(in crate::engine) fn in_memory(&self) -> usize {
        self.calling.len() + self.settling.len()
    }

    fn disk_is_behind(&self) -> bool {
        self.settling.len() >= self.concurrency
    }

    pub(in crate::engine) fn is_idle(&self) -> bool {
        self.calling.is_empty() && self.settling.is_empty()
    }

    /// Calls on their way.
    pub(in crate::engine) fn calling(&self) -> usize {
        self.calling.len()
    }

    /// Every lease that must stay good.
    pub(in crate::engine) fn held(&self) -> Vec<Lease> {
        self.calling
            .values()
            .chain(self.settling.values())
            .map(|held| held.lease)
            .chain(self.parked.iter().map(|left| left.lease))
            .collect()
    }

    /// A queue begins, whose lease is good until then; `stop` reaches its worker.
    pub(in crate::engine) fn begin(&mut self, lease: Lease, until: Option<Uptime>, stop: Stop) {
        let held = Held {
            lease,
            until,
            stop,
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

    /// The leases that were asked for are good until then, but for those that are lost: nothing more is called for
    /// these, and what is on its way is given up.
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

    /// Leases that run out unless they are renewed within `margin` start no call any more, and those that have run out
    /// give up what is on its way: another worker may have it now.
    pub(in crate::engine) fn run_out(&mut self, margin: Duration) {
        let now = clock::uptime();
        for held in self.calling.values() {
            let Some(until) = held.until else { continue };
            if until <= now + margin {
                held.stop.drain.cancel();
            }
            if until <= now && !held.stop.cancel.is_cancelled() {
                tracing::warn!(
                    queue = held.lease.queue_id,
                    "the lease ran out before it was renewed: its call is given up"
                );
                held.stop.cancel.cancel();
            }
        }
    }

    /// Whether queues are there, and the calls of all of them wait to be sent.
    pub(in crate::engine) fn all_wait(&self) -> bool {
        !self.calling.is_empty() && self.calling.values().all(|held| held.stop.is_waiting())
    }

    /// Nothing more is called for those that are there; they are given back, and rest for so long.
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

    /// The queue stays as it was and is to be given back.
    pub(in crate::engine) fn leave(&mut self, mut left: Left) {
        if let Some(held) = self.calling.remove(&left.lease) {
            left.snooze = left.snooze.max(held.snooze);
        }
        self.released.push(left);
    }

    /// The queue stays as it was; nothing can be done for it in this run.
    pub(in crate::engine) fn park(&mut self, left: Left) {
        self.end(left.lease);
        self.parked.push(left);
    }

    /// What is to be given back, without what waits for its chain.
    pub(in crate::engine) fn take_released(&mut self) -> Vec<Left> {
        std::mem::take(&mut self.released)
    }

    /// What is to be given back.
    pub(in crate::engine) fn take_left(&mut self) -> Vec<Left> {
        let mut left = std::mem::take(&mut self.released);
        left.append(&mut self.parked);
        left
    }

    /// What is waited for, in words.
    pub(in crate::engine) fn waits(&self, routes: &[Arc<Route>], ingested: bool) -> Vec<String> {
        let mut waits: Vec<String> = routes.iter().filter_map(|route| wait_of(route)).collect();
        if self.disk_is_behind() {
            waits.push(format!("{} answers wait for the disk", self.settling.len()));
        }
        if !ingested && self.is_idle() {
            waits.push("waiting for input".to_owned());
        }
        waits
    }
}

fn wait_of(route: &Route) -> Option<String> {
    let name = &route.settings.name;
    Some(match route.standing() {
        Standing::Free => return None,
        Standing::Paused { left, .. } => format!("`{name}` asked for a pause, {} s left", left.as_secs() + 1),
        Standing::Limited { calls } => format!("{calls} calls wait for the limits of `{name}`"),
        Standing::Open { left, reason } => {
            format!(
                "`{name}` is down, tried again in {} s ({reason})",
                left.as_secs() + 1
            )
        }
        Standing::HalfOpen { reason } => format!("`{name}` is being tried ({reason})"),
        Standing::Latched { .. } => format!("`{name}` is dead for this run"),
    })
}
