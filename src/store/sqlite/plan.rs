//! Planning as a step of a queue: it is fenced, settled once, or replaced by the tasks of a paused queue of the
//! session.

use rusqlite::{Connection, OptionalExtension, params};

use super::ending::{QueueEnd, finish};
use super::events::{self, Settling};
use super::fault::JobFault;
use super::ledger::{self, Spent, Use};
use super::task_counts::recount;
use super::{graph, sessions, tasks};
use crate::domain::failure::Failure;
use crate::domain::outcome::{PlanOrigin, Provenance};
use crate::domain::state::{QueueEvent, QueueState, Status, TaskStatus, TaskTransition};
use crate::domain::task::TaskNo;
use crate::failpoint::sql;
use crate::store::{Lease, PendingTask, PlanEnd, PlanSettlement, Planned, Settled, TakeOver};

/// The queue whose planning is leased.
struct LeasedPlan {
    run: i64,
    ingest: i64,
    user: String,
    session: Option<String>,
    owner: String,
    until: i64,
    group: i64,
}

impl LeasedPlan {
    fn lease(&self, lease: Lease) -> graph::LeaseColumns<'_> {
        graph::LeaseColumns {
            queue_id: lease.queue_id,
            fence: lease.fence,
            owner: &self.owner,
            until: self.until,
            group: self.group,
        }
    }
}

pub(super) fn settle(c: &Connection, settlement: &PlanSettlement, now: i64) -> Result<Settled, JobFault> {
    let lease = settlement.lease;
    let spent = Spent {
        lease,
        task: TaskNo::PLAN,
        version: None,
        attempts: &settlement.attempts,
        completed: matches!(settlement.end, PlanEnd::Planned(PlanOrigin::Model, _)),
    };
    let Some(held) = held(c, lease)? else {
        ledger::without_settlement(c, &spent)?;
        return Ok(Settled::LostLease);
    };
    match &settlement.end {
        PlanEnd::Planned(origin, steps) => {
            let given = ledger::write(c, &spent, held.run, Use::Step)?;
            write_plan(c, lease, Some(*origin), None, &settlement.making, now)?;
            insert_tasks(c, &held.lease(lease), steps, now)?;
            if !failpoint!("plan-not-told") {
                note(c, held.run, given.event_no, lease.queue_id, Ok(steps), now)?;
            }
            Ok(Settled::Stepped)
        }
        PlanEnd::Failed(failure) => {
            let given = ledger::write(c, &spent, held.run, Use::End)?;
            write_plan(c, lease, None, None, &settlement.making, now)?;
            note(c, held.run, given.event_no, lease.queue_id, Err(failure), now)?;
            settle_task(c, lease.queue_id, TaskTransition::Failed, now)?;
            let ending = QueueEnd {
                queue_id: lease.queue_id,
                status: Status::Failed,
                finish_no: given.finish_no,
                settled_tasks: 0,
                failure: Some(failure),
                prompted: true,
                ready: 0,
            };
            finish(c, &ending, now)?;
            if let Some(session) = &held.session {
                sessions::end_lease(c, lease.queue_id, &held.user, session)?;
                sessions::promote(c, held.run, held.ingest, &held.user, session)?;
            }
            Ok(Settled::Finished { ok: false })
        }
    }
}

