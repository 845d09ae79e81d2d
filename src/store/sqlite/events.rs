//! The log of what was settled: written in the settling transactions, read page by page.

use rusqlite::{Connection, Row, params};
use serde_json::value::RawValue;

use super::claim;
use super::fault::Fault;
use super::results::complete_ingest;
use crate::domain::failure::Failure;
use crate::domain::state::Status;
use crate::domain::stream_event::{Happening, SettledEvent, StepRow};
use crate::store::{EventPage, Planned, RunId};

/// A page ends early once it holds so many bytes of results, so that large answers do not pile up.
const PAGE_BYTES: usize = 4 << 20;

/// One row tells of up to three things: the plan, the task, and the end of the request.
const TOLD: i64 = 3;

/// What was told once is told the same for ever: a failure from before the tasks were known has none, also when a
/// retry has found them.
const SELECT: &str = "SELECT e.event_no, e.created_at, q.custom_id, q.user_id, q.session_id, \
     CASE WHEN e.planned OR e.task_index IS NOT NULL THEN q.task_count END, e.queue_id, e.task_index, \
     e.planned, e.body, e.status FROM nova3_events e JOIN nova3_queues q USING(queue_id)";

/// What is noted of a settlement.
pub(super) struct Settling<'a> {
    pub(super) queue_id: i64,
    pub(super) task: Option<usize>,
    /// Whether the queue's tasks became known with it.
    pub(super) planned: bool,
    /// The steps of a plan, which a log must remember itself: what was taken over may have to be planned anew.
    pub(super) steps: Option<&'a [Planned]>,
    pub(super) failure: Option<&'a Failure>,
    pub(super) status: Option<Status>,
    pub(super) now: i64,
}

impl Settling<'_> {
    fn body(&self) -> Result<Option<String>, Fault> {
        Ok(match (self.failure, self.steps) {
            (Some(failure), _) => Some(serde_json::to_string(failure)?),
            (None, Some(steps)) => Some(serde_json::to_string(steps)?),
            (None, None) => None,
        })
    }
}

pub(super) fn note(c: &Connection, run: i64, event_no: i64, settling: &Settling<'_>) -> Result<(), Fault> {
    c.prepare_cached(
        "INSERT INTO nova3_events(run_id, event_no, queue_id, task_index, planned, body, status, created_at)
         VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
    )?
    .execute(params![
        run,
        event_no,
        settling.queue_id,
        settling.task,
        settling.planned,
        settling.body()?,
        settling.status.map(Status::as_str),
        settling.now,
    ])?;
    Ok(())
}

