//! Tasks that outside jobs work on. They hold no lease, and any worker that finds the answer can settle them, once.

use async_trait::async_trait;

use super::PostgresStore;
use super::composite_rows::{FunctionCall, ReleaseRow};
use super::fault::JobFault;
use super::rows::int;
use super::run_of;
use crate::domain::task::TaskNo;
use crate::postgres::{Connection, Database, Param, PgText, text};
use crate::store::{Lease, OutsideJobs, ReleasedLease, RunId, StoreError, Submitted};

#[async_trait]
impl OutsideJobs for PostgresStore {
    async fn submit(&self, lease: Lease, handle: &str) -> Result<bool, StoreError> {
        job!(self, |c| submit(c, lease, handle))
    }

    async fn submitted(&self, run: RunId, after: i64, limit: usize) -> Result<Vec<Submitted>, StoreError> {
        job!(self, |c| list(c, run, after, limit))
    }

    async fn take_back(&self, handle: &str, left: ReleasedLease) -> Result<bool, StoreError> {
        let (left, ticket) = (&left, super::batch::ticket());
        job!(self, |c| take_back(&self.database, c, handle, left, ticket))
    }
}

/// Gives the task to the outside job if the lease is valid. Returns whether it is.
pub(super) async fn submit(c: &mut Connection, lease: Lease, handle: &str) -> Result<bool, JobFault> {
    let row = c
        .row(
            "SELECT nova3_submit($1, $2, $3)",
            &[lease.queue_id.sent(), lease.fence.sent(), text(handle).sent()],
        )
        .await?;
    Ok(row.get(0))
}

pub(super) async fn list(
    c: &mut Connection,
    run: RunId,
    after: i64,
    limit: usize,
) -> Result<Vec<Submitted>, JobFault> {
    let rows = c
        .rows(
            "SELECT t.queue_id, t.fence, t.task_index, t.handle FROM (
               SELECT q.queue_id FROM nova3_queues q WHERE q.run_id = $1 AND q.run_id > 0 AND q.queue_id > $2 AND q.submitted > 0
               ORDER BY q.queue_id LIMIT $3) i
             CROSS JOIN LATERAL (
               SELECT t.* FROM nova3_tasks t WHERE t.queue_id = i.queue_id AND t.status = 'submitted' OFFSET 0) t
             ORDER BY t.queue_id, t.task_index",
            &[run.0.sent(), after.sent(), int(limit).sent()],
        )
        .await?;
    let read = |row: &tokio_postgres::Row| Submitted {
        lease: Lease {
            queue_id: row.get(0),
            fence: row.get(1),
        },
        task: TaskNo(row.get(2)),
        handle: row.get::<_, PgText>(3).0,
    };
    Ok(rows.iter().map(read).collect())
}

/// Makes the task ready again if it still belongs to the outside job. Returns whether it did.
pub(super) async fn take_back(
    database: &Database,
    c: &mut Connection,
    handle: &str,
    left: &ReleasedLease,
    ticket: i64,
) -> Result<bool, JobFault> {
    let call = FunctionCall {
        database,
        connection: c,
        sql: "SELECT nova3_take_back($1, $2, $3)",
        run: run_of(left.lease.queue_id),
    };
    let rows = call
        .with_one(&ReleaseRow::of(left, ticket), &text(handle))
        .await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}