pub(super) fn take_over(c: &Connection, lease: Lease, now: i64) -> Result<TakeOver, JobFault> {
    let Some(held) = held(c, lease)? else {
        return Ok(TakeOver::LostLease);
    };
    let Some(session) = &held.session else {
        return Ok(TakeOver::Nothing);
    };
    let Some((paused, tasks)) = pending(c, &held.user, session)? else {
        return Ok(TakeOver::Nothing);
    };
    let steps: Vec<Planned> = tasks
        .into_iter()
        .map(|task| Planned {
            action: task.action,
            description: task.description,
            input: task.input,
            needs: None,
        })
        .collect();
    if !failpoint!("paused-stays-paused") {
        pass_on(c, paused, QueueState::Paused, QueueEvent::Continued)?;
    }
    let given = ledger::write(
        c,
        &Spent {
            lease,
            task: TaskNo::PLAN,
            version: None,
            attempts: &[],
            completed: true,
        },
        held.run,
        Use::Step,
    )?;
    let making = Provenance::without_calls(String::new(), String::new());
    write_plan(c, lease, Some(PlanOrigin::Continued), Some(paused), &making, now)?;
    insert_tasks(c, &held.lease(lease), &steps, now)?;
    note(c, held.run, given.event_no, lease.queue_id, Ok(&steps), now)?;
    Ok(TakeOver::Taken(tasks::planned(c, lease.queue_id)?))
}

/// Returns the pending tasks of the session's last paused queue.
pub(super) fn pending(
    c: &Connection,
    user: &str,
    session: &str,
) -> Result<Option<(i64, Vec<PendingTask>)>, JobFault> {
    let paused: Option<i64> = c
        .prepare_cached(
            "SELECT queue_id FROM nova3_queues
             WHERE user_id=?1 AND session_id=?2 AND round IS NOT NULL AND state='paused' ORDER BY round DESC LIMIT 1",
        )?
        .query_row(params![user, session], |row| row.get(0))
        .optional()?;
    let Some(queue_id) = paused else {
        return Ok(None);
    };
    let tasks = tasks::unsettled(c, queue_id)?;
    Ok((!tasks.is_empty()).then_some((queue_id, tasks)))
}

/// The request was superseded: the tasks that it took over are pending again, unless another request has them now.
pub(super) fn give_back(c: &Connection, queue_id: i64) -> Result<(), JobFault> {
    match continues(c, queue_id)? {
        Some((paused, QueueState::Continued)) if !is_taken(c, paused)? => {
            pass_on(c, paused, QueueState::Continued, QueueEvent::Returned)
        }
        _ => Ok(()),
    }
}

/// The request is valid again: it owns the tasks that it took over again, unless another request has them now. In that
/// case it is planned anew, if none of its tasks was begun.
pub(super) fn take_again(c: &Connection, queue_id: i64) -> Result<(), JobFault> {
    match continues(c, queue_id)? {
        Some((paused, QueueState::Paused)) => pass_on(c, paused, QueueState::Paused, QueueEvent::Continued),
        Some((paused, QueueState::Continued)) if has_others(c, paused, queue_id)? => unplan(c, queue_id),
        _ => Ok(()),
    }
}

/// Whether another request that is not superseded has the tasks that `queue_id` took over from `paused`.
fn has_others(c: &Connection, paused: i64, queue_id: i64) -> Result<bool, JobFault> {
    Ok(c.prepare_cached(
        "SELECT EXISTS(SELECT 1 FROM nova3_plans p JOIN nova3_queues q USING(queue_id)
           WHERE p.continues=?1 AND p.queue_id<>?2 AND q.state<>'superseded')",
    )?
    .query_row([paused, queue_id], |row| row.get(0))?)
}

/// Gives a queue that was not begun these tasks instead of its own. Without tasks a model plans them. The cost of its
/// plan stays with it, and tasks that it took over are pending again, unless another request has them now.
pub(super) fn replace(
    c: &Connection,
    queue_id: i64,
    given: Option<i64>,
    steps: &[Planned],
    now: i64,
) -> Result<(), JobFault> {
    let before = continues(c, queue_id)?;
    c.prepare_cached("UPDATE nova3_plans SET origin=NULL, continues=NULL WHERE queue_id=?1")?
        .execute([queue_id])?;
    if let Some((paused, QueueState::Continued)) = before
        && !is_taken(c, paused)?
    {
        pass_on(c, paused, QueueState::Continued, QueueEvent::Returned)?;
    }
    c.prepare_cached("DELETE FROM nova3_tasks WHERE queue_id=?1")?
        .execute([queue_id])?;
    tasks::write(c, queue_id, steps, now)?;
    let count = Some(steps.len()).filter(|count| *count > 0);
    c.prepare_cached(
        "UPDATE nova3_queues SET task_count=?2, given_tasks=?3, other_tasks=0, last_accessed=?4 WHERE queue_id=?1",
    )?
    .execute(params![queue_id, count, given, now])?;
    recount(c, queue_id)
}

