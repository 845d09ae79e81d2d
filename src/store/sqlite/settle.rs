//! Settling a task: its result, its items' numbers, the ledger, the queue's progress and the session's
//! next queue change together or not at all.

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Fault;
use super::sessions::{self, Place};
use crate::domain::failure::Failure;
use crate::domain::outcome::{Attempt, Making, Product};
use crate::domain::state::{QueueEvent, QueueState, Status, TaskStatus};
use crate::domain::usage::Cost;
use crate::store::{Settled, Settlement, TaskEnd};

/// What the settled queue is to the transaction.
struct Held {
    run: i64,
    ingest: i64,
    user: String,
    session: Option<String>,
    task_count: usize,
}

pub(super) fn settle(c: &Connection, settlement: &Settlement, now: i64) -> Result<Settled, Fault> {
    let held = held(c, settlement)?;
    ledger(c, settlement, held.is_some())?;
    let Some(held) = held else {
        return Ok(Settled::LostLease);
    };
    match &settlement.end {
        TaskEnd::Completed(product) => {
            store_task(c, settlement, &held, TaskStatus::Completed, Some(product), now)?;
            if settlement.task + 1 < held.task_count {
                step(c, settlement, now)?;
                return Ok(Settled::Stepped);
            }
            finish(c, settlement, &held, Status::Completed, None, now)?;
        }
        TaskEnd::Failed(failure, response) => {
            store_task(c, settlement, &held, TaskStatus::Failed, response.as_ref(), now)?;
            c.prepare_cached(
                "UPDATE nova3_tasks SET status='skipped' WHERE queue_id=?1 AND task_index>?2 AND status='pending'",
            )?
            .execute(params![settlement.lease.queue_id, settlement.task])?;
            finish(c, settlement, &held, Status::Failed, Some(failure), now)?;
        }
    }
    if let Some(session) = &held.session {
        sessions::promote(c, held.run, held.ingest, &held.user, session)?;
    }
    Ok(Settled::Finished {
        ok: matches!(settlement.end, TaskEnd::Completed(_)),
    })
}

/// The queue, if the lease is still good for this task.
fn held(c: &Connection, settlement: &Settlement) -> Result<Option<Held>, Fault> {
    let held = c
        .prepare_cached(
            "SELECT q.run_id, r.ingest, q.user_id, q.session_id, q.task_count FROM nova3_queues q
             JOIN nova3_runs r USING(run_id)
             WHERE q.queue_id=?1 AND q.fence=?2 AND q.state='leased' AND q.current_task_index=?3",
        )?
        .query_row(
            params![settlement.lease.queue_id, settlement.lease.fence, settlement.task],
            |row| {
                Ok(Held {
                    run: row.get(0)?,
                    ingest: row.get(1)?,
                    user: row.get(2)?,
                    session: row.get(3)?,
                    task_count: row.get::<_, Option<usize>>(4)?.unwrap_or(0),
                })
            },
        )
        .optional()?;
    Ok(held)
}

/// Every call is written down, also one whose answer came too late to be used: it was paid.
fn ledger(c: &Connection, settlement: &Settlement, held: bool) -> Result<(), Fault> {
    let run: Option<i64> = c
        .prepare_cached("SELECT run_id FROM nova3_queues WHERE queue_id=?1")?
        .query_row([settlement.lease.queue_id], |row| row.get(0))
        .optional()?;
    let Some(run) = run else { return Ok(()) };
    let completed = held && matches!(settlement.end, TaskEnd::Completed(_));
    let last = settlement.attempts.len().saturating_sub(1);
    for (index, attempt) in settlement.attempts.iter().enumerate() {
        let used = completed && index == last && attempt.class.is_none();
        write_attempt(c, settlement, run, attempt, used)?;
    }
    Ok(())
}

