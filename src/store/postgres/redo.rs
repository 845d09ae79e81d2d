//! Redoing finished requests. `schema/postgres/functions/redo.sql` has the statements.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;

use super::fault::JobFault;
use super::rows::int;
use super::session_order::SessionKeys;
use super::{LONG, PostgresStore, session_order};
use crate::domain::request::Request;
use crate::domain::task::TaskNo;
use crate::postgres::{Connection, Param};
use crate::store::{RedoneQueue, Redos, RunId, StoreError};

#[async_trait]
impl Redos for PostgresStore {
    async fn redo(&self, run: RunId, queues: Vec<RedoneQueue>) -> Result<u64, StoreError> {
        let told = &AtomicU64::new(0);
        let queues = &queues;
        job!(self, |c| redo(c, run, queues, told))
    }

    async fn unfinished_redos(&self, run: RunId) -> Result<u64, StoreError> {
        job!(self, |c| unfinished(c, run))
    }

    async fn requests(&self, run: RunId, queues: Vec<i64>) -> Result<Vec<(i64, Request)>, StoreError> {
        let queues = &super::of_run(run, queues);
        job!(self, |c| requests(c, queues))
    }
}

/// Begins the redo of these queues in one transaction. `told` is the count of an earlier try whose answer was lost.
async fn redo(
    c: &mut Connection,
    run: RunId,
    queues: &[RedoneQueue],
    told: &AtomicU64,
) -> Result<u64, JobFault> {
    let (mut queue, mut task, mut needs) = (Vec::new(), Vec::new(), Vec::new());
    for redone in queues {
        for of_queue in &redone.tasks {
            queue.push(redone.queue_id);
            task.push(TaskNo::planned(of_queue.index).0);
            let needed: Vec<String> = of_queue.needs.iter().map(usize::to_string).collect();
            needs.push(format!("{{{}}}", needed.join(",")));
        }
    }
    c.begin_long(LONG).await?;
    let ids: Vec<i64> = queues.iter().map(|redone| redone.queue_id).collect();
    let found = c
        .rows(
            "SELECT q.user_id, q.session_id FROM unnest($2) i(queue_id) JOIN nova3_queues q ON q.queue_id = i.queue_id
             WHERE q.run_id = $1 AND q.session_id IS NOT NULL",
            &[run.0.sent(), ids.sent()],
        )
        .await?;
    let sessions: SessionKeys = found.iter().map(|row| (row.get(0), row.get(1))).collect();
    c.rows("SELECT nova3_share_order($1)", &[run.0.sent()]).await?;
    session_order::lock_heads(c, run, &sessions).await?;
    let row = c
        .row(
            "SELECT nova3_redo($1, $2, $3, $4)",
            &[run.0.sent(), queue.sent(), task.sent(), needs.sent()],
        )
        .await?;
    let redone: Vec<i64> = row.get(0);
    session_order::promote(c, run, &sessions).await?;
    let redone = int(redone.len()).unsigned_abs();
    let redone = told.fetch_max(redone, Relaxed).max(redone);
    c.commit().await?;
    Ok(redone)
}

async fn unfinished(c: &mut Connection, run: RunId) -> Result<u64, JobFault> {
    let row = c
        .row(
            "SELECT count(*) FROM nova3_redos r JOIN nova3_queues q ON q.queue_id = r.queue_id
             JOIN nova3_runs n ON n.run_id = r.run_id WHERE r.run_id = $1 AND q.ingest >= n.complete_ingest",
            &[run.0.sent()],
        )
        .await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

async fn requests(c: &mut Connection, queues: &[i64]) -> Result<Vec<(i64, Request)>, JobFault> {
    let rows = c
        .rows(
            "SELECT q.queue_id, d.request FROM unnest($1) WITH ORDINALITY i(queue_id, place)
             JOIN nova3_queues q ON q.queue_id = i.queue_id JOIN nova3_requests d ON d.queue_id = i.queue_id
             WHERE q.notes_digest IS NOT NULL ORDER BY i.place",
            &[queues.to_vec().sent()],
        )
        .await?;
    let parsed = rows
        .iter()
        .filter_map(|row| Some((row.get(0), Request::from_stored(row.get(1)).ok()?)));
    Ok(parsed.collect())
}
