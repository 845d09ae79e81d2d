//! The check of a whole store.
//!
//! Deliberately absent: the check of pages and indexes. The server has one (`amcheck`), which needs extra rights.

use async_trait::async_trait;

use super::PostgresStore;
use super::fault::JobFault;
use crate::postgres::Connection;
use crate::store::{StoreError, Upkeep};

#[async_trait]
impl Upkeep for PostgresStore {
    async fn check(&self) -> Result<(), StoreError> {
        job!(self, |c| check(c, self.database.shown()))
    }

    fn trouble(&self) -> Option<String> {
        self.database.trouble()
    }

    async fn shed_caches(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.tasks.close().await;
        self.plans.close().await;
        self.reservations.close().await;
        self.database.close();
        Ok(())
    }
}

/// Finds runs whose sums or numbers differ from their rows, and queues without a request or with wrong task counts.
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
  UNION ALL SELECT format('the counts of queue %s are not those of its tasks', q.queue_id) FROM nova3_queues q
    CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE t.status = 'ready' AND t.quarantine = 0) AS ready,
      count(*) FILTER (WHERE t.status = 'leased') AS leased, count(*) FILTER (WHERE t.status = 'submitted') AS submitted
      FROM nova3_tasks t WHERE t.queue_id = q.queue_id) t
    WHERE q.state = 'open' AND (q.ready, q.leased, q.submitted) <> (t.ready, t.leased, t.submitted)
  LIMIT 1";

async fn check(c: &mut Connection, shown: &str) -> Result<(), JobFault> {
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
