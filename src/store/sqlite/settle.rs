//! Settling a task: its result, its items' numbers, the ledger, the tasks behind it, the queue's progress and the
//! session's next queue change in one transaction.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::ending::{QueueEnd, finish};
use super::events::{self, Settling};
use super::fault::JobFault;
use super::ledger::{self, Spent, Use};
use super::sessions;
use super::task_counts::recount;
use super::{graph, parts, task_result};
use crate::domain::conditions::OnFailure;
use crate::domain::failure::Failure;
use crate::domain::state::{Status, TaskStatus, TaskTransition};
use crate::domain::task::TaskNo;
use crate::domain::task_search::TaskSearch;
use crate::failpoint::sql;
use crate::store::keys::COMPLETION;
use crate::store::{
    Lease, PartOutcome, PlanSettlement, Settled, Settlement, SettlementEnd, StoreError, TakeOver, Tasks, Then,
};

#[async_trait]
impl Tasks for SqliteStore {
    async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        let bytes = settlement.bytes();
        self.writer()?
            .call_of(bytes, move |c| settle(c, &settlement, crate::clock::now_ms()))
            .await
    }

    async fn parts(&self, queue: i64, task: usize) -> Result<Vec<PartOutcome>, StoreError> {
        self.read(move |c| super::context::parts(c, queue, task)).await
    }

    async fn task_search(
        &self,
        queue: i64,
        task: usize,
    ) -> Result<Option<Result<TaskSearch, Failure>>, StoreError> {
        self.read(move |c| super::context::task_search(c, queue, task))
            .await
    }

    async fn settle_plan(&self, settlement: PlanSettlement) -> Result<Settled, StoreError> {
        self.write(move |c| super::plan::settle(c, &settlement, crate::clock::now_ms()))
            .await
    }

    async fn take_over(&self, lease: Lease) -> Result<TakeOver, StoreError> {
        self.write(move |c| super::plan::take_over(c, lease, crate::clock::now_ms()))
            .await
    }
}

/// The settled task and its queue, with the columns that the transaction needs.
pub(super) struct LeasedTask {
    run: i64,
    ingest: i64,
    pub(super) user: String,
    pub(super) session: Option<String>,
    pub(super) status: TaskStatus,
    owner: Option<String>,
    until: Option<i64>,
    group: i64,
    /// The record of an earlier try, if the task failed and was retried.
    pub(super) making: Option<String>,
    /// Whether it has events. A raw completion has none.
    told: bool,
    /// The version of the task.
    pub(super) version: i64,
    /// Whether it is the last planned task of its queue.
    pub(super) is_last: bool,
    /// Whether no other task of the queue is ready, leased or submitted.
    is_alone: bool,
    /// Whether a task of the queue has failed before.
    has_failed: bool,
}

impl LeasedTask {
    /// Returns the lease to hand on. A task of an outside job has none.
    pub(super) fn lease(&self, settlement: &Settlement) -> Option<graph::LeaseColumns<'_>> {
        Some(graph::LeaseColumns {
            queue_id: settlement.lease.queue_id,
            fence: settlement.lease.fence,
            owner: self.owner.as_deref()?,
            until: self.until?,
            group: self.group,
        })
    }
}

pub(super) fn settle(c: &Connection, settlement: &Settlement, now: i64) -> Result<Settled, JobFault> {
    let spent = Spent {
        lease: settlement.lease,
        task: settlement.task,
        version: None,
        attempts: &settlement.attempts,
        completed: matches!(settlement.end, SettlementEnd::Completed(..)),
    };
    let Some(held) = held(c, settlement)? else {
        ledger::without_settlement(c, &spent)?;
        return Ok(Settled::LostLease);
    };
    let spent = Spent {
        version: Some(held.version),
        ..spent
    };
    if let SettlementEnd::FannedOut(parts) = &settlement.end {
        ledger::write(c, &spent, held.run, Use::Part)?;
        return parts::fan_out(c, settlement, &held, parts, now);
    }
    if matches!(settlement.end, SettlementEnd::Searches) {
        ledger::write(c, &spent, held.run, Use::Part)?;
        return parts::search(c, settlement, &held, now);
    }
    if settlement.task.is_subtask() {
        ledger::write(c, &spent, held.run, Use::Part)?;
        return parts::settle(c, settlement, &held, now);
    }
    settle_planned(c, settlement, &spent, &held, now)
}

