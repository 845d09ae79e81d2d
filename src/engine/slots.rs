//! Which queues this process holds, and how far each is on its way to the disk.

use std::collections::HashMap;
use std::sync::Arc;

use crate::llm::{Route, Waiting};
use crate::store::Lease;

/// The slots of a run. Only the dispatcher has them.
pub(super) struct Slots {
    concurrency: usize,
    /// Queues whose answers are not in yet: each holds a slot.
    calling: HashMap<i64, Lease>,
    /// Queues whose answers wait for the disk.
    settling: HashMap<i64, Lease>,
    /// Queues left over by an ending run, given back together.
    released: Vec<Lease>,
}

impl Slots {
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            concurrency,
            calling: HashMap::new(),
            settling: HashMap::new(),
            released: Vec::new(),
        }
    }

    /// How many queues may be claimed: as many as there are free slots, unless the disk is behind. Then the
    /// answers that wait for it are let in first, so that a kill never costs more than twice the slots.
    pub(super) fn free(&self) -> usize {
        if self.disk_is_behind() {
            0
        } else {
            self.concurrency.saturating_sub(self.calling.len())
        }
    }

    fn disk_is_behind(&self) -> bool {
        self.settling.len() >= self.concurrency
    }

    pub(super) fn is_idle(&self) -> bool {
        self.calling.is_empty() && self.settling.is_empty()
    }

    /// Calls on their way.
    pub(super) fn calling(&self) -> usize {
        self.calling.len()
    }

    /// Every lease that must stay good.
    pub(super) fn held(&self) -> Vec<Lease> {
        self.calling
            .values()
            .chain(self.settling.values())
            .copied()
            .collect()
    }

    pub(super) fn begin(&mut self, lease: Lease) {
        self.calling.insert(lease.queue_id, lease);
    }

    pub(super) fn answer_in(&mut self, lease: Lease) {
        self.calling.remove(&lease.queue_id);
        self.settling.insert(lease.queue_id, lease);
    }

    pub(super) fn end(&mut self, lease: Lease) {
        self.calling.remove(&lease.queue_id);
        self.settling.remove(&lease.queue_id);
    }

    /// The queue stays as it was and is to be given back.
    pub(super) fn leave(&mut self, lease: Lease) {
        self.calling.remove(&lease.queue_id);
        self.released.push(lease);
    }

    /// Every call on its way is given up.
    pub(super) fn leave_all(&mut self) {
        self.released.extend(self.calling.drain().map(|(_, lease)| lease));
    }

    /// What is to be given back.
    pub(super) fn take_left(&mut self) -> Vec<Lease> {
        std::mem::take(&mut self.released)
    }

    /// What is waited for, in words.
    pub(super) fn waits(&self, routes: &[Arc<Route>], ingested: bool) -> Vec<String> {
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
    Some(match route.waiting()? {
        Waiting::Paused { left } => format!("`{name}` asked for a pause, {} s left", left.as_secs() + 1),
        Waiting::Limited { calls } => format!("{calls} calls wait for the limits of `{name}`"),
        Waiting::Latched { .. } => format!("`{name}` is dead for this run"),
    })
}
