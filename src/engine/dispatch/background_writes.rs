//! Writes to the store that the dispatcher does not wait for: released queues and the states of routes.

use std::future::Future;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::engine::RunError;
use crate::store::StoreError;

/// The writes in flight.
#[derive(Default)]
pub(in crate::engine) struct BackgroundWrites(JoinSet<Result<(), StoreError>>);

impl BackgroundWrites {
    pub(in crate::engine) fn send(
        &mut self,
        write: impl Future<Output = Result<(), StoreError>> + Send + 'static,
    ) {
        self.0.spawn(write.in_current_span());
    }

    /// The outcome of the next write that ends. Never returns if none is in flight. Cancel-safe.
    pub(in crate::engine) async fn done(&mut self) -> Result<(), RunError> {
        match self.0.join_next().await {
            Some(done) => outcome(done),
            None => std::future::pending().await,
        }
    }

    /// Waits for all writes until the given time, and returns the first error. A release that is not written in time
    /// needs no repetition: its lease expires.
    pub(in crate::engine) async fn finish(&mut self, until: Instant) -> Result<(), RunError> {
        let all = async {
            let mut first = Ok(());
            while let Some(done) = self.0.join_next().await {
                first = first.and(outcome(done));
            }
            first
        };
        timeout_at(until, all).await.unwrap_or(Ok(()))
    }
}

fn outcome(done: Result<Result<(), StoreError>, JoinError>) -> Result<(), RunError> {
    match done {
        Ok(done) => Ok(done?),
        Err(_) => Err(RunError::Broken {
            part: "a background write to the store".to_owned(),
        }),
    }
}
