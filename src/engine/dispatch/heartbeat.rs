//! Heartbeats: they renew leases and register that the worker is alive.
//!
//! Renewal and housekeeping are two tasks. Each runs three times in the duration of a lease, and at most one of each
//! runs at once. Renewal has its own connection to the store, so that slow housekeeping or a busy pool makes no lease
//! expire. Both wait while the database does not answer. A renewed lease counts from the moment of the request, not of
//! the answer.
//!
//! A renewal that the database cancels at its time limit is split in two halves, because one locked row must not cost
//! the other leases. A lease that cannot be renewed alone keeps its time, and is part of the next renewal.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument;

use crate::clock::{self, Uptime};
use crate::engine::RunError;
use crate::store::{Lease, Owner, Store, StoreError, WorkerProgress};

/// The outcome of a renewal.
pub(in crate::engine) struct Renewed {
    /// The leases that were to be renewed.
    pub(in crate::engine) asked: Vec<Lease>,
    /// Those of them that are lost.
    pub(in crate::engine) lost: Vec<Lease>,
    /// The time until which the others are good.
    pub(in crate::engine) until: Uptime,
}

/// The heartbeat of a process: it renews its leases.
pub(in crate::engine) struct Heartbeat {
    store: Arc<dyn Store>,
    owner: Owner,
    lease: Duration,
    /// Unbounded, because a renewal sends only a few results and the dispatcher takes them.
    tell: mpsc::UnboundedSender<Result<Renewed, RunError>>,
    beats: mpsc::UnboundedReceiver<Result<Renewed, RunError>>,
    renewing: Periodic,
    tending: Periodic,
}

/// A task that starts at intervals and runs at most once at a time.
struct Periodic {
    part: &'static str,
    task: JoinSet<()>,
    next: Instant,
}

impl Periodic {
    fn new(part: &'static str) -> Self {
        Self {
            part,
            task: JoinSet::new(),
            next: Instant::now(),
        }
    }

    /// Whether the task should start now. An error if it panicked.
    fn is_due(&mut self, every: Duration) -> Result<bool, RunError> {
        if let Some(Err(_)) = self.task.try_join_next() {
            return Err(RunError::Broken {
                part: self.part.to_owned(),
            });
        }
        let due = self.task.is_empty() && Instant::now() >= self.next;
        if due {
            self.next = Instant::now() + every;
        }
        Ok(due)
    }
}

impl Heartbeat {
    pub(in crate::engine) fn new(store: Arc<dyn Store>, owner: Owner, lease: Duration) -> Self {
        let (tell, beats) = mpsc::unbounded_channel();
        Self {
            store,
            owner,
            lease,
            tell,
            beats,
            renewing: Periodic::new("renewing leases"),
            tending: Periodic::new("the housekeeping of leases"),
        }
    }

    /// The time until which a lease is good that is asked for now.
    pub(in crate::engine) fn until(&self) -> Uptime {
        clock::uptime() + self.lease
    }

    /// The duration of a lease in milliseconds.
    pub(in crate::engine) fn lease_ms(&self) -> i64 {
        let parts = if failpoint!("leases-too-short") { 20 } else { 1 };
        i64::try_from(self.lease.as_millis() / parts).unwrap_or(i64::MAX)
    }

    /// The last quarter of a lease, in which no new call may start under it.
    pub(in crate::engine) fn margin(&self) -> Duration {
        self.lease / 4
    }

    /// Starts the renewal of these leases and the housekeeping, each if it is due and not already running.
    pub(in crate::engine) fn beat(
        &mut self,
        held: impl FnOnce() -> Vec<Lease>,
        done: WorkerProgress,
    ) -> Result<(), RunError> {
        let every = self.lease / 3;
        let lease_ms = self.lease_ms();
        if self.renewing.is_due(every)? {
            let held = held();
            if !held.is_empty() {
                let (store, owner, tell) = (Arc::clone(&self.store), self.owner.clone(), self.tell.clone());
                let lease = self.lease;
                let renewing = async move {
                    if let Err(error) = renew(&*store, &owner, held, (lease, lease_ms), &tell).await {
                        drop(tell.send(Err(error.into())));
                    }
                };
                self.renewing.task.spawn(renewing.in_current_span());
            }
        }
        if self.tending.is_due(every)? {
            let (store, owner, tell) = (Arc::clone(&self.store), self.owner.clone(), self.tell.clone());
            let tending = async move {
                let tended = store.heartbeat(&owner, done, lease_ms).await;
                if let Err(error) = unless_slow(tended) {
                    drop(tell.send(Err(error.into())));
                }
            };
            self.tending.task.spawn(tending.in_current_span());
        }
        Ok(())
    }

    /// The next renewal, or the error that ends the run. Cancel-safe.
    pub(in crate::engine) async fn beaten(&mut self) -> Result<Renewed, RunError> {
        match self.beats.recv().await {
            Some(beat) => beat,
            // Never: the heartbeat holds a sender itself.
            None => std::future::pending().await,
        }
    }
}

/// Ignores housekeeping that the database cancelled at its time limit: the next heartbeat repeats it.
pub(in crate::engine) fn unless_slow(tended: Result<(), StoreError>) -> Result<(), StoreError> {
    match tended {
        Err(error @ StoreError::Slow { .. }) => {
            tracing::warn!("the housekeeping of leases is put off: {error}");
            Ok(())
        }
        other => other,
    }
}

/// Renews the leases, in smaller parts if the database has no time for all of them at once.
async fn renew(
    store: &dyn Store,
    owner: &Owner,
    held: Vec<Lease>,
    (lease, lease_ms): (Duration, i64),
    tell: &mpsc::UnboundedSender<Result<Renewed, RunError>>,
) -> Result<(), StoreError> {
    let mut parts = vec![held];
    while let Some(mut asked) = parts.pop() {
        let until = clock::uptime() + lease;
        match store.renew(owner, &asked, lease_ms).await {
            Ok(lost) => drop(tell.send(Ok(Renewed { asked, lost, until }))),
            Err(StoreError::Slow { .. }) if asked.len() > 1 => {
                let second = asked.split_off(asked.len() / 2);
                parts.extend([second, asked]);
            }
            Err(error @ StoreError::Slow { .. }) => {
                tracing::warn!(
                    queue = asked[0].queue_id,
                    "the lease could not be renewed in time, and is tried again: {error}"
                );
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
