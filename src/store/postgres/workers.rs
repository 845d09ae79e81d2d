//! The processes that work on runs.

use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;

use super::PostgresStore;
use super::fault::JobFault;
use super::rows::int;
use crate::postgres::{Connection, Database, Param, Passing, PgText, text};
use crate::store::{Owner, RunId, StoreError, Worker, WorkerProgress, WorkerState, Workers};

#[async_trait]
impl Workers for PostgresStore {
    async fn register_worker(&self, run: RunId, worker: &Worker) -> Result<(), StoreError> {
        job!(self, |c| register(c, run, worker))
    }

    async fn heartbeat(&self, owner: &Owner, done: WorkerProgress, lease_ms: i64) -> Result<(), StoreError> {
        job!(self, |c| seen(c, owner, done))?;
        reap_all(&self.database, &self.reaps, lease_ms).await
    }

    async fn deregister_worker(&self, owner: &Owner, done: WorkerProgress) -> Result<(), StoreError> {
        job!(self, |c| deregister(c, owner, done))
    }

    async fn workers(&self, run: RunId) -> Result<Vec<WorkerState>, StoreError> {
        job!(self, |c| list(c, run))
    }
}

/// How long a worker that has ended stays listed.
const KEPT_MS: i64 = 24 * 3600 * 1000;

async fn register(c: &mut Connection, run: RunId, worker: &Worker) -> Result<(), JobFault> {
    c.execute(
        "WITH gone AS (DELETE FROM nova3_workers WHERE run_id = $1 AND last_seen < nova3_now() - $2 RETURNING worker_id)
         DELETE FROM nova3_groups g USING gone WHERE g.run_id = $1 AND g.owner = gone.worker_id",
        &[run.0.sent(), KEPT_MS.sent()],
    )
    .await?;
    c.execute(
        "INSERT INTO nova3_workers AS w (worker_id, run_id, host, pid, version, joined_at, last_seen)
         VALUES ($1,$2,$3,$4,$5,nova3_now(),nova3_now())
         ON CONFLICT (worker_id) DO UPDATE SET run_id = excluded.run_id, last_seen = excluded.last_seen, left_at = NULL,
           settled = CASE WHEN w.run_id = excluded.run_id THEN w.settled ELSE 0 END,
           finished = CASE WHEN w.run_id = excluded.run_id THEN w.finished ELSE 0 END",
        &[
            worker.owner.0.sent(),
            run.0.sent(),
            text(&worker.host).sent(),
            i64::from(worker.pid).sent(),
            worker.version.sent(),
        ],
    )
    .await?;
    Ok(())
}

/// Stores the worker's heartbeat and progress.
async fn seen(c: &mut Connection, owner: &Owner, done: WorkerProgress) -> Result<(), JobFault> {
    c.execute(
        "UPDATE nova3_workers SET last_seen = nova3_now(), left_at = NULL, settled = greatest(settled, $2),
           finished = greatest(finished, $3) WHERE worker_id = $1",
        &[
            owner.0.sent(),
            int(done.settled).sent(),
            int(done.finished).sent(),
        ],
    )
    .await?;
    Ok(())
}

/// The most leases that one statement takes away when the database is fast enough.
pub(super) const REAPED: i64 = 500;

/// Takes away expired leases. A statement that reached its time limit is tried again with half of the rows; `at_once`
/// keeps the number of rows that fit into the limit.
async fn reap_all(database: &Database, at_once: &AtomicI64, lease_ms: i64) -> Result<(), StoreError> {
    loop {
        let rows = at_once.load(Ordering::Relaxed);
        let attempt = || async {
            let mut connection = database.connect().await?;
            reap(&mut connection, lease_ms, rows).await
        };
        match database.patiently(attempt).await {
            Err(fault) if fault.is_cancelled() && rows > 1 => at_once.store(rows / 2, Ordering::Relaxed),
            Err(fault) => return Err(fault.at(database.shown())),
            Ok(()) => {
                at_once.store((rows * 2).min(REAPED), Ordering::Relaxed);
                return Ok(());
            }
        }
    }
}

async fn reap(c: &mut Connection, lease_ms: i64, rows: i64) -> Result<(), JobFault> {
    c.rows("SELECT nova3_reap($1, $2)", &[lease_ms.sent(), rows.sent()])
        .await?;
    Ok(())
}

async fn deregister(c: &mut Connection, owner: &Owner, done: WorkerProgress) -> Result<(), JobFault> {
    c.execute(
        "UPDATE nova3_workers SET last_seen = nova3_now(), left_at = nova3_now(), settled = greatest(settled, $2),
           finished = greatest(finished, $3) WHERE worker_id = $1",
        &[owner.0.sent(), int(done.settled).sent(), int(done.finished).sent()],
    )
    .await?;
    Ok(())
}

async fn list(c: &mut Connection, run: RunId) -> Result<Vec<WorkerState>, JobFault> {
    let rows = c
        .rows(
            "SELECT w.worker_id, w.host, w.pid, w.version, w.joined_at, w.last_seen, w.left_at, w.settled, w.finished,
               coalesce(l.leases, 0), nova3_now()
             FROM nova3_workers w LEFT JOIN (
               SELECT t.lease_owner, count(*) AS leases
               FROM nova3_queues q JOIN nova3_tasks t ON t.queue_id = ANY (ARRAY[q.queue_id])
               WHERE q.run_id = $1 AND q.run_id > 0 AND q.leased > 0 AND t.status = 'leased' GROUP BY t.lease_owner) l
               ON l.lease_owner = w.worker_id
             WHERE w.run_id = $1 ORDER BY w.left_at IS NOT NULL, w.joined_at, w.worker_id",
            &[run.0.sent()],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let (joined_at, last_seen): (i64, i64) = (row.get(4), row.get(5));
            let left_at: Option<i64> = row.get(6);
            WorkerState {
                worker: Worker {
                    owner: Owner(row.get::<_, PgText>(0).0),
                    host: row.get::<_, PgText>(1).0,
                    pid: u32::try_from(row.get::<_, i64>(2)).unwrap_or(0),
                    version: row.get(3),
                },
                joined_at,
                last_seen,
                silent_ms: row
                    .get::<_, i64>(10)
                    .saturating_sub(last_seen)
                    .max(0)
                    .unsigned_abs(),
                has_left: left_at.is_some(),
                done: WorkerProgress {
                    settled: row.get::<_, i64>(7).unsigned_abs(),
                    finished: row.get::<_, i64>(8).unsigned_abs(),
                },
                leases: row.get::<_, i64>(9).unsigned_abs(),
            }
        })
        .collect())
}