/// Settles a planned task, which moves its queue.
fn settle_planned(
    c: &Connection,
    settlement: &Settlement,
    spent: &Spent<'_>,
    held: &LeasedTask,
    now: i64,
) -> Result<Settled, JobFault> {
    let queue_id = settlement.lease.queue_id;
    let (status, product, failure) = match &settlement.end {
        SettlementEnd::Failed(failure, response) => {
            (TaskTransition::Failed, response.as_ref(), Some(failure))
        }
        SettlementEnd::Completed(product, _) => (TaskTransition::Completed, Some(product), None),
        SettlementEnd::Skipped => (TaskTransition::Skipped, None, None),
        SettlementEnd::FannedOut(_) | SettlementEnd::Searches => {
            return Err(JobFault::Row(
                "a task that waits for subtasks has no outcome".to_owned(),
            ));
        }
    };
    let status = graph::after(held.status, status)?;
    task_result::store_planned(c, settlement, held, status, product, now)?;
    let noted = failure.or(settlement.flaw.as_ref());
    let fails = failure.is_some() && settlement.on_failure == OnFailure::Fail;
    let pauses = matches!(settlement.end, SettlementEnd::Completed(_, Then::Pause));
    if fails {
        graph::skip_behind(c, queue_id, settlement.task)?;
    }
    // The tasks behind a pause stay pending until no task at its side is left.
    let (next, ready) = if fails || pauses || held.is_last {
        (None, 0)
    } else {
        go_on(c, settlement, held)?
    };
    let is_over = next.is_none() && ready == 0 && held.is_alone;
    let ends = if is_over {
        let has_failed = held.has_failed || noted.is_some();
        Some(end_status(c, queue_id, has_failed, settlement.on_failure)?)
    } else {
        None
    };
    let becomes = if ends.is_some() { Use::End } else { Use::Step };
    let given = ledger::write(c, spent, held.run, becomes)?;
    if held.told {
        note(c, settlement, held, given.event_no, (failure, ends), now)?;
    }
    let settled_tasks = settlement.task.index().unwrap_or(0) + usize::from(!fails);
    let Some(ended) = ends else {
        step(c, settlement, noted, (settled_tasks, next.is_none(), ready), now)?;
        return Ok(match next {
            Some(next) if next.0 == settlement.task.0 + 1 => Settled::Stepped,
            Some(next) => Settled::Moved(next),
            None => Settled::Yielded,
        });
    };
    let ready = match ended {
        Status::Failed => {
            skip_rest(c, queue_id)?;
            0
        }
        Status::Paused => graph::free_paused(c, queue_id)?,
        Status::Completed | Status::Partial | Status::Continued => 0,
    };
    let ending = QueueEnd {
        queue_id,
        status: ended,
        finish_no: given.finish_no,
        settled_tasks,
        failure: noted,
        prompted: held.told,
        ready,
    };
    finish(c, &ending, now)?;
    if let Some(session) = &held.session {
        if ended != Status::Failed {
            sessions::note_round(c, queue_id, &held.user, session)?;
        }
        sessions::end_lease(c, queue_id, &held.user, session)?;
        sessions::promote(c, held.run, held.ingest, &held.user, session)?;
    }
    Ok(Settled::Finished { ok: ended.is_ok() })
}

/// Unblocks the tasks behind a settled one. The first of them inherits the lease. Returns that task, and how many more
/// are ready.
fn go_on(
    c: &Connection,
    settlement: &Settlement,
    held: &LeasedTask,
) -> Result<(Option<TaskNo>, usize), JobFault> {
    match held.lease(settlement) {
        Some(lease) => graph::hand_on(c, &lease, settlement.task),
        None => Ok((
            None,
            graph::let_go_on(c, settlement.lease.queue_id, settlement.task)?,
        )),
    }
}

/// Returns the status of a queue of which no task is ready, leased or submitted. Pending tasks are behind a pause.
fn end_status(
    c: &Connection,
    queue_id: i64,
    has_failed: bool,
    on_failure: OnFailure,
) -> Result<Status, JobFault> {
    if has_failed && on_failure == OnFailure::Fail {
        return Ok(Status::Failed);
    }
    let is_paused: bool = c
        .prepare_cached(
            "SELECT EXISTS(SELECT 1 FROM nova3_tasks WHERE queue_id=?1 AND task_index>=0 AND task_index<?2
               AND status='pending')",
        )?
        .query_row(params![queue_id, TaskNo::PLANNED_END], |row| row.get(0))?;
    if is_paused {
        return Ok(Status::Paused);
    }
    if !has_failed {
        return Ok(Status::Completed);
    }
    let has_result: bool = c
        .prepare_cached(
            "SELECT EXISTS(SELECT 1 FROM nova3_tasks WHERE queue_id=?1 AND task_index>=0 AND task_index<?2
               AND status='completed')",
        )?
        .query_row(params![queue_id, TaskNo::PLANNED_END], |row| row.get(0))?;
    Ok(if has_result {
        Status::Partial
    } else {
        Status::Failed
    })
}

