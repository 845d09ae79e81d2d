//! The check of a whole file, for who asks for it: opening a store never reads all of it.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};

use super::SqliteStore;
use super::fault::Fault;
use crate::store::{Integrity, StoreError};

/// Runs whose sums and numbers are not those of their rows.
const SUMS: &str = "SELECT 'the sums of run `' || r.name || '` are not those of its calls' FROM nova3_runs r
    WHERE r.attempts <> (SELECT count(*) FROM nova3_attempts a WHERE a.run_id=r.run_id)
      OR r.failed_attempts <> (SELECT count(*) FROM nova3_attempts a WHERE a.run_id=r.run_id AND a.error_class IS NOT NULL)
  UNION ALL SELECT 'the numbers of run `' || r.name || '` go beyond the last one given' FROM nova3_runs r
    WHERE r.next_finish_no < (SELECT max(finish_no) FROM nova3_queues q WHERE q.run_id=r.run_id AND finish_no IS NOT NULL)
      OR r.next_event_no < (SELECT max(event_no) FROM nova3_events e WHERE e.run_id=r.run_id)
  LIMIT 1";

#[async_trait]
impl Integrity for SqliteStore {
    async fn check(&self) -> Result<(), StoreError> {
        self.read(check).await
    }
}

fn check(connection: &Connection) -> Result<(), Fault> {
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Fault::Damaged(verdict));
    }
    let wrong: Option<String> = connection.query_row(SUMS, [], |row| row.get(0)).optional()?;
    wrong.map_or(Ok(()), |wrong| Err(Fault::Inconsistent(wrong)))
}
