//! The log of settled events: written in the settling transactions, read page by page.

use rusqlite::{Connection, Row, params};

use super::fault::JobFault;
use super::results::complete_ingest;
use crate::domain::failure::Failure;
use crate::domain::state::Status;
use crate::domain::stream_event::SettledEvent;
use crate::domain::task::TaskNo;
use crate::store::event_rows::{self, EventRow, EventTask, PAGE_BYTES};
use crate::store::{EventPage, Planned, RunId};

/// The columns of an event. Events are immutable: a failure from before the tasks were known has no number of tasks,
/// even after a retry has planned them.
const SELECT: &str = "SELECT e.event_no, e.created_at, CASE WHEN q.notes_digest IS NOT NULL THEN q.custom_id END, q.user_id, q.session_id, \
     CASE WHEN e.planned OR e.task_index IS NOT NULL THEN q.task_count END, e.queue_id, e.task_index, \
     e.planned, e.body, e.status, e.version FROM nova3_events e JOIN nova3_queues q USING(queue_id)";

/// The record of a settlement.
pub(super) struct Settling<'a> {
    pub(super) queue_id: i64,
    pub(super) task: Option<usize>,
    /// Whether the queue's tasks became known with it.
    pub(super) planned: bool,
    /// The steps of a plan. The log keeps a copy, because tasks that were taken over may have to be planned anew.
    pub(super) steps: Option<&'a [Planned]>,
    pub(super) failure: Option<&'a Failure>,
    pub(super) status: Option<Status>,
    pub(super) now: i64,
}

impl Settling<'_> {
    fn body(&self) -> Result<Option<String>, JobFault> {
        Ok(match (self.failure, self.steps) {
            (Some(failure), _) => Some(serde_json::to_string(failure)?),
            (None, Some(steps)) => Some(serde_json::to_string(steps)?),
            (None, None) => None,
        })
    }
}

pub(super) fn note(c: &Connection, run: i64, event_no: i64, settling: &Settling<'_>) -> Result<(), JobFault> {
    c.prepare_cached(
        "INSERT INTO nova3_events(run_id, event_no, queue_id, task_index, version, planned, body, status, created_at)
         VALUES(?1,?2,?3,?4,(SELECT version FROM nova3_tasks WHERE queue_id=?3 AND task_index=?4),?5,?6,?7,?8)",
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
) -> Result<EventPage, JobFault> {
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

pub(super) fn of(c: &Connection, run: RunId, queues: &[i64], up_to: i64) -> Result<EventPage, JobFault> {
    let sql = format!("{SELECT} WHERE e.queue_id=?2 AND e.event_no<=?3 AND e.run_id=?1 ORDER BY e.event_no");
    let mut query = c.prepare_cached(&sql)?;
    let mut page = EventPage {
        rows: Vec::new(),
        after: 0,
    };
    let mut bytes = 0;
    for (answered, queue) in (1..).zip(queues) {
        page.after = answered;
        let mut rows = query.query(params![run.0, queue, up_to])?;
        while let Some(row) = rows.next()? {
            bytes += read(c, row, &mut page.rows)?;
        }
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

/// Adds the events of a row of the log. Returns their estimated bytes.
fn read(c: &Connection, row: &Row<'_>, told: &mut Vec<SettledEvent>) -> Result<usize, JobFault> {
    let queue_id: i64 = row.get(6)?;
    let task: Option<usize> = row.get(7)?;
    let event = EventRow {
        event_no: row.get(0)?,
        settled_at: row.get(1)?,
        custom_id: row.get(2)?,
        user_id: row.get(3)?,
        session_id: row.get(4)?,
        total_tasks: row.get(5)?,
        task,
        planned: row.get(8)?,
        body: row.get(9)?,
        status: row.get(10)?,
    };
    Ok(event_rows::expand(
        event,
        tasks(c, queue_id, task, row.get(11)?)?,
        told,
    )?)
}

/// Returns the tasks of a queue. The wanted task comes with the result of that version.
fn tasks(
    c: &Connection,
    queue_id: i64,
    wanted: Option<usize>,
    version: Option<i64>,
) -> Result<Vec<EventTask>, JobFault> {
    let mut query = c.prepare_cached(
        "SELECT task_id, action, description, input, CASE WHEN task_index=?2 THEN
           CASE WHEN version=?4 THEN CASE WHEN status='completed' THEN result END
           ELSE (SELECT v.result FROM nova3_task_versions v WHERE v.queue_id=?1 AND v.task_index=?2 AND v.version=?4
             AND v.status='completed') END END
         FROM nova3_tasks WHERE queue_id=?1 AND task_index>=0 AND task_index<?3 ORDER BY task_index",
    )?;
    let rows = query.query_map(params![queue_id, wanted, TaskNo::PLANNED_END, version], |row| {
        Ok(EventTask {
            task_id: row.get(0)?,
            action: row.get(1)?,
            description: row.get(2)?,
            input: row.get(3)?,
            result: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
