//! Settling a task: its result, its items' numbers, the ledger, the queue's progress and the session's
//! next queue change together or not at all.

use rusqlite::{Connection, OptionalExtension, params};

use super::events::{self, Settling};
use super::fault::Fault;
use super::ledger::{self, Spent, Use};
use super::sessions::{self, Place};
use crate::domain::failure::Failure;
use crate::domain::outcome::{Making, Product};
use crate::domain::state::{QueueEvent, QueueState, Status, TaskStatus};
use crate::domain::usage::Cost;
use crate::failpoint::sql;
use crate::store::keys::COMPLETION;
use crate::store::{Settled, Settlement, TaskEnd, Then};

/// What the settled queue is to the transaction.
struct Held {
    run: i64,
    ingest: i64,
    user: String,
    session: Option<String>,
    task_count: usize,
    /// How the task was made before, if it failed and was put back.
    making: Option<String>,
    /// Whether events are told of it: a raw completion has none.
    told: bool,
}

impl Held {
    /// How the request ends with the settlement, if it does.
    fn ends(&self, settlement: &Settlement) -> Option<Status> {
        let last = settlement.task + 1 >= self.task_count;
        match settlement.end {
            TaskEnd::Failed(..) => Some(Status::Failed),
            TaskEnd::Completed(..) if last => Some(Status::Completed),
            TaskEnd::Completed(_, Then::Pause) => Some(Status::Paused),
            TaskEnd::Completed(_, Then::GoOn) => None,
        }
    }
}

pub(super) fn settle(c: &Connection, settlement: &Settlement, now: i64) -> Result<Settled, Fault> {
    let spent = Spent {
        lease: settlement.lease,
        task: i64::try_from(settlement.task).unwrap_or(i64::MAX),
        attempts: &settlement.attempts,
        completed: matches!(settlement.end, TaskEnd::Completed(..)),
    };
    let Some(held) = held(c, settlement)? else {
        ledger::without_settlement(c, &spent)?;
        return Ok(Settled::LostLease);
    };
    let ends = held.ends(settlement);
    let becomes = if ends.is_some() { Use::End } else { Use::Step };
    let given = ledger::write(c, &spent, held.run, becomes)?;
    let (status, product, failure) = match &settlement.end {
        TaskEnd::Completed(product, _) => (TaskStatus::Completed, Some(product), None),
        TaskEnd::Failed(failure, response) => (TaskStatus::Failed, response.as_ref(), Some(failure)),
    };
    store_task(c, settlement, &held, status, product, now)?;
    if held.told {
        let first = settlement.task == 0 && held.making.is_none();
        events::note(
            c,
            held.run,
            given.event_no,
            &Settling {
                queue_id: settlement.lease.queue_id,
                task: Some(settlement.task),
                planned: first
                    && (failpoint!("plan-told-twice")
                        || !super::plan::has_one(c, settlement.lease.queue_id)?),
                steps: None,
                failure,
                status: ends,
                now,
            },
        )?;
    }
    let Some(ended) = ends else {
        step(c, settlement, now)?;
        return Ok(Settled::Stepped);
    };
    if ended == Status::Failed {
        skip_rest(c, settlement)?;
    }
    let ending = Ending {
        queue_id: settlement.lease.queue_id,
        status: ended,
        finish_no: given.finish_no,
        settled_tasks: settlement.task + usize::from(failure.is_none()),
        failure,
        prompted: held.told,
    };
    finish(c, &ending, now)?;
    if let Some(session) = &held.session {
        if ended != Status::Failed {
            sessions::note_round(c, settlement.lease.queue_id, &held.user, session)?;
        }
        sessions::promote(c, held.run, held.ingest, &held.user, session)?;
    }
    Ok(Settled::Finished { ok: ended.is_ok() })
}

/// The queue, if the lease is still good for this task.
fn held(c: &Connection, settlement: &Settlement) -> Result<Option<Held>, Fault> {
    let held = c
        .prepare_cached(&sql(
            "SELECT q.run_id, r.ingest, q.user_id, q.session_id, q.task_count, t.making, t.action FROM nova3_queues q
             JOIN nova3_runs r USING(run_id)
             LEFT JOIN nova3_tasks t ON t.queue_id=q.queue_id AND t.task_index=q.current_task_index
             WHERE q.queue_id=?1 AND q.fence=?2 AND q.state='leased'
             AND q.current_task_index=?3 -- unless failpoint settled-task-asked-again, last-task-again
             -- if failpoint settled-task-asked-again, last-task-again: AND q.current_task_index>=?3
             ",
        ))?
        .query_row(
            params![settlement.lease.queue_id, settlement.lease.fence, settlement.task],
            |row| {
                Ok(Held {
                    run: row.get(0)?,
                    ingest: row.get(1)?,
                    user: row.get(2)?,
                    session: row.get(3)?,
                    task_count: row.get::<_, Option<usize>>(4)?.unwrap_or(0),
                    making: row.get(5)?,
                    told: row.get_ref(6)?.as_str().is_ok_and(|action| action != COMPLETION),
                })
            },
        )
        .optional()?;
    Ok(held)
}

