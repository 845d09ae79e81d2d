//! The end of the loop: whether anything is left, and the release of the leases.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::{Dispatcher, TICK};
use crate::engine::RunError;
use crate::engine::dispatch::event::exported;
use crate::engine::job::Exported;
use crate::engine::signals::Signals;
use crate::engine::work::contain;
use crate::store::StoreError;

/// How long the store may take to answer whether anything is left. Without an answer the loop goes on.
const ASK: Duration = Duration::from_secs(5);

impl Dispatcher<'_> {
    /// Whether anything is unfinished. `None` if the store did not answer in time, or was already asked.
    pub(super) async fn has_unfinished(&mut self) -> Option<Result<bool, StoreError>> {
        let store = Arc::clone(&self.tools.store);
        if std::mem::replace(&mut self.looked, true) {
            return None;
        }
        tokio::time::timeout(ASK, store.has_unfinished(self.run))
            .await
            .ok()
    }

    /// Waits until everything is written, or until the run's time is over: a reader may not read, and a disk may hang.
    pub(super) async fn last_lines(
        &mut self,
        exporters: &mut JoinSet<Result<Exported, RunError>>,
        signals: &mut Signals,
    ) {
        while !self.shutdown.is_abandoned() {
            tokio::select! {
                end = exporters.join_next() => match end {
                    Some(end) => self.exported(exported(end)),
                    None => return,
                },
                signal = signals.next() => self.shutdown.signal(signal, 0),
                () = self.shutdown.grace_over() => self.shutdown.cancel(),
                () = self.shutdown.end_of_time() => self.time_is_over(),
                () = tokio::time::sleep(TICK) => self.outage.look(self.services),
            }
        }
    }

    pub(super) fn time_is_over(&mut self) {
        self.shutdown.time_is_over(self.tools.store.trouble());
    }

    /// Receives the last facts of the workers when the run ends at once. Their calls are cancelled, and each worker
    /// reports the calls that it has sent, which are recorded with its queue. A worker that does not report in time
    /// keeps its lease and its reservation, which then counts as spent.
    async fn last_facts(&mut self) {
        let ends = self.shutdown.ends();
        while self.slots.calling() > 0 {
            let Ok(Some(fact)) = timeout_at(ends, self.facts.recv()).await else {
                return;
            };
            self.fact(fact);
        }
    }

    /// Whether a queue is unfinished and has no task that could run, because its rows are damaged. Such a queue ends
    /// the run after all others are done.
    pub(super) async fn has_stuck(&mut self) -> bool {
        let asked = tokio::time::timeout(ASK, self.tools.store.stuck(self.run)).await;
        match asked {
            Ok(Ok(Some(queue))) => self.shutdown.note(RunError::NoTask { queue }),
            Ok(Err(error)) => self.shutdown.note(error.into()),
            Ok(Ok(None)) | Err(_) => return false,
        }
        true
    }

    /// Releases the queues that were given back, in the background.
    pub(super) fn release(&mut self) {
        let left = self.slots.take_released();
        let store = Arc::clone(&self.tools.store);
        self.background_writes
            .send(async move { contain::release(store, left).await });
    }

    /// Releases everything that was claimed and not done. If the store failed, the next start releases it.
    pub(super) async fn give_back(&mut self) {
        if !self.shutdown.has_failed() {
            self.watched
                .tell(self.services, self.run, &mut self.background_writes);
            if self.shutdown.is_abandoned() {
                self.last_facts().await;
            }
        }
        self.workers.abort_all();
        let left = self.slots.take_left();
        if !left.is_empty() {
            let store = Arc::clone(&self.tools.store);
            self.background_writes
                .send(async move { contain::release(store, left).await });
        }
        let (store, owner, done) = (
            Arc::clone(&self.tools.store),
            self.owner.clone(),
            self.counters.done(),
        );
        self.background_writes
            .send(async move { store.deregister_worker(&owner, done).await });
        if let Err(error) = self.background_writes.finish(self.shutdown.ends()).await {
            self.shutdown.note(error);
        }
    }
}
