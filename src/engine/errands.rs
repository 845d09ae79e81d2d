//! What the dispatcher has done in the store without waiting for it: giving queues back, noting how routes stand.

use std::future::Future;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use super::RunError;
use crate::store::StoreError;

/// Errands on their way.
#[derive(Default)]
pub(super) struct Errands(JoinSet<Result<(), StoreError>>);

impl Errands {
    pub(super) fn send(&mut self, errand: impl Future<Output = Result<(), StoreError>> + Send + 'static) {
        self.0.spawn(errand);
    }

    /// The next that is done; never, if there is none. Cancel-safe.
    pub(super) async fn done(&mut self) -> Result<(), RunError> {
        match self.0.join_next().await {
            Some(done) => outcome(done),
            None => std::future::pending().await,
        }
    }

    /// Waits for all of them until then; answers the first error. What could not be told is told by time: leases run out.
    pub(super) async fn finish(&mut self, until: Instant) -> Result<(), RunError> {
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
            part: "an errand to the store".to_owned(),
        }),
    }
}