fn skip_rest(c: &Connection, settlement: &Settlement) -> Result<(), Fault> {
    c.prepare_cached(
        "UPDATE nova3_tasks SET status='skipped' WHERE queue_id=?1 AND task_index>?2 AND status='pending'",
    )?
    .execute(params![settlement.lease.queue_id, settlement.task])?;
    Ok(())
}

fn store_task(
    c: &Connection,
    settlement: &Settlement,
    held: &Held,
    status: TaskStatus,
    product: Option<&Product>,
    now: i64,
) -> Result<(), Fault> {
    let queue_id = settlement.lease.queue_id;
    let place = Place {
        user: &held.user,
        session: held.session.as_deref(),
        queue_id,
        task: settlement.task,
        now,
    };
    let numbered;
    let result = match product {
        Some(Product::Items(items)) => {
            numbered = sessions::number(c, &place, items)?;
            Some(numbered.as_str())
        }
        Some(Product::Response(raw)) => Some(raw.get()),
        None => None,
    };
    let making = match &held.making {
        Some(earlier) => together(&serde_json::from_str(earlier)?, &settlement.making),
        None => settlement.making.clone(),
    };
    let stored = c
        .prepare_cached(&sql(
            "UPDATE nova3_tasks SET status=?3, result=?4, making=?5, fence=?6, completed_at=?7
             WHERE queue_id=?1 AND task_index=?2
             AND status='pending' -- unless failpoint last-task-again
             ",
        ))?
        .execute(params![
            queue_id,
            settlement.task,
            status.as_str(),
            result,
            serde_json::to_string(&making)?,
            settlement.lease.fence,
            now,
        ])?;
    if stored != 1 {
        return Err(Fault::Row(format!(
            "task {} of queue {queue_id} is not pending",
            settlement.task
        )));
    }
    Ok(())
}

/// What an earlier failure of the task cost belongs to its waste, and its calls to its attempts.
pub(super) fn together(earlier: &Making, latest: &Making) -> Making {
    let lost = earlier.cost.unwrap_or(Cost::ZERO).plus(earlier.wasted);
    Making {
        attempts: earlier.attempts.saturating_add(latest.attempts),
        wasted: latest.wasted.plus(lost),
        ..latest.clone()
    }
}

fn step(c: &Connection, settlement: &Settlement, now: i64) -> Result<(), Fault> {
    let state = super::legal(QueueState::Leased.after(QueueEvent::Stepped))?;
    c.prepare_cached(
        "UPDATE nova3_queues SET current_task_index=?2, state=?3, last_accessed=?4,
           crashes=0, working=0, quarantine=0, lone_crashes=0, crash_owner=NULL, panics=0
         WHERE queue_id=?1",
    )?
    .execute(params![
        settlement.lease.queue_id,
        settlement.task + 1,
        state.as_str(),
        now
    ])?;
    Ok(())
}

/// How a queue ends.
pub(super) struct Ending<'a> {
    pub(super) queue_id: i64,
    pub(super) status: Status,
    pub(super) finish_no: i64,
    pub(super) settled_tasks: usize,
    pub(super) failure: Option<&'a Failure>,
    /// Whether it was made with prompts and models of ours, which a Batch line is not.
    pub(super) prompted: bool,
}

pub(super) fn finish(c: &Connection, ending: &Ending<'_>, now: i64) -> Result<(), Fault> {
    let event = match ending.status {
        Status::Failed => QueueEvent::Failed,
        Status::Paused => QueueEvent::Paused,
        Status::Continued => QueueEvent::Continued,
        Status::Completed | Status::Partial => QueueEvent::Finished,
    };
    let state = super::legal(QueueState::Leased.after(event))?;
    c.prepare_cached(
        "UPDATE nova3_queues SET state=?2, status=?3, finish_no=?4, current_task_index=?5, error=?6, error_class=?7,
           lease_owner=NULL, lease_until=NULL, last_accessed=?8, completed_at=?8,
           recipe_no=CASE WHEN ?9 THEN (SELECT r.recipe_no FROM nova3_runs r WHERE r.run_id=nova3_queues.run_id) END,
           crashes=0, working=0, quarantine=0, lease_group=0, lone_crashes=0, crash_owner=NULL, panics=0
         WHERE queue_id=?1",
    )?
    .execute(params![
        ending.queue_id,
        state.as_str(),
        ending.status.as_str(),
        ending.finish_no,
        ending.settled_tasks,
        ending.failure.map(serde_json::to_string).transpose()?,
        ending.failure.map(|failure| failure.class.as_str()),
        now,
        ending.prompted,
    ])?;
    Ok(())
}
