//! Keeping leases good, and being seen by others.
//!
//! One beat is on its way at a time, three in the time of a lease. While the database does not answer, it waits there;
//! what was asked is good for as long as it was when it was asked, not when the answer came.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::store::{Done, Lease, Owner, RunId, Store, StoreError};

/// What a beat came to.
pub(super) struct Beat {
    /// The leases that were asked for.
    pub(super) asked: Vec<Lease>,
    /// Those of them that are lost.
    pub(super) lost: Vec<Lease>,
    /// Until when the others are good.
    pub(super) until: Instant,
}

type Beating = Pin<Box<dyn Future<Output = Result<Beat, StoreError>> + Send>>;

/// Keeps the leases of a process.
pub(super) struct Keeper {
    store: Arc<dyn Store>,
    run: RunId,
    owner: Owner,
    lease: Duration,
    next: Instant,
    beating: Option<Beating>,
}

impl Keeper {
    pub(super) fn new(store: Arc<dyn Store>, run: RunId, owner: Owner, lease: Duration) -> Self {
        Self {
            store,
            run,
            owner,
            lease,
            next: Instant::now(),
            beating: None,
        }
    }

    /// Until when a lease is good that is asked for now.
    pub(super) fn until(&self) -> Instant {
        Instant::now() + self.lease
    }

    /// The time of a lease in milliseconds.
    pub(super) fn lease_ms(&self) -> i64 {
        i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX)
    }

    /// Before the last quarter of a lease nobody may begin anything under it.
    pub(super) fn margin(&self) -> Duration {
        self.lease / 4
    }

    /// Sends a beat for these leases, if it is time for one and none is on its way.
    pub(super) fn beat(&mut self, held: impl FnOnce() -> Vec<Lease>, done: Done, idle: bool) {
        if self.beating.is_some() || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + self.lease / 3;
        let (asked, until, lease_ms) = (held(), self.until(), self.lease_ms());
        let (store, run, owner) = (Arc::clone(&self.store), self.run, self.owner.clone());
        self.beating = Some(Box::pin(async move {
            let lost = if asked.is_empty() {
                Vec::new()
            } else {
                store.renew(&owner, &asked, lease_ms).await?
            };
            store.tend(run, &owner, done, lease_ms, idle).await?;
            Ok(Beat { asked, lost, until })
        }));
    }

    /// The end of the beat on its way; never, if there is none. Cancel-safe.
    pub(super) async fn beaten(&mut self) -> Result<Beat, StoreError> {
        match &mut self.beating {
            Some(beating) => {
                let beat = beating.await;
                self.beating = None;
                beat
            }
            None => std::future::pending().await,
        }
    }
}
