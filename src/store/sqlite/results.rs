//! Finished requests, page by page.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::value::RawValue;

use super::SqliteStore;
use super::fault::JobFault;
use super::redo::OF_SHOWN;
use crate::domain::outcome::{Finished, PartRecord, PlanOrigin, PlanRecord, SearchTaskRecord, TaskRecord};
use crate::domain::state::{Status, TaskStatus};
use crate::domain::tally::{Counts, FailedClass};
use crate::domain::task::TaskNo;
use crate::store::event_rows::PAGE_BYTES;
use crate::store::keys::COMPLETION;
use crate::store::task_rows::{TaskRows, needed};
use crate::store::{EventPage, FinishedPage, Order, Results, RunId, StoreError};

#[async_trait]
impl Results for SqliteStore {
    async fn finished(
        &self,
        run: RunId,
        order: Order,
        since: Option<i64>,
        after: i64,
        rows: usize,
    ) -> Result<FinishedPage, StoreError> {
        self.read(move |c| finished(c, run, order, since, after, rows))
            .await
    }

    async fn finished_by_id(&self, run: RunId, queues: Vec<i64>) -> Result<FinishedPage, StoreError> {
        self.read(move |c| by_id(c, run, &queues)).await
    }

    async fn events(
        &self,
        run: RunId,
        present: bool,
        after: i64,
        rows: usize,
    ) -> Result<EventPage, StoreError> {
        self.read(move |c| super::events::page(c, run, present, after, rows))
            .await
    }

    async fn events_of(&self, run: RunId, queues: Vec<i64>, up_to: i64) -> Result<EventPage, StoreError> {
        self.read(move |c| super::events::of(c, run, &queues, up_to))
            .await
    }

    async fn lines_epoch(&self, run: RunId) -> Result<i64, StoreError> {
        self.read(move |c| super::runs::lines_epoch(c, run)).await
    }

    async fn counts(&self, run: RunId) -> Result<Counts, StoreError> {
        self.read(move |c| super::runs::counts(c, run)).await
    }

    async fn failed_classes(&self, run: RunId) -> Result<Vec<FailedClass>, StoreError> {
        self.read(move |c| super::failed_classes::of(c, run)).await
    }
}

/// The columns of a finished request. One that is being redone has its earlier status and error.
const COLUMNS: &str = "queue_id, finish_no, custom_id, line_index, line, user_id, session_id, \
     CASE WHEN state IN('open','blocked') THEN (SELECT r.status FROM nova3_redos r WHERE r.queue_id=nova3_queues.queue_id) ELSE status END, \
     CASE WHEN state IN('open','blocked') THEN (SELECT r.error FROM nova3_redos r WHERE r.queue_id=nova3_queues.queue_id) ELSE error END, \
     warnings, created_at, completed_at, state IN('open','blocked')";

pub(super) fn finished(
    c: &Connection,
    run: RunId,
    order: Order,
    since: Option<i64>,
    after: i64,
    rows: usize,
) -> Result<FinishedPage, JobFault> {
    match order {
        Order::Completion => by_completion(c, run, since, after, rows),
        Order::Input => by_input(c, run, after, rows),
    }
}

