//! Leases: taking, keeping and giving back the right to work on a queue; and who has them.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio_postgres::Row;

use super::calls::{Calls, int, small};
use super::fault::Fault;
use super::{context, run_of};
use crate::domain::outcome::Making;
use crate::postgres::{Connection, Database, Param, Passing, Text, text};
use crate::store::{
    Claimable, Claimed, Claims, CrashMark, Done, Lease, Left, Owner, PendingTask, RunId, StoreError,
    TakeOver, Unreadable, Worker, WorkerState,
};

/// What a claim asks for.
pub(super) struct Claim<'a> {
    pub(super) run: RunId,
    pub(super) owner: &'a Owner,
    pub(super) which: Claimable,
    pub(super) limit: usize,
    pub(super) lease_ms: i64,
    pub(super) ticket: i64,
}

pub(super) async fn claim(c: &mut Connection, claim: &Claim<'_>) -> Result<Claims, Fault> {
    let which = match claim.which {
        Claimable::All => "all",
        Claimable::Unplanned => "unplanned",
        Claimable::Quarantined => "quarantined",
    };
    let rows = c
        .rows(
            "SELECT * FROM nova3_claim($1,$2,$3,$4,$5,$6)",
            &[
                claim.run.0.sent(),
                claim.owner.0.sent(),
                which.sent(),
                int(claim.limit).sent(),
                claim.lease_ms.sent(),
                claim.ticket.sent(),
            ],
        )
        .await?;
    let mut claims = Claims::default();
    for row in &rows {
        add(&mut claims, row);
    }
    Ok(claims)
}

fn add(claims: &mut Claims, row: &Row) {
    let lease = Lease {
        queue_id: row.get(0),
        fence: row.get(1),
    };
    let current_task = usize::try_from(row.get::<_, i32>(3)).unwrap_or(0);
    let tasks = pending(row, 6);
    let unread = Unreadable {
        lease,
        planned: row.get(4),
        current_task,
        task_id: tasks.get(current_task).map(|task| task.task_id.clone()),
        reason: String::new(),
    };
    let queue = |request| Claimed {
        lease,
        request,
        index: row.get::<_, i64>(2).unsigned_abs(),
        current_task,
        planned: row.get(4),
        is_recorded: row.get(10),
        panics: row.get::<_, i64>(11).try_into().unwrap_or(u32::MAX),
        lost_calls: Vec::new(),
        tasks,
    };
    claims.add(row.get(5), queue, unread);
}

/// Whether the lease is still good; then the crash mark is as it is said.
pub(super) async fn mark(c: &mut Connection, lease: Lease, mark: CrashMark) -> Result<bool, Fault> {
    let working = mark == CrashMark::Working;
    let rows = c
        .rows(
            "UPDATE nova3_queues SET working = $3 WHERE queue_id = $1 AND fence = $2 AND state = 'leased'
             RETURNING 1",
            &[lease.queue_id.sent(), lease.fence.sent(), working.sent()],
        )
        .await?;
    Ok(!rows.is_empty())
}

/// Whether the lease is still good; then so many panics are noted. It may be asked again.
pub(super) async fn note_panics(c: &mut Connection, lease: Lease, panics: u32) -> Result<bool, Fault> {
    let rows = c
        .rows(
            "UPDATE nova3_queues SET panics = greatest(panics, $3)
             WHERE queue_id = $1 AND fence = $2 AND state = 'leased' RETURNING 1",
            &[
                lease.queue_id.sent(),
                lease.fence.sent(),
                i64::from(panics).sent(),
            ],
        )
        .await?;
    Ok(!rows.is_empty())
}

/// Tasks that stand as four arrays from column `first` on.
pub(super) fn pending(row: &Row, first: usize) -> Vec<PendingTask> {
    let column = |offset: usize| -> Vec<Text> {
        row.get::<_, Option<Vec<Text>>>(first + offset)
            .unwrap_or_default()
    };
    let names = column(0).into_iter().zip(column(1));
    let texts = column(2).into_iter().zip(column(3));
    names
        .zip(texts)
        .map(|((task_id, action), (description, input))| PendingTask {
            task_id: task_id.0,
            action: action.0,
            description: description.0,
            input: input.0,
        })
        .collect()
}

/// Leases of one run; `None` if there are none.
fn by_run(leases: impl Iterator<Item = Lease>) -> Vec<(i64, Vec<i64>, Vec<i64>)> {
    let mut runs: Vec<(i64, Vec<i64>, Vec<i64>)> = Vec::new();
    for lease in leases {
        let run = run_of(lease.queue_id);
        if !runs.iter().any(|known| known.0 == run) {
            runs.push((run, Vec::new(), Vec::new()));
        }
        if let Some((_, queues, fences)) = runs.iter_mut().find(|known| known.0 == run) {
            queues.push(lease.queue_id);
            fences.push(lease.fence);
        }
    }
    runs
}

/// Renews on the connection that nothing else uses, and waits for no lock of others.
pub(super) async fn renew_apart(
    database: &Database,
    owner: &Owner,
    leases: &[Lease],
    lease_ms: i64,
) -> Result<Vec<Lease>, StoreError> {
    let attempt = || async {
        let mut connection = database.connect_apart().await?;
        let renewed = renew(&mut connection, owner, leases, lease_ms).await;
        renewed.map_err(|fault| fault.at_once(database.shown()))
    };
    let renewed = database.patiently(attempt).await;
    renewed.map_err(|fault| fault.at(database.shown()))
}

