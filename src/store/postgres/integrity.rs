//! The check of a whole store, for who asks for it.
//!
//! Deliberately absent: the check of pages and indexes. It is the server's (`amcheck`), and needs its rights.

use async_trait::async_trait;

use super::PostgresStore;
use super::fault::Fault;
use crate::postgres::Connection;
use crate::store::{Integrity, StoreError};

/// Runs whose sums and numbers are not those of their rows, and queues without what belongs to them.
const SUMS: &str = "
  SELECT format('the sums of run `%s` are not those of its calls', r.name) FROM nova3_runs r JOIN nova3_tallies t USING (run_id)
    WHERE (t.attempts, t.failed_attempts) <> (SELECT count(*), count(*) FILTER (WHERE a.error_class IS NOT NULL)
      FROM nova3_attempts a WHERE a.run_id = r.run_id)
  UNION ALL SELECT format('the numbers of run `%s` go beyond the last one given', r.name)
    FROM nova3_runs r JOIN nova3_tallies t USING (run_id)
    WHERE t.next_finish_no < (SELECT max(q.finish_no) FROM nova3_queues q WHERE q.run_id = r.run_id)
      OR t.next_event_no < (SELECT max(e.event_no) FROM nova3_events e WHERE e.run_id = r.run_id)
  UNION ALL SELECT format('run `%s` has a queue without its line', r.name) FROM nova3_runs r
    WHERE EXISTS (SELECT 1 FROM nova3_queues q LEFT JOIN nova3_requests d ON d.run_id = q.run_id AND d.queue_id = q.queue_id
      WHERE q.run_id = r.run_id AND d.queue_id IS NULL)
  LIMIT 1";

#[async_trait]
impl Integrity for PostgresStore {
    async fn check(&self) -> Result<(), StoreError> {
        job!(self, |c| check(c, self.database.shown()))
    }
}

async fn check(c: &mut Connection, shown: &str) -> Result<(), Fault> {
    c.begin_long(super::LONG).await?;
    let wrong = c.optional(SUMS, &[]).await?;
    c.commit().await?;
    match wrong {
        None => Ok(()),
        Some(row) => Err(StoreError::Corrupt {
            path: shown.into(),
            reason: row.get(0),
        }
        .into()),
    }
}
