//! The port of workers. One process at a time has the lock of the file, so there is nothing to list.

use async_trait::async_trait;

use super::SqliteStore;
use crate::store::{Owner, RunId, StoreError, Worker, WorkerProgress, WorkerState, Workers};

#[async_trait]
impl Workers for SqliteStore {
    /// Does nothing: the lock file names the only process.
    async fn register_worker(&self, _run: RunId, _worker: &Worker) -> Result<(), StoreError> {
        Ok(())
    }

    /// Does nothing: the next process that opens the file takes away the leases of a crashed one.
    async fn heartbeat(
        &self,
        _owner: &Owner,
        _done: WorkerProgress,
        _lease_ms: i64,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    async fn deregister_worker(&self, _owner: &Owner, _done: WorkerProgress) -> Result<(), StoreError> {
        Ok(())
    }

    async fn workers(&self, _run: RunId) -> Result<Vec<WorkerState>, StoreError> {
        Ok(Vec::new())
    }
}