/// Removes a plan of which no task was begun, so that the queue is planned anew.
fn unplan(c: &Connection, queue_id: i64) -> Result<(), JobFault> {
    let begun: bool = c
        .prepare_cached(
            "SELECT EXISTS(SELECT 1 FROM nova3_tasks WHERE queue_id=?1 AND task_index>=0
               AND status NOT IN('pending','ready'))",
        )?
        .query_row([queue_id], |row| row.get(0))?;
    if begun {
        return Ok(());
    }
    c.prepare_cached("DELETE FROM nova3_tasks WHERE queue_id=?1")?
        .execute([queue_id])?;
    c.prepare_cached("DELETE FROM nova3_plans WHERE queue_id=?1")?
        .execute([queue_id])?;
    c.prepare_cached("UPDATE nova3_queues SET task_count=NULL WHERE queue_id=?1")?
        .execute([queue_id])?;
    let created_at: i64 = c
        .prepare_cached("SELECT created_at FROM nova3_queues WHERE queue_id=?1")?
        .query_row([queue_id], |row| row.get(0))?;
    tasks::write(c, queue_id, &[], created_at)?;
    recount(c, queue_id)
}

fn continues(c: &Connection, queue_id: i64) -> Result<Option<(i64, QueueState)>, JobFault> {
    let mut query = c.prepare_cached(
        "SELECT q.queue_id, q.state FROM nova3_plans p JOIN nova3_queues q ON q.queue_id=p.continues WHERE p.queue_id=?1",
    )?;
    let mut rows = query.query([queue_id])?;
    match rows.next()? {
        Some(row) => Ok(Some((row.get(0)?, super::state_of(row.get_ref(1)?)?))),
        None => Ok(None),
    }
}

/// Whether a request that is not superseded has taken over the queue's pending tasks.
pub(super) fn is_taken(c: &Connection, queue_id: i64) -> Result<bool, JobFault> {
    Ok(c.prepare_cached(
        "SELECT EXISTS(SELECT 1 FROM nova3_plans p JOIN nova3_queues q USING(queue_id)
           WHERE p.continues=?1 AND q.state<>'superseded')",
    )?
    .query_row([queue_id], |row| row.get(0))?)
}

/// Whether the queue's tasks came from planning, which has its own event.
pub(super) fn has_one(c: &Connection, queue_id: i64) -> Result<bool, JobFault> {
    Ok(
        c.prepare_cached("SELECT 1 FROM nova3_plans WHERE queue_id=?1 AND origin IS NOT NULL")?
            .query_row([queue_id], |_| Ok(()))
            .optional()?
            .is_some(),
    )
}

/// Changes a paused queue to continued, or back to pending. Its result line changes with it, in any run.
fn pass_on(c: &Connection, queue_id: i64, from: QueueState, event: QueueEvent) -> Result<(), JobFault> {
    let state = super::legal(from.after(event))?;
    c.prepare_cached("UPDATE nova3_queues SET state=?2, status=?2 WHERE queue_id=?1 AND state=?3")?
        .execute(params![queue_id, state.as_str(), from.as_str()])?;
    c.prepare_cached(
        "UPDATE nova3_runs SET lines_epoch=lines_epoch+1 WHERE run_id=(SELECT run_id FROM nova3_queues WHERE queue_id=?1)",
    )?
    .execute([queue_id])?;
    Ok(())
}

