//! The processes that work on runs: one at a time has the lock of the file.

use async_trait::async_trait;

use super::SqliteStore;
use crate::store::{Done, Owner, RunId, StoreError, Worker, WorkerState, Workers};

#[async_trait]
impl Workers for SqliteStore {
    /// The lock of the file tells of the only process.
    async fn register_worker(&self, _run: RunId, _worker: &Worker) -> Result<(), StoreError> {
        Ok(())
    }

    /// Leases of a process that crashed are taken away when the next one opens the file.
    async fn heartbeat(&self, _owner: &Owner, _done: Done, _lease_ms: i64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn deregister_worker(&self, _owner: &Owner, _done: Done) -> Result<(), StoreError> {
        Ok(())
    }

    async fn workers(&self, _run: RunId) -> Result<Vec<WorkerState>, StoreError> {
        Ok(Vec::new())
    }
}
