//! The check of a whole file. It runs on request only: opening a store never reads the whole file.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};

use super::SqliteStore;
use super::fault::JobFault;
use crate::store::{StoreError, Upkeep};

#[async_trait]
impl Upkeep for SqliteStore {
    async fn check(&self) -> Result<(), StoreError> {
        self.read(check).await
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    async fn shed_caches(&self) -> Result<(), StoreError> {
        let shrink = |c: &rusqlite::Connection| Ok(c.execute_batch("PRAGMA shrink_memory")?);
        self.read(shrink).await?;
        self.write(shrink).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        if let Some(reader) = &self.reader {
            reader.close().await;
        }
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
        Ok(())
    }
}

/// Finds runs whose sums or numbers differ from their rows, and queues with wrong task counts.
const SUMS: &str = "SELECT 'the sums of run `' || r.name || '` are not those of its calls' FROM nova3_runs r
    WHERE r.attempts <> (SELECT count(*) FROM nova3_attempts a WHERE a.run_id=r.run_id)
      OR r.failed_attempts <> (SELECT count(*) FROM nova3_attempts a WHERE a.run_id=r.run_id AND a.error_class IS NOT NULL)
  UNION ALL SELECT 'the numbers of run `' || r.name || '` go beyond the last one given' FROM nova3_runs r
    WHERE r.next_finish_no < (SELECT max(finish_no) FROM nova3_queues q WHERE q.run_id=r.run_id AND finish_no IS NOT NULL)
      OR r.next_event_no < (SELECT max(event_no) FROM nova3_events e WHERE e.run_id=r.run_id)
  UNION ALL SELECT 'the counts of queue ' || q.queue_id || ' are not those of its tasks' FROM nova3_queues q
    WHERE q.state='open' AND (q.ready, q.leased, q.submitted)<>(
      SELECT count(*) FILTER(WHERE status='ready' AND quarantine=0), count(*) FILTER(WHERE status='leased'),
        count(*) FILTER(WHERE status='submitted') FROM nova3_tasks t WHERE t.queue_id=q.queue_id)
  LIMIT 1";

fn check(connection: &Connection) -> Result<(), JobFault> {
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(JobFault::Damaged(verdict));
    }
    let wrong: Option<String> = connection.query_row(SUMS, [], |row| row.get(0)).optional()?;
    wrong.map_or(Ok(()), |wrong| Err(JobFault::Inconsistent(wrong)))
}