fn write_attempt(
    c: &Connection,
    settlement: &Settlement,
    run: i64,
    attempt: &Attempt,
    used: bool,
) -> Result<(), Fault> {
    let usage = attempt.usage;
    let cost = attempt.cost.map(|cost| cost.0);
    c.prepare_cached(
        "INSERT INTO nova3_attempts(run_id, queue_id, task_index, fence, route, model, error_class, used, status_code,
           input_tokens, cached_input_tokens, output_tokens, cost, started_at, duration_ms, first_token_ms)
         VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16)",
    )?
    .execute(params![
        run,
        settlement.lease.queue_id,
        settlement.task,
        settlement.lease.fence,
        attempt.route,
        attempt.model,
        attempt.class.map(crate::domain::failure::Class::as_str),
        used,
        attempt.status_code,
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.output_tokens,
        cost,
        attempt.started_at,
        attempt.duration_ms,
        attempt.first_token_ms,
    ])?;
    let wasted = if used { 0 } else { cost.unwrap_or(0) };
    c.prepare_cached(
        "UPDATE nova3_runs SET attempts=attempts+1, failed_attempts=failed_attempts+?2, unpriced_attempts=unpriced_attempts+?3,
           input_tokens=input_tokens+?4, cached_input_tokens=cached_input_tokens+?5, output_tokens=output_tokens+?6,
           cost=cost+?7, wasted=wasted+?8 WHERE run_id=?1",
    )?
    .execute(params![
        run,
        attempt.class.is_some(),
        cost.is_none(),
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.output_tokens,
        cost.unwrap_or(0),
        wasted,
    ])?;
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
    let earlier: Option<Option<String>> = c
        .prepare_cached("SELECT making FROM nova3_tasks WHERE queue_id=?1 AND task_index=?2")?
        .query_row(params![queue_id, settlement.task], |row| row.get(0))
        .optional()?;
    let making = match earlier.flatten() {
        Some(text) => together(&serde_json::from_str(&text)?, &settlement.making),
        None => settlement.making.clone(),
    };
    let stored = c
        .prepare_cached(
            "UPDATE nova3_tasks SET status=?3, result=?4, making=?5, fence=?6, completed_at=?7
         WHERE queue_id=?1 AND task_index=?2 AND status='pending'",
        )?
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
fn together(earlier: &Making, latest: &Making) -> Making {
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
        "UPDATE nova3_queues SET current_task_index=?2, state=?3, last_accessed=?4 WHERE queue_id=?1",
    )?
    .execute(params![
        settlement.lease.queue_id,
        settlement.task + 1,
        state.as_str(),
        now
    ])?;
    Ok(())
}

fn finish(
    c: &Connection,
    settlement: &Settlement,
    held: &Held,
    status: Status,
    failure: Option<&Failure>,
    now: i64,
) -> Result<(), Fault> {
    let event = if status == Status::Failed {
        QueueEvent::Failed
    } else {
        QueueEvent::Finished
    };
    let state = super::legal(QueueState::Leased.after(event))?;
    let settled_tasks = settlement.task + usize::from(failure.is_none());
    c.prepare_cached(
        "UPDATE nova3_queues SET state=?2, status=?3, finish_no=?4, current_task_index=?5, error=?6, error_class=?7,
           lease_owner=NULL, lease_until=NULL, last_accessed=?8, completed_at=?8 WHERE queue_id=?1",
    )?
    .execute(params![
        settlement.lease.queue_id,
        state.as_str(),
        status.as_str(),
        next_finish_no(c, held.run)?,
        settled_tasks,
        failure.map(serde_json::to_string).transpose()?,
        failure.map(|failure| failure.class.as_str()),
        now,
    ])?;
    Ok(())
}

/// Numbers grow in commit order, because one connection writes, and none is given twice.
pub(super) fn next_finish_no(c: &Connection, run: i64) -> Result<i64, Fault> {
    Ok(c.prepare_cached(
        "UPDATE nova3_runs SET next_finish_no=next_finish_no+1 WHERE run_id=?1 RETURNING next_finish_no",
    )?
    .query_row([run], |row| row.get(0))?)
}
