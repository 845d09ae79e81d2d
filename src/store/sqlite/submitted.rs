//! Tasks that outside jobs work on. They hold no lease, and any worker that finds the answer can settle them, once.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::SqliteStore;
use super::claim::put_back;
use super::fault::JobFault;
use super::graph;
use super::ledger::{self, Spent, Use};
use super::task_counts::recount;
use crate::domain::state::{TaskStatus, TaskTransition};
use crate::domain::task::TaskNo;
use crate::store::{Lease, OutsideJobs, ReleasedLease, RunId, StoreError, Submitted};

#[async_trait]
impl OutsideJobs for SqliteStore {
    async fn submit(&self, lease: Lease, handle: &str) -> Result<bool, StoreError> {
        let handle = handle.to_owned();
        self.write(move |c| submit(c, lease, &handle)).await
    }

    async fn submitted(&self, run: RunId, after: i64, limit: usize) -> Result<Vec<Submitted>, StoreError> {
        self.read(move |c| list(c, run, after, limit)).await
    }

    async fn take_back(&self, handle: &str, left: ReleasedLease) -> Result<bool, StoreError> {
        let handle = handle.to_owned();
        self.write(move |c| take_back(c, &handle, &left, crate::clock::now_ms()))
            .await
    }
}

/// Gives the task to the outside job if the lease is valid. Returns whether it is.
pub(super) fn submit(c: &Connection, lease: Lease, handle: &str) -> Result<bool, JobFault> {
    let submitted = graph::after(TaskStatus::Leased, TaskTransition::Submitted)?;
    let done = c
        .prepare_cached(
            "UPDATE nova3_tasks SET status=?3, handle=?4, lease_owner=NULL, lease_until=NULL, lease_group=0, working=0
             WHERE queue_id=?1 AND fence=?2 AND status='leased'",
        )?
        .execute(params![lease.queue_id, lease.fence, submitted.as_str(), handle])?;
    if done > 0 {
        recount(c, lease.queue_id)?;
    }
    Ok(done > 0)
}

pub(super) fn list(c: &Connection, run: RunId, after: i64, limit: usize) -> Result<Vec<Submitted>, JobFault> {
    let mut query = c.prepare_cached(
        "SELECT t.queue_id, t.fence, t.task_index, t.handle
         FROM (SELECT queue_id FROM nova3_queues WHERE run_id=?1 AND queue_id>?2 AND submitted>0 ORDER BY queue_id LIMIT ?3)
         JOIN nova3_tasks t USING(queue_id) WHERE t.status='submitted' ORDER BY t.queue_id, t.task_index",
    )?;
    let rows = query.query_map(params![run.0, after, limit], |row| {
        Ok(Submitted {
            lease: Lease {
                queue_id: row.get(0)?,
                fence: row.get(1)?,
            },
            task: TaskNo(row.get(2)?),
            handle: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Makes the task ready again if it still belongs to the outside job. Returns whether it did.
pub(super) fn take_back(
    c: &Connection,
    handle: &str,
    left: &ReleasedLease,
    now: i64,
) -> Result<bool, JobFault> {
    let (lease, snooze) = (left.lease, left.snooze_ms());
    let ready = graph::after(TaskStatus::Submitted, TaskTransition::TakenBack)?;
    let wake_at = if snooze == 0 {
        0
    } else {
        now.saturating_add(snooze)
    };
    let run: Option<i64> = {
        let mut update = c.prepare_cached(
            "UPDATE nova3_tasks SET status=?4, handle=NULL, attempt=attempt-1, wake_at=?5, sleep_ms=?6
             WHERE queue_id=?1 AND fence=?2 AND handle=?3 AND status='submitted'
             RETURNING (SELECT run_id FROM nova3_queues q WHERE q.queue_id=?1)",
        )?;
        let params = params![
            lease.queue_id,
            lease.fence,
            handle,
            ready.as_str(),
            wake_at,
            snooze
        ];
        let mut rows = update.query_map(params, |row| row.get(0))?;
        rows.next().transpose()?
    };
    let Some(run) = run else { return Ok(false) };
    let spent = Spent {
        lease,
        task: left.task,
        version: None,
        attempts: &left.attempts,
        completed: false,
    };
    ledger::write(c, &spent, run, Use::Nothing)?;
    recount(c, lease.queue_id)?;
    put_back(c, lease.queue_id)?;
    Ok(true)
}