pub(super) fn page(
    c: &Connection,
    run: RunId,
    present: bool,
    after: i64,
    limit: usize,
) -> Result<EventPage, Fault> {
    let filter = if present {
        "AND q.state<>'superseded' AND q.ingest>=?4"
    } else {
        "AND ?4=?4"
    };
    let sql = format!("{SELECT} WHERE e.run_id=?1 AND e.event_no>?2 {filter} ORDER BY e.event_no LIMIT ?3");
    let since = complete_ingest(c, run)?;
    let mut query = c.prepare_cached(&sql)?;
    let mut rows = query.query(params![run.0, after, limit, since])?;
    let mut page = EventPage {
        rows: Vec::new(),
        after,
    };
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        page.after = row.get(0)?;
        bytes += read(c, row, &mut page.rows)?;
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

pub(super) fn of(c: &Connection, run: RunId, queues: &[i64], up_to: i64) -> Result<EventPage, Fault> {
    let sql = format!("{SELECT} WHERE e.queue_id=?2 AND e.event_no<=?3 AND e.run_id=?1 ORDER BY e.event_no");
    let mut query = c.prepare_cached(&sql)?;
    let mut page = EventPage {
        rows: Vec::new(),
        after: 0,
    };
    for queue in queues {
        let mut rows = query.query(params![run.0, queue, up_to])?;
        while let Some(row) = rows.next()? {
            read(c, row, &mut page.rows)?;
        }
    }
    Ok(page)
}

/// What a row of the log tells; answers about how many bytes that is.
fn read(c: &Connection, row: &Row<'_>, told: &mut Vec<SettledEvent>) -> Result<usize, Fault> {
    let number: i64 = row.get(0)?;
    let queue_id: i64 = row.get(6)?;
    let task: Option<usize> = row.get(7)?;
    let status: Option<String> = row.get(10)?;
    let body: Option<String> = row.get(9)?;
    let mut bytes = 512;
    let mut happenings = Vec::new();
    if row.get(8)? {
        happenings.push(Happening::Planned {
            steps: match &body {
                Some(steps) if task.is_none() => planned_steps(steps)?,
                _ => steps(c, queue_id)?,
            },
        });
    }
    // Of a plan, the body is no failure.
    let failure = body.filter(|_| task.is_some() || happenings.is_empty());
    match (failure, task) {
        (Some(failure), task) => happenings.push(failed(c, queue_id, task, &failure)?),
        (None, Some(task)) => {
            let completed = completed(c, queue_id, task)?;
            bytes += completed.as_ref().map_or(0, |(_, bytes)| *bytes);
            happenings.extend(completed.map(|(happening, _)| happening));
        }
        (None, None) => {}
    }
    match status.as_deref().and_then(Status::parse) {
        Some(Status::Paused) => happenings.push(paused(c, queue_id, task)?),
        Some(status) => happenings.push(Happening::Ended { status }),
        None => {}
    }
    for (part, what) in (0..).zip(happenings) {
        told.push(SettledEvent {
            event_no: (number - 1) * TOLD + part + 1,
            settled_at: row.get(1)?,
            custom_id: row.get(2)?,
            user_id: row.get(3)?,
            session_id: row.get(4)?,
            total_tasks: match &what {
                Happening::Planned { steps } => steps.len(),
                _ => row.get::<_, Option<usize>>(5)?.unwrap_or(0),
            },
            what,
        });
    }
    Ok(bytes)
}

/// The steps of a plan as it was made.
fn planned_steps(steps: &str) -> Result<Vec<StepRow>, Fault> {
    let steps: Vec<Planned> = serde_json::from_str(steps)?;
    let row = |(number, step): (usize, Planned)| StepRow {
        task_id: format!("task{number:03}"),
        action: step.action,
        description: step.description,
        input: step.input,
    };
    Ok((1..).zip(steps).map(row).collect())
}

fn steps(c: &Connection, queue_id: i64) -> Result<Vec<StepRow>, Fault> {
    let tasks = claim::tasks(c, queue_id)?;
    Ok(tasks
        .into_iter()
        .map(|task| StepRow {
            task_id: task.task_id,
            action: task.action,
            description: task.description,
            input: task.input,
        })
        .collect())
}

fn failed(c: &Connection, queue_id: i64, task: Option<usize>, failure: &str) -> Result<Happening, Fault> {
    let failure: Failure = serde_json::from_str(failure)?;
    let tasks = claim::tasks(c, queue_id)?;
    let task = task.and_then(|task| tasks.get(task));
    Ok(Happening::Failed {
        task_id: task.map(|task| task.task_id.clone()),
        action: task.map(|task| task.action.clone()),
        class: failure.class,
        message: failure.message,
    })
}

/// A completed task never changes, so the log need not keep what it made.
fn completed(c: &Connection, queue_id: i64, task: usize) -> Result<Option<(Happening, usize)>, Fault> {
    let mut query = c.prepare_cached(
        "SELECT task_id, action, result FROM nova3_tasks WHERE queue_id=?1 AND task_index=?2 AND status='completed'",
    )?;
    let mut rows = query.query(params![queue_id, task])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let Some(result) = row.get::<_, Option<String>>(2)? else {
        return Ok(None);
    };
    let bytes = result.len() * 2;
    let happening = Happening::Completed {
        task_id: row.get(0)?,
        action: row.get(1)?,
        result: RawValue::from_string(result)?,
    };
    Ok(Some((happening, bytes)))
}

fn paused(c: &Connection, queue_id: i64, task: Option<usize>) -> Result<Happening, Fault> {
    let tasks = claim::tasks(c, queue_id)?;
    let task = task.unwrap_or(0);
    Ok(Happening::Paused {
        after: tasks
            .get(task)
            .map(|task| task.task_id.clone())
            .unwrap_or_default(),
        next: tasks.get(task + 1).map(|task| task.action.clone()),
    })
}
