//! What the dispatcher waits for.

use std::future::Future;
use std::pin::Pin;

use tokio::task::JoinError;

use super::ingest::IngestFact;
use super::keeper::Beat;
use super::worker::Fact;
use super::{Exported, RunError};
use crate::clock::Uptime;
use crate::store::{Claims, StoreError};

/// A claim under way, and until when its leases are good.
pub(super) struct Claiming {
    pub(super) answer: Pin<Box<dyn Future<Output = Result<Claims, StoreError>> + Send>>,
    pub(super) until: Uptime,
}

/// Something to react to.
pub(super) enum Turn {
    Claimed(Result<Claims, StoreError>, Uptime),
    Beat(Result<Beat, RunError>),
    Errand(Result<(), RunError>),
    Fact(Fact),
    WorkerLost,
    Ingest(IngestFact),
    Signal(i32),
    Exported(Result<Exported, RunError>),
    /// A failure waits for proof, or no longer does.
    InDoubt,
    GraceOver,
    TimeOver,
    Deadline,
    Look,
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
pub(super) async fn poll(claiming: &mut Option<Claiming>) -> Turn {
    match claiming {
        Some(claiming) => {
            let answer = claiming.answer.as_mut().await;
            Turn::Claimed(answer, claiming.until)
        }
        None => std::future::pending().await,
    }
}