fn by_completion(
    c: &Connection,
    run: RunId,
    since: Option<i64>,
    after: i64,
    limit: usize,
) -> Result<FinishedPage, JobFault> {
    let sql = format!(
        "SELECT {COLUMNS} FROM nova3_queues WHERE run_id=?1 AND finish_no>?2 AND finish_no IS NOT NULL
           AND state<>'superseded' AND ingest>=?3 ORDER BY finish_no LIMIT ?4"
    );
    let complete = complete_ingest(c, run)?;
    let since = since.map_or(complete, |since| since.min(complete));
    let mut query = c.prepare_cached(&sql)?;
    let mut rows = query.query(params![run.0, after, since, limit])?;
    let mut page = FinishedPage {
        rows: Vec::new(),
        after,
    };
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let finished = read(c, row)?;
        bytes += weight(&finished);
        page.after = finished.finish_no;
        page.rows.push(finished);
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

/// Returns lines in input order without a gap, from the one after `after` on.
fn by_input(c: &Connection, run: RunId, after: i64, limit: usize) -> Result<FinishedPage, JobFault> {
    let sql = format!(
        "SELECT {COLUMNS} FROM nova3_queues WHERE run_id=?1 AND line_index>?2 AND state<>'superseded'
           AND ingest=(SELECT ingest FROM nova3_runs WHERE run_id=?1) ORDER BY line_index LIMIT ?3"
    );
    let mut query = c.prepare_cached(&sql)?;
    let mut rows = query.query(params![run.0, after, limit])?;
    let mut page = FinishedPage {
        rows: Vec::new(),
        after,
    };
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let index: i64 = row.get(3)?;
        let finish_no: Option<i64> = row.get(1)?;
        if index != page.after + 1 || finish_no.is_none() {
            break;
        }
        let finished = read(c, row)?;
        bytes += weight(&finished);
        page.after = index;
        page.rows.push(finished);
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

pub(super) fn by_id(c: &Connection, run: RunId, queues: &[i64]) -> Result<FinishedPage, JobFault> {
    let sql = format!(
        "SELECT {COLUMNS} FROM nova3_queues WHERE run_id=?1 AND queue_id=?2 AND finish_no IS NOT NULL
           AND state<>'superseded'"
    );
    let mut query = c.prepare_cached(&sql)?;
    let mut page = FinishedPage {
        rows: Vec::with_capacity(queues.len()),
        after: 0,
    };
    let mut bytes = 0;
    for (answered, queue) in (1..).zip(queues) {
        page.after = answered;
        let mut rows = query.query(params![run.0, queue])?;
        if let Some(row) = rows.next()? {
            let finished = read(c, row)?;
            bytes += weight(&finished);
            page.rows.push(finished);
        }
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

/// Returns the earliest reading whose lines count as part of the input.
pub(super) fn complete_ingest(c: &Connection, run: RunId) -> Result<i64, JobFault> {
    Ok(
        c.prepare_cached("SELECT complete_ingest FROM nova3_runs WHERE run_id=?1")?
            .query_row([run.0], |row| row.get(0))?,
    )
}

fn read(c: &Connection, row: &Row<'_>) -> Result<Finished, JobFault> {
    let known = Finished {
        queue_id: row.get(0)?,
        finish_no: row.get(1)?,
        custom_id: row.get(2)?,
        index: row.get(3)?,
        line: row.get(4)?,
        user_id: row.get(5)?,
        session_id: row.get(6)?,
        status: Status::Failed,
        is_completion: false,
        failure: None,
        warnings: Vec::new(),
        metadata: None,
        created_at: row.get(10)?,
        completed_at: row.get(11)?,
        is_redone: row.get(12)?,
        plan: None,
        tasks: Vec::new(),
    };
    match outcome(c, row, known.clone()) {
        Err(JobFault::Row(reason)) => Ok(known.unreadable(&reason)),
        read => read,
    }
}

/// Adds the outcome to the request.
fn outcome(c: &Connection, row: &Row<'_>, known: Finished) -> Result<Finished, JobFault> {
    let queue_id = known.queue_id;
    let status: String = row.get(7)?;
    let status = Status::parse(&status)
        .ok_or_else(|| JobFault::Row(format!("queue {queue_id} has status `{status}`")))?;
    let error: Option<String> = row.get(8)?;
    let warnings: Option<String> = row.get(9)?;
    let tasks = tasks(c, queue_id, known.is_redone)?;
    Ok(Finished {
        status,
        is_completion: tasks.first().is_some_and(|task| task.action == COMPLETION),
        failure: error.as_deref().map(serde_json::from_str).transpose()?,
        warnings: warnings
            .as_deref()
            .map(serde_json::from_str)
            .transpose()?
            .unwrap_or_default(),
        metadata: raw(metadata(c, queue_id)?)?,
        plan: plan(c, queue_id)?,
        tasks,
        ..known
    })
}

/// Returns the metadata of a request. A bad line has none, and no row for it.
fn metadata(c: &Connection, queue_id: i64) -> Result<Option<String>, JobFault> {
    let found = c
        .prepare_cached("SELECT metadata FROM nova3_requests WHERE queue_id=?1")?
        .query_row([queue_id], |row| row.get(0))
        .optional()?;
    Ok(found.flatten())
}

fn plan(c: &Connection, queue_id: i64) -> Result<Option<PlanRecord>, JobFault> {
    let found: Option<(Option<String>, String)> = c
        .prepare_cached("SELECT origin, making FROM nova3_plans WHERE queue_id=?1")?
        .query_row([queue_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((origin, making)) = found else {
        return Ok(None);
    };
    Ok(Some(PlanRecord {
        origin: origin.as_deref().and_then(PlanOrigin::parse),
        making: serde_json::from_str(&making)?,
    }))
}

/// The rows of tasks as a result line needs them, from a table of tasks or of versions.
const TASK_COLUMNS: &str = "task_index, task_id, action, input, status, CASE WHEN task_index<?2 OR kind='search' THEN result END, making, \
     subject, CASE WHEN task_index>=?2 THEN error END, CASE WHEN task_index<?2 THEN needs END";

/// Returns the tasks of the result line. The tasks of a redo are not shown before it ends; their earlier rows are.
fn tasks(c: &Connection, queue_id: i64, is_redone: bool) -> Result<Vec<TaskRecord>, JobFault> {
    let sql = if is_redone {
        format!(
            "SELECT {TASK_COLUMNS} FROM nova3_task_versions WHERE queue_id=?1 AND shown AND task_index>=0
             UNION ALL SELECT {TASK_COLUMNS} FROM nova3_tasks WHERE queue_id=?1 AND task_index>=0 AND NOT {OF_SHOWN} ORDER BY 1"
        )
    } else {
        format!(
            "SELECT {TASK_COLUMNS} FROM nova3_tasks WHERE queue_id=?1 AND task_index>=0 ORDER BY task_index"
        )
    };
    let mut query = c.prepare_cached(&sql)?;
    let mut rows = query.query(params![queue_id, TaskNo::PLANNED_END])?;
    let mut tasks = TaskRows::default();
    while let Some(row) = rows.next()? {
        add(queue_id, row, &mut tasks)?;
    }
    Ok(tasks.into_records())
}

fn add(queue_id: i64, row: &Row<'_>, tasks: &mut TaskRows) -> Result<(), JobFault> {
    let status: String = row.get(4)?;
    let status = TaskStatus::parse(&status)
        .ok_or_else(|| JobFault::Row(format!("a task of queue {queue_id} has status `{status}`")))?;
    let (no, making): (i32, Option<String>) = (row.get(0)?, row.get(6)?);
    let making = making.as_deref().map(serde_json::from_str).transpose()?;
    if TaskNo(no).is_search() {
        let (result, error): (Option<String>, Option<String>) = (row.get(5)?, row.get(8)?);
        let search = SearchTaskRecord {
            status,
            found: result.as_deref().map(serde_json::from_str).transpose()?,
            making,
            failure: error.as_deref().map(serde_json::from_str).transpose()?,
        };
        tasks.add_search(TaskNo(no), search);
        return Ok(());
    }
    if TaskNo(no).is_part() {
        let error: Option<String> = row.get(8)?;
        let part = PartRecord {
            task_id: row.get(1)?,
            subject: row.get(7)?,
            status,
            making,
            failure: error.as_deref().map(serde_json::from_str).transpose()?,
        };
        tasks.add_part(TaskNo(no), part);
        return Ok(());
    }
    tasks.add(TaskRecord {
        task_id: row.get(1)?,
        action: row.get(2)?,
        input: row.get(3)?,
        needs: needed(serde_json::from_str(row.get_ref(9)?.as_str().unwrap_or("[]"))?),
        status,
        result: raw(row.get(5)?)?,
        making,
        search: None,
        parts: Vec::new(),
    });
    Ok(())
}

fn raw(text: Option<String>) -> Result<Option<Box<RawValue>>, JobFault> {
    Ok(text.map(RawValue::from_string).transpose()?)
}

fn weight(finished: &Finished) -> usize {
    finished
        .tasks
        .iter()
        .filter_map(|task| task.result.as_ref())
        .map(|raw| raw.get().len() * 2)
        .sum::<usize>()
        + 512
}