/// Returns the queue if the lease of its planning is still valid.
fn held(c: &Connection, lease: Lease) -> Result<Option<LeasedPlan>, JobFault> {
    let held = c
        .prepare_cached(&sql(
            "SELECT q.run_id, r.ingest, q.user_id, q.session_id, t.lease_owner, t.lease_until, t.lease_group
             FROM nova3_tasks t JOIN nova3_queues q USING(queue_id) JOIN nova3_runs r USING(run_id)
             WHERE t.queue_id=?1 AND t.fence=?2 AND t.status='leased' AND q.state='open'
             AND t.task_index=-1 -- unless failpoint plan-asked-again
             ",
        ))?
        .query_row(params![lease.queue_id, lease.fence], |row| {
            Ok(LeasedPlan {
                run: row.get(0)?,
                ingest: row.get(1)?,
                user: row.get(2)?,
                session: row.get(3)?,
                owner: row.get(4)?,
                until: row.get(5)?,
                group: row.get(6)?,
            })
        })
        .optional()?;
    Ok(held)
}

/// Settles the planning task. The record of planning is in the row of the plan.
fn settle_task(c: &Connection, queue_id: i64, event: TaskTransition, now: i64) -> Result<(), JobFault> {
    let status = graph::after(TaskStatus::Leased, event)?;
    c.prepare_cached(
        "UPDATE nova3_tasks SET status=?2, completed_at=?3, lease_owner=NULL, lease_until=NULL, crashes=0, working=0,
           quarantine=0, lease_group=0, lone_crashes=0, crash_owner=NULL, panics=0
         WHERE queue_id=?1 AND task_index=-1 AND status='leased'",
    )?
    .execute(params![queue_id, status.as_str(), now])?;
    Ok(())
}

/// Writes the row of the plan. It keeps the cost of an earlier failed planning.
fn write_plan(
    c: &Connection,
    lease: Lease,
    origin: Option<PlanOrigin>,
    continues: Option<i64>,
    making: &Provenance,
    now: i64,
) -> Result<(), JobFault> {
    let earlier: Option<String> = c
        .prepare_cached("SELECT making FROM nova3_plans WHERE queue_id=?1")?
        .query_row([lease.queue_id], |row| row.get(0))
        .optional()?;
    let making = match earlier {
        Some(earlier) => making.after(&serde_json::from_str(&earlier)?),
        None => making.clone(),
    };
    c.prepare_cached(
        "INSERT OR REPLACE INTO nova3_plans(queue_id, origin, continues, making, fence, created_at)
         VALUES(?1,?2,?3,?4,?5,?6)",
    )?
    .execute(params![
        lease.queue_id,
        origin.map(PlanOrigin::as_str),
        continues,
        serde_json::to_string(&making)?,
        lease.fence,
        now
    ])?;
    Ok(())
}

fn note(
    c: &Connection,
    run: i64,
    event_no: i64,
    queue_id: i64,
    end: Result<&[Planned], &Failure>,
    now: i64,
) -> Result<(), JobFault> {
    let settling = Settling {
        queue_id,
        task: None,
        planned: end.is_ok(),
        steps: end.ok(),
        failure: end.err(),
        status: end.err().map(|_| Status::Failed),
        now,
    };
    events::note(c, run, event_no, &settling)
}

/// Adds the tasks of the plan and hands the lease on to the first of them.
fn insert_tasks(
    c: &Connection,
    lease: &graph::LeaseColumns<'_>,
    steps: &[Planned],
    now: i64,
) -> Result<(), JobFault> {
    let queue_id = lease.queue_id;
    settle_task(c, queue_id, TaskTransition::Completed, now)?;
    tasks::insert_planned(c, queue_id, steps, now)?;
    graph::lease(c, lease, TaskNo::planned(0), TaskStatus::Ready)?;
    c.prepare_cached("UPDATE nova3_queues SET task_count=?2, last_accessed=?3 WHERE queue_id=?1")?
        .execute(params![queue_id, steps.len(), now])?;
    Ok(())
}
