//! The crash mark of a leased queue that was in flight at a crash.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::work::worker::Fact;
use crate::llm::Marks;
use crate::store::{CrashMark, Lease, Store};

/// Sets and clears the mark in the store as the work goes on.
pub(in crate::engine) struct LeaseCrashMarks<'t> {
    store: &'t dyn Store,
    lease: Lease,
    facts: &'t UnboundedSender<Fact>,
    /// Whether the stored mark is set. A claim sets it.
    works: AtomicBool,
}

impl<'t> LeaseCrashMarks<'t> {
    pub(in crate::engine) const fn new(
        store: &'t dyn Store,
        lease: Lease,
        facts: &'t UnboundedSender<Fact>,
    ) -> Self {
        Self {
            store,
            lease,
            facts,
            works: AtomicBool::new(true),
        }
    }

    /// Stores the mark if it changed. Returns whether the lease is still good and the mark is durable.
    async fn put(&self, mark: CrashMark) -> bool {
        let works = mark == CrashMark::Working;
        if self.works.load(Ordering::Relaxed) == works {
            return true;
        }
        match self.store.mark(self.lease, mark).await {
            Ok(held) => {
                self.works.store(works, Ordering::Relaxed);
                held
            }
            Err(error) => {
                // A dispatcher that has gone has already ended the run.
                drop(self.facts.send(Fact::StoreFailed(error)));
                false
            }
        }
    }
}

#[async_trait]
impl Marks for LeaseCrashMarks<'_> {
    async fn waits(&self) -> bool {
        self.put(CrashMark::Waiting).await
    }

    async fn works(&self) {
        // The answer does not matter: under a lost lease nothing can be settled either.
        let _: bool = self.put(CrashMark::Working).await;
    }
}
