//! What the dispatcher has done in the store without waiting for it: giving queues back, noting how routes stand.

use std::future::Future;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};

use super::RunError;
use crate::store::StoreError;

/// How long the errands of an ending run are waited for. What could not be told then is told by time: leases run out.
const PATIENCE: Duration = Duration::from_secs(10);

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

    /// Waits for all of them, as long as there is hope; answers the first error.
    pub(super) async fn finish(&mut self) -> Result<(), RunError> {
        let all = async {
            let mut first = Ok(());
            while let Some(done) = self.0.join_next().await {
                first = first.and(outcome(done));
            }
            first
        };
        tokio::time::timeout(PATIENCE, all).await.unwrap_or(Ok(()))
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
