//! Leases: claiming, renewing and releasing them.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::PostgresStore;
use super::composite_rows::{FunctionCall, ReleaseRow};
use super::fault::JobFault;
use super::{context, run_of};
use crate::domain::outcome::Provenance;
use crate::postgres::{Connection, Database, Param};
use crate::store::{
    Claimable, Claims, CrashMark, Lease, Leases, Owner, ReleasedLease, RunId, StoreError, TakeOver,
};

#[async_trait]
impl Leases for PostgresStore {
    async fn claim(
        &self,
        run: RunId,
        owner: &Owner,
        which: Claimable,
        limit: usize,
        lease_ms: i64,
    ) -> Result<Claims, StoreError> {
        let claim = &super::claims::Claim {
            run,
            owner,
            which,
            limit,
            lease_ms,
            ticket: super::batch::ticket(),
        };
        let asked = &AtomicBool::new(false);
        job!(self, |c| super::claims::claim(
            c,
            claim,
            asked.swap(true, Ordering::Relaxed)
        ))
    }

    async fn renew(&self, owner: &Owner, leases: &[Lease], lease_ms: i64) -> Result<Vec<Lease>, StoreError> {
        renew_apart(&self.database, owner, leases, lease_ms).await
    }

    async fn release(&self, left: Vec<ReleasedLease>) -> Result<(), StoreError> {
        let (left, ticket) = (&left, super::batch::ticket());
        job!(self, |c| release(&self.database, c, left, ticket))
    }

    async fn mark(&self, lease: Lease, mark: CrashMark) -> Result<bool, StoreError> {
        job!(self, |c| set_mark(c, lease, mark))
    }

    async fn note_panics(&self, lease: Lease, panics: u32) -> Result<bool, StoreError> {
        job!(self, |c| set_panics(c, lease, panics))
    }
}

/// Sets the crash mark if the lease is still valid. Returns whether it is.
async fn set_mark(c: &mut Connection, lease: Lease, mark: CrashMark) -> Result<bool, JobFault> {
    let working = mark == CrashMark::Working;
    let rows = c
        .rows(
            "UPDATE nova3_tasks SET working = $3 WHERE queue_id = $1 AND fence = $2 AND status = 'leased'
             RETURNING 1",
            &[lease.queue_id.sent(), lease.fence.sent(), working.sent()],
        )
        .await?;
    Ok(!rows.is_empty())
}

/// Stores the number of panics if the lease is still valid. Returns whether it is. Repeating it is safe.
async fn set_panics(c: &mut Connection, lease: Lease, panics: u32) -> Result<bool, JobFault> {
    let rows = c
        .rows(
            "UPDATE nova3_tasks SET panics = greatest(panics, $3)
             WHERE queue_id = $1 AND fence = $2 AND status = 'leased' RETURNING 1",
            &[
                lease.queue_id.sent(),
                lease.fence.sent(),
                i64::from(panics).sent(),
            ],
        )
        .await?;
    Ok(!rows.is_empty())
}

/// Groups leases by run: the run's number, the queues, the fences.
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

/// Renews on a connection that nothing else uses. It does not wait for locks of others.
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
) -> Result<Vec<Lease>, JobFault> {
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

pub(super) async fn release(
    database: &Database,
    c: &mut Connection,
    left: &[ReleasedLease],
    ticket: i64,
) -> Result<(), JobFault> {
    for (run, _, _) in by_run(left.iter().map(|left| left.lease)) {
        let ours = left.iter().filter(|left| run_of(left.lease.queue_id) == run);
        let rows: Vec<ReleaseRow> = ours.map(|left| ReleaseRow::of(left, ticket)).collect();
        let call = FunctionCall {
            database,
            connection: &mut *c,
            sql: "SELECT nova3_release($1, $2)",
            run,
        };
        call.with_all(&rows).await?;
    }
    Ok(())
}

/// Gives the pending tasks of the session's last paused queue to this queue.
pub(super) async fn take_over(c: &mut Connection, lease: Lease, ticket: i64) -> Result<TakeOver, JobFault> {
    let making = serde_json::to_string(&Provenance::without_calls(String::new(), String::new()))?;
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
