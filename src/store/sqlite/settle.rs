//! Settling a task: its result, its items' numbers, the ledger, the queue's progress and the session's
//! next queue change together or not at all.

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Fault;
use super::sessions::{self, Place};
use crate::domain::failure::Failure;
use crate::domain::outcome::{Attempt, Making, Product};
use crate::domain::state::{QueueEvent, QueueState, Status, TaskStatus};
use crate::domain::tally::RunSummary;
use crate::domain::usage::Cost;
use crate::store::{Settled, Settlement, TaskEnd};

/// What the settled queue is to the transaction.
struct Held {
    run: i64,
    ingest: i64,
    user: String,
    session: Option<String>,
    task_count: usize,
    /// How the task was made before, if it failed and was put back.
    making: Option<String>,
}

impl Held {
    /// Whether the settlement is the end of the queue.
    fn becomes(&self, settlement: &Settlement) -> Use {
        match settlement.end {
            TaskEnd::Completed(_) if settlement.task + 1 < self.task_count => Use::Step,
            TaskEnd::Completed(_) | TaskEnd::Failed(..) => Use::End,
        }
    }
}

pub(super) fn settle(c: &Connection, settlement: &Settlement, now: i64) -> Result<Settled, Fault> {
    let Some(held) = held(c, settlement)? else {
        if let Some(run) = run_of(c, settlement.lease.queue_id)? {
            ledger(c, settlement, run, Use::TooLate)?;
        }
        return Ok(Settled::LostLease);
    };
    let becomes = held.becomes(settlement);
    let finish_no = ledger(c, settlement, held.run, becomes)?;
    match &settlement.end {
        TaskEnd::Completed(product) => {
            store_task(c, settlement, &held, TaskStatus::Completed, Some(product), now)?;
            if becomes == Use::Step {
                step(c, settlement, now)?;
                return Ok(Settled::Stepped);
            }
            finish(c, settlement, finish_no, Status::Completed, None, now)?;
        }
        TaskEnd::Failed(failure, response) => {
            store_task(c, settlement, &held, TaskStatus::Failed, response.as_ref(), now)?;
            c.prepare_cached(
                "UPDATE nova3_tasks SET status='skipped' WHERE queue_id=?1 AND task_index>?2 AND status='pending'",
            )?
            .execute(params![settlement.lease.queue_id, settlement.task])?;
            finish(c, settlement, finish_no, Status::Failed, Some(failure), now)?;
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
            "SELECT q.run_id, r.ingest, q.user_id, q.session_id, q.task_count, t.making FROM nova3_queues q
             JOIN nova3_runs r USING(run_id)
             LEFT JOIN nova3_tasks t ON t.queue_id=q.queue_id AND t.task_index=q.current_task_index
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
                    making: row.get(5)?,
                })
            },
        )
        .optional()?;
    Ok(held)
}

fn run_of(c: &Connection, queue_id: i64) -> Result<Option<i64>, Fault> {
    Ok(
        c.prepare_cached("SELECT run_id FROM nova3_queues WHERE queue_id=?1")?
            .query_row([queue_id], |row| row.get(0))
            .optional()?,
    )
}

/// What becomes of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Its lease was lost.
    TooLate,
    /// The queue goes on.
    Step,
    /// The queue ends.
    End,
}

/// Every call is written down, also one whose answer came too late to be used: it was paid. Answers the last
/// finish number given; it is this queue's if the settlement ends it.
fn ledger(c: &Connection, settlement: &Settlement, run: i64, becomes: Use) -> Result<i64, Fault> {
    let completed = becomes != Use::TooLate && matches!(settlement.end, TaskEnd::Completed(_));
    let last = settlement.attempts.len().saturating_sub(1);
    let mut sums = RunSummary::default();
    for (index, attempt) in settlement.attempts.iter().enumerate() {
        let used = completed && index == last && attempt.class.is_none();
        write_attempt(c, settlement, run, attempt, used)?;
        let cost = attempt.cost.unwrap_or(Cost::ZERO);
        sums.attempts += 1;
        sums.failed_attempts += u64::from(attempt.class.is_some());
        sums.unpriced += u64::from(attempt.cost.is_none());
        sums.usage = sums.usage.plus(attempt.usage);
        sums.cost = sums.cost.plus(cost);
        sums.wasted = sums.wasted.plus(if used { Cost::ZERO } else { cost });
    }
    book(c, run, &sums, becomes)
}

fn write_attempt(
    c: &Connection,
    settlement: &Settlement,
    run: i64,
    attempt: &Attempt,
    used: bool,
) -> Result<(), Fault> {
    let usage = attempt.usage;
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
        attempt.cost.map(|cost| cost.0),
        attempt.started_at,
        attempt.duration_ms,
        attempt.first_token_ms,
    ])?;
    Ok(())
}

/// The sums of the run and its last finish number, in one write. Numbers grow in commit order, because one
/// connection writes, and none is given twice.
fn book(c: &Connection, run: i64, sums: &RunSummary, becomes: Use) -> Result<i64, Fault> {
    Ok(c.prepare_cached(
        "UPDATE nova3_runs SET attempts=attempts+?2, failed_attempts=failed_attempts+?3, unpriced_attempts=unpriced_attempts+?4,
           input_tokens=input_tokens+?5, cached_input_tokens=cached_input_tokens+?6, output_tokens=output_tokens+?7,
           cost=cost+?8, wasted=wasted+?9, next_finish_no=next_finish_no+?10 WHERE run_id=?1 RETURNING next_finish_no",
    )?
    .query_row(
        params![
            run,
            sums.attempts,
            sums.failed_attempts,
            sums.unpriced,
            sums.usage.input_tokens,
            sums.usage.cached_input_tokens,
            sums.usage.output_tokens,
            sums.cost.0,
            sums.wasted.0,
            becomes == Use::End,
        ],
        |row| row.get(0),
    )?)
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
    finish_no: i64,
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
        finish_no,
        settled_tasks,
        failure.map(serde_json::to_string).transpose()?,
        failure.map(|failure| failure.class.as_str()),
        now,
    ])?;
    Ok(())
}

/// The next finish number, for a line that is finished as it comes in.
pub(super) fn next_finish_no(c: &Connection, run: i64) -> Result<i64, Fault> {
    book(c, run, &RunSummary::default(), Use::End)
}
