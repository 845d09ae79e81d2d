//! What the dispatcher waits for.

use std::future::Future;
use std::pin::Pin;

use tokio::task::JoinError;

use super::ingest::IngestFact;
use super::worker::Fact;
use super::{Exported, RunError};
use crate::store::{Claimed, StoreError};

/// A claim under way.
pub(super) type Claiming = Pin<Box<dyn Future<Output = Result<Vec<Claimed>, StoreError>> + Send>>;

/// Something to react to.
pub(super) enum Turn {
    Claimed(Result<Vec<Claimed>, StoreError>),
    Fact(Fact),
    WorkerLost,
    Ingest(IngestFact),
    Signal(i32),
    Exported(Result<Exported, RunError>),
    GraceOver,
    Deadline,
    Tick,
}

/// How an exporter ended; one that fell is a fault of nova3.
pub(super) fn exported(end: Result<Result<Exported, RunError>, JoinError>) -> Result<Exported, RunError> {
    end.unwrap_or_else(|_| {
        Err(RunError::Broken {
            part: "the exporter".to_owned(),
        })
    })
}

/// The outcome of the claim under way; never, if there is none.
pub(super) async fn poll(claiming: &mut Option<Claiming>) -> Result<Vec<Claimed>, StoreError> {
    match claiming {
        Some(claiming) => claiming.await,
        None => std::future::pending().await,
    }
}