async fn renew(
    c: &mut Connection,
    owner: &Owner,
    leases: &[Lease],
    lease_ms: i64,
) -> Result<Vec<Lease>, Fault> {
    let mut lost = Vec::new();
    for (run, queues, fences) in by_run(leases.iter().copied()) {
        let rows = c
            .rows(
                "SELECT * FROM nova3_renew($1,$2,$3,$4,$5)",
                &[
                    run.sent(),
                    owner.0.sent(),
                    queues.sent(),
                    fences.sent(),
                    lease_ms.sent(),
                ],
            )
            .await?;
        lost.extend(rows.iter().map(|row| Lease {
            queue_id: row.get(0),
            fence: row.get(1),
        }));
    }
    Ok(lost)
}

pub(super) async fn release(c: &mut Connection, left: &[Left], ticket: i64) -> Result<(), Fault> {
    for (run, queues, fences) in by_run(left.iter().map(|left| left.lease)) {
        let mut calls = Calls::default();
        let ours = left.iter().filter(|left| run_of(left.lease.queue_id) == run);
        let (mut tasks, mut snoozes) = (Vec::<i32>::new(), Vec::<i64>::new());
        for (of, left) in (1..).zip(ours) {
            tasks.push(left.task.map_or(-1, small));
            snoozes.push(left.snooze_ms());
            calls.add(of, &left.attempts);
        }
        let tickets = vec![ticket; tasks.len()];
        let mut params = vec![
            run.sent(),
            queues.sent(),
            fences.sent(),
            tasks.sent(),
            snoozes.sent(),
            tickets.sent(),
        ];
        params.extend(calls.sent());
        c.rows(
            "SELECT nova3_release($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20)",
            &params,
        )
        .await?;
    }
    Ok(())
}

/// A worker that is known to have ended is kept for a day, for people to look at.
const KEPT_MS: i64 = 24 * 3600 * 1000;

pub(super) async fn join(c: &mut Connection, run: RunId, worker: &Worker) -> Result<(), Fault> {
    c.execute(
        "DELETE FROM nova3_workers WHERE run_id = $1 AND last_seen < nova3_now() - $2",
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

/// The worker is alive and has done so much.
pub(super) async fn seen(c: &mut Connection, owner: &Owner, done: Done) -> Result<(), Fault> {
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

/// Leases that are taken away in one statement at most, where the database has time for them.
pub(super) const REAPED: i64 = 500;

/// Takes away what has run out. A statement that was too long for its limit is tried with half of the rows; `at_once` keeps
/// how many there is time for.
pub(super) async fn reap_all(
    database: &Database,
    at_once: &AtomicI64,
    lease_ms: i64,
) -> Result<(), StoreError> {
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

async fn reap(c: &mut Connection, lease_ms: i64, rows: i64) -> Result<(), Fault> {
    c.rows("SELECT nova3_reap($1, $2)", &[lease_ms.sent(), rows.sent()])
        .await?;
    Ok(())
}

pub(super) async fn leave(c: &mut Connection, owner: &Owner, done: Done) -> Result<(), Fault> {
    c.execute(
        "UPDATE nova3_workers SET last_seen = nova3_now(), left_at = nova3_now(), settled = greatest(settled, $2),
           finished = greatest(finished, $3) WHERE worker_id = $1",
        &[owner.0.sent(), int(done.settled).sent(), int(done.finished).sent()],
    )
    .await?;
    Ok(())
}

pub(super) async fn workers(c: &mut Connection, run: RunId) -> Result<Vec<WorkerState>, Fault> {
    let rows = c
        .rows(
            "SELECT w.worker_id, w.host, w.pid, w.version, w.joined_at, w.last_seen, w.left_at, w.settled, w.finished,
               (SELECT count(*) FROM nova3_queues q WHERE q.run_id = w.run_id AND q.run_id > 0 AND q.state = 'leased'
                 AND q.lease_owner = w.worker_id), nova3_now()
             FROM nova3_workers w WHERE w.run_id = $1 ORDER BY w.left_at IS NOT NULL, w.joined_at, w.worker_id",
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
                    owner: Owner(row.get::<_, Text>(0).0),
                    host: row.get::<_, Text>(1).0,
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
                done: Done {
                    settled: row.get::<_, i64>(7).unsigned_abs(),
                    finished: row.get::<_, i64>(8).unsigned_abs(),
                },
                leases: row.get::<_, i64>(9).unsigned_abs(),
            }
        })
        .collect())
}

/// The pending tasks of the session's last paused queue become this one's.
pub(super) async fn take_over(c: &mut Connection, lease: Lease, ticket: i64) -> Result<TakeOver, Fault> {
    let making = serde_json::to_string(&Making::without_calls(String::new(), String::new()))?;
    let row = c
        .row(
            "SELECT nova3_take_over($1, $2, $3, $4, $5)",
            &[
                run_of(lease.queue_id).sent(),
                lease.queue_id.sent(),
                lease.fence.sent(),
                ticket.sent(),
                making.sent(),
            ],
        )
        .await?;
    match row.get(0) {
        "taken" => Ok(TakeOver::Taken(context::tasks(c, lease.queue_id, false).await?)),
        "nothing" => Ok(TakeOver::Nothing),
        _ => Ok(TakeOver::LostLease),
    }
}
