//! The events that the dispatcher waits for.

use std::future::Future;
use std::pin::Pin;

use tokio::task::JoinError;

use crate::clock::Uptime;
use crate::engine::RunError;
use crate::engine::dispatch::heartbeat::Renewed;
use crate::engine::input::ingest::IngestFact;
use crate::engine::job::Exported;
use crate::engine::work::worker::Fact;
use crate::store::{Claims, StoreError};

/// A claim in flight, and the time until which its leases are good.
pub(in crate::engine) struct Claiming {
    pub(in crate::engine) answer: Pin<Box<dyn Future<Output = Result<Claims, StoreError>> + Send>>,
    pub(in crate::engine) until: Uptime,
}

/// An event of the loop.
pub(in crate::engine) enum DispatchEvent {
    Claimed(Result<Claims, StoreError>, Uptime),
    Renewed(Result<Renewed, RunError>),
    Written(Result<(), RunError>),
    Fact(Fact),
    WorkerLost,
    Ingest(IngestFact),
    Signal(i32),
    Exported(Result<Exported, RunError>),
    /// A failure began to wait for proof, or stopped waiting.
    InDoubt,
    GraceOver,
    TimeOver,
    Deadline,
    Look,
    Tick,
}

/// How an exporter ended. A panic of it is a fault of nova3.
pub(in crate::engine) fn exported(
    end: Result<Result<Exported, RunError>, JoinError>,
) -> Result<Exported, RunError> {
    end.unwrap_or_else(|_| {
        Err(RunError::Broken {
            part: "the exporter".to_owned(),
        })
    })
}

/// The outcome of the claim in flight. Never returns if there is none.
pub(in crate::engine) async fn poll(claiming: &mut Option<Claiming>) -> DispatchEvent {
    match claiming {
        Some(claiming) => {
            let answer = claiming.answer.as_mut().await;
            DispatchEvent::Claimed(answer, claiming.until)
        }
        None => std::future::pending().await,
    }
}