fn note(
    c: &Connection,
    settlement: &Settlement,
    held: &LeasedTask,
    event_no: i64,
    (failure, status): (Option<&Failure>, Option<Status>),
    now: i64,
) -> Result<(), JobFault> {
    let queue_id = settlement.lease.queue_id;
    let first = settlement.task == TaskNo::planned(0) && held.making.is_none();
    let told = failpoint!("plan-told-twice") || !first || !super::plan::has_one(c, queue_id)?;
    events::note(
        c,
        held.run,
        event_no,
        &Settling {
            queue_id,
            task: settlement.task.index(),
            planned: first && told,
            steps: None,
            failure,
            status,
            now,
        },
    )
}

/// Returns the task if the lease or the handle is valid for it.
fn held(c: &Connection, settlement: &Settlement) -> Result<Option<LeasedTask>, JobFault> {
    let status = match settlement.handle {
        None => TaskStatus::Leased,
        Some(_) => TaskStatus::Submitted,
    };
    let held = c
        .prepare_cached(&sql(
            "SELECT q.run_id, r.ingest, q.user_id, q.session_id, t.lease_owner, t.lease_until, t.making, t.action,
               t.lease_group, q.error IS NOT NULL, t.version, q.task_count IS ?3+1,
               q.ready=0 AND q.quarantine=0 AND q.leased+q.submitted=1
             FROM nova3_tasks t JOIN nova3_queues q USING(queue_id) JOIN nova3_runs r USING(run_id)
             WHERE t.queue_id=?1 AND q.state='open'
               AND t.task_index=?3 AND t.fence=?2 AND t.status=?4 AND t.handle IS ?5",
        ))?
        .query_row(
            params![
                settlement.lease.queue_id,
                settlement.lease.fence,
                settlement.task.0,
                status.as_str(),
                settlement.handle
            ],
            |row| {
                Ok(LeasedTask {
                    run: row.get(0)?,
                    ingest: row.get(1)?,
                    user: row.get(2)?,
                    session: row.get(3)?,
                    status,
                    owner: row.get(4)?,
                    until: row.get(5)?,
                    group: row.get(8)?,
                    making: row.get(6)?,
                    told: row.get_ref(7)?.as_str().is_ok_and(|action| action != COMPLETION),
                    has_failed: row.get(9)?,
                    version: row.get(10)?,
                    is_last: row.get(11)?,
                    is_alone: row.get(12)?,
                })
            },
        )
        .optional()?;
    Ok(held)
}

fn skip_rest(c: &Connection, queue_id: i64) -> Result<(), JobFault> {
    c.prepare_cached(
        "UPDATE nova3_tasks SET status='skipped' WHERE queue_id=?1 AND status IN('pending','ready')",
    )?
    .execute([queue_id])?;
    Ok(())
}

/// Moves the queue behind a planned task. The queue keeps the first failure of its tasks.
fn step(
    c: &Connection,
    settlement: &Settlement,
    failure: Option<&Failure>,
    (settled_tasks, lease_ends, ready): (usize, bool, usize),
    now: i64,
) -> Result<(), JobFault> {
    let queue_id = settlement.lease.queue_id;
    c.prepare_cached("UPDATE nova3_queues SET current_task_index=?2, last_accessed=?3 WHERE queue_id=?1")?
        .execute(params![queue_id, settled_tasks, now])?;
    if let Some(failure) = failure {
        c.prepare_cached(
            "UPDATE nova3_queues SET error=coalesce(error, ?2), error_class=coalesce(error_class, ?3) WHERE queue_id=?1",
        )?
        .execute(params![queue_id, serde_json::to_string(failure)?, failure.class.as_str()])?;
    }
    if lease_ends || ready > 0 || settlement.handle.is_some() {
        recount(c, queue_id)?;
    }
    Ok(())
}
