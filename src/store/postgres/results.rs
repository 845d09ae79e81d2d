//! Finished requests, page by page.

use std::collections::HashMap;

use async_trait::async_trait;
use serde_json::value::RawValue;
use tokio_postgres::Row;

use super::PostgresStore;
use super::fault::JobFault;
use super::rows::int;
use crate::domain::outcome::{Finished, PartRecord, PlanOrigin, PlanRecord, SearchTaskRecord, TaskRecord};
use crate::domain::state::{Status, TaskStatus};
use crate::domain::tally::{Counts, FailedClass};
use crate::domain::task::TaskNo;
use crate::postgres::{Connection, Param, PgText};
use crate::store::event_rows::PAGE_BYTES;
use crate::store::keys::COMPLETION;
use crate::store::task_rows::{TaskRows, needed};
use crate::store::{EventPage, FinishedPage, Order, Results, RunId, StoreError};

#[async_trait]
impl Results for PostgresStore {
    async fn finished(
        &self,
        run: RunId,
        order: Order,
        since: Option<i64>,
        after: i64,
        rows: usize,
    ) -> Result<FinishedPage, StoreError> {
        job!(self, |c| finished(c, run, order, since, after, rows))
    }

    async fn finished_by_id(&self, run: RunId, queues: Vec<i64>) -> Result<FinishedPage, StoreError> {
        let queues = &super::of_run(run, queues);
        job!(self, |c| by_id(c, queues))
    }

    async fn events(
        &self,
        run: RunId,
        present: bool,
        after: i64,
        rows: usize,
    ) -> Result<EventPage, StoreError> {
        job!(self, |c| super::events::page(c, run, present, after, rows))
    }

    async fn events_of(&self, run: RunId, queues: Vec<i64>, up_to: i64) -> Result<EventPage, StoreError> {
        let queues = &super::of_run(run, queues);
        job!(self, |c| super::events::of(c, queues, up_to))
    }

    async fn lines_epoch(&self, run: RunId) -> Result<i64, StoreError> {
        job!(self, |c| super::runs::lines_epoch(c, run))
    }

    async fn counts(&self, run: RunId) -> Result<Counts, StoreError> {
        job!(self, |c| super::counting::counts(c, run))
    }

    async fn failed_classes(&self, run: RunId) -> Result<Vec<FailedClass>, StoreError> {
        job!(self, |c| super::failed_classes::of(c, run))
    }
}

/// The columns that are read of each request. One that is being redone has its earlier status and error. `octet_length` reads the size of a result without the result itself;
/// `length` would read it.
const COLUMNS: &str = "SELECT q.queue_id, q.finish_no, q.custom_id, d.line_index, d.line, q.user_id, q.session_id, \
     CASE WHEN q.state IN ('open','blocked') THEN (SELECT r.status FROM nova3_redos r WHERE r.queue_id = q.queue_id) ELSE q.status END, \
     CASE WHEN q.state IN ('open','blocked') THEN (SELECT r.error FROM nova3_redos r WHERE r.queue_id = q.queue_id) ELSE q.error END, \
     q.warnings, q.created_at, q.completed_at, d.metadata, p.origin, p.making, \
     (SELECT coalesce(sum(octet_length(t.result)), 0) FROM nova3_tasks t WHERE t.queue_id = q.queue_id \
     AND (t.task_index < 1048576 OR t.kind = 'search')) \
     + (SELECT coalesce(sum(octet_length(v.result)), 0) FROM nova3_task_versions v WHERE v.queue_id = q.queue_id AND v.shown), \
     q.state IN ('open','blocked')";

/// Joins the request and the plan of a queue. `OFFSET 0` makes the planner look up each row separately, even when it
/// expects few rows.
const LINE: &str =
    "CROSS JOIN LATERAL (SELECT d.* FROM nova3_requests d WHERE d.queue_id = q.queue_id OFFSET 0) d";
const PLAN: &str = "LEFT JOIN LATERAL (SELECT p.origin, p.making FROM nova3_plans p \
     WHERE p.queue_id = q.queue_id OFFSET 0) p ON true";

pub(super) async fn finished(
    c: &mut Connection,
    run: RunId,
    order: Order,
    since: Option<i64>,
    after: i64,
    limit: usize,
) -> Result<FinishedPage, JobFault> {
    c.begin_reading().await?;
    let page = match order {
        Order::Completion => by_completion(c, run, since, after, limit).await?,
        Order::Input => by_input(c, run, after, limit).await?,
    };
    c.commit().await?;
    Ok(page)
}

async fn by_completion(
    c: &mut Connection,
    run: RunId,
    since: Option<i64>,
    after: i64,
    limit: usize,
) -> Result<FinishedPage, JobFault> {
    let sql = format!(
        "{COLUMNS} FROM nova3_queues q {LINE} {PLAN}
         WHERE q.run_id = $1 AND q.finish_no > $2 AND q.finish_no IS NOT NULL AND q.state <> 'superseded'
           AND q.ingest >= (SELECT least($3, r.complete_ingest) FROM nova3_runs r WHERE r.run_id = $1)
         ORDER BY q.finish_no LIMIT $4"
    );
    let rows = c
        .rows(
            &sql,
            &[run.0.sent(), after.sent(), since.sent(), int(limit).sent()],
        )
        .await?;
    let rows = within_bounds(rows);
    let after = rows.last().map_or(after, |row| row.get(1));
    let rows = read(c, &rows).await?;
    Ok(FinishedPage { rows, after })
}

/// Returns lines in input order without a gap, from the one after `after` on.
async fn by_input(
    c: &mut Connection,
    run: RunId,
    after: i64,
    limit: usize,
) -> Result<FinishedPage, JobFault> {
    let sql = format!(
        "{COLUMNS} FROM nova3_requests d
         CROSS JOIN LATERAL (SELECT q.* FROM nova3_queues q WHERE q.queue_id = d.queue_id OFFSET 0) q {PLAN}
         WHERE d.run_id = $1 AND d.run_id > 0 AND d.line_index > $2 AND d.line_index <= $2 + $3 AND q.state <> 'superseded'
           AND q.ingest = (SELECT r.ingest FROM nova3_runs r WHERE r.run_id = $1) ORDER BY d.line_index LIMIT $3"
    );
    let rows = c
        .rows(&sql, &[run.0.sent(), after.sent(), int(limit).sent()])
        .await?;
    let unbroken =
        |(index, row): &(i64, Row)| row.get::<_, i64>(3) == *index && row.get::<_, Option<i64>>(1).is_some();
    let rows = (after + 1..).zip(rows).take_while(unbroken).map(|(_, row)| row);
    let rows = within_bounds(rows.collect());
    let after = rows.last().map_or(after, |row| row.get(3));
    let rows = read(c, &rows).await?;
    Ok(FinishedPage { rows, after })
}

pub(super) async fn by_id(c: &mut Connection, queues: &[i64]) -> Result<FinishedPage, JobFault> {
    c.begin_reading().await?;
    let sql = format!(
        "{COLUMNS}, i.place FROM unnest($1) WITH ORDINALITY i(queue_id, place)
         CROSS JOIN LATERAL (SELECT q.* FROM nova3_queues q WHERE q.queue_id = i.queue_id OFFSET 0) q
         {LINE} {PLAN}
         WHERE q.finish_no IS NOT NULL AND q.state <> 'superseded' ORDER BY i.place"
    );
    let found = c.rows(&sql, &[queues.to_vec().sent()]).await?;
    let count = found.len();
    let rows = within_bounds(found);
    let after = match rows.last() {
        Some(last) if rows.len() < count => last.get(17),
        _ => int(queues.len()),
    };
    let rows = read(c, &rows).await?;
    c.commit().await?;
    Ok(FinishedPage { rows, after })
}

/// Keeps the first rows whose results fit into a page together, at least one.
fn within_bounds(rows: Vec<Row>) -> Vec<Row> {
    let mut bytes = 0;
    let fits = |row: &Row| {
        let before = bytes;
        bytes += usize::try_from(row.get::<_, i64>(15)).unwrap_or(usize::MAX / 4) * 2 + 512;
        before <= PAGE_BYTES
    };
    rows.into_iter().take_while(fits).collect()
}

/// Reads the rows with their tasks.
async fn read(c: &mut Connection, rows: &[Row]) -> Result<Vec<Finished>, JobFault> {
    let (redone, others): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.get(16));
    let numbers = |rows: &[&Row]| -> Vec<i64> { rows.iter().map(|row| row.get(0)).collect() };
    let mut tasks = tasks(c, TASKS, &numbers(&others)).await?;
    if !redone.is_empty() {
        tasks.extend(self::tasks(c, TASKS_OF_REDONE, &numbers(&redone)).await?);
    }
    rows.iter()
        .map(|row| {
            let known = known(row);
            let tasks = tasks.remove(&known.queue_id).unwrap_or(Ok(Vec::new()));
            match tasks.and_then(|tasks| outcome(row, known.clone(), tasks)) {
                Err(JobFault::Row(reason)) => Ok(known.unreadable(&reason)),
                read => read,
            }
        })
        .collect()
}

/// Reads a request without its outcome.
fn known(row: &Row) -> Finished {
    Finished {
        queue_id: row.get(0),
        finish_no: row.get(1),
        custom_id: row.get::<_, Option<PgText>>(2).map(|id| id.0),
        index: row.get::<_, i64>(3).unsigned_abs(),
        line: row.get::<_, i64>(4).unsigned_abs(),
        user_id: row.get(5),
        session_id: row.get(6),
        status: Status::Failed,
        is_completion: false,
        failure: None,
        warnings: Vec::new(),
        metadata: None,
        created_at: row.get(10),
        completed_at: row.get::<_, Option<i64>>(11).unwrap_or_default(),
        is_redone: row.get(16),
        plan: None,
        tasks: Vec::new(),
    }
}

/// Adds the outcome to the request.
fn outcome(row: &Row, known: Finished, tasks: Vec<TaskRecord>) -> Result<Finished, JobFault> {
    let (queue_id, status): (i64, &str) = (known.queue_id, row.get(7));
    let status = Status::parse(status)
        .ok_or_else(|| JobFault::Row(format!("queue {queue_id} has status `{status}`")))?;
    let error: Option<String> = row.get(8);
    let warnings: Option<String> = row.get(9);
    let (origin, making): (Option<String>, Option<String>) = (row.get(13), row.get(14));
    let plan = match making {
        Some(making) => Some(PlanRecord {
            origin: origin.as_deref().and_then(PlanOrigin::parse),
            making: serde_json::from_str(&making)?,
        }),
        None => None,
    };
    Ok(Finished {
        status,
        is_completion: tasks.first().is_some_and(|task| task.action == COMPLETION),
        failure: error.as_deref().map(serde_json::from_str).transpose()?,
        warnings: warnings
            .as_deref()
            .map(serde_json::from_str)
            .transpose()?
            .unwrap_or_default(),
        metadata: raw(row.get(12))?,
        plan,
        tasks,
        ..known
    })
}

const TASKS: &str = "SELECT t.queue_id, t.task_id, t.action, t.input, t.status, CASE WHEN t.task_index < $2 OR t.kind = 'search' THEN t.result END, t.making, \
       t.task_index, t.subject, CASE WHEN t.task_index >= $2 THEN t.error END, t.needs \
     FROM unnest($1) i(queue_id) CROSS JOIN LATERAL ( \
       SELECT t.* FROM nova3_tasks t WHERE t.queue_id = i.queue_id AND t.task_index >= 0 OFFSET 0) t \
     ORDER BY t.queue_id, t.task_index";

/// The tasks of a redo are not shown before it ends. Their earlier rows are.
const TASKS_OF_REDONE: &str = "SELECT t.queue_id, t.task_id, t.action, t.input, t.status, CASE WHEN t.task_index < $2 OR t.kind = 'search' THEN t.result END, \
       t.making, t.task_index, t.subject, CASE WHEN t.task_index >= $2 THEN t.error END, t.needs \
     FROM unnest($1) i(queue_id) CROSS JOIN LATERAL ( \
       SELECT v.queue_id, v.task_id, v.action, v.input, v.status, v.result, v.kind, v.making, v.task_index, v.subject, v.error, v.needs \
       FROM nova3_task_versions v WHERE v.queue_id = i.queue_id AND v.shown AND v.task_index >= 0 \
       UNION ALL \
       SELECT n.queue_id, n.task_id, n.action, n.input, n.status, n.result, n.kind, n.making, n.task_index, n.subject, n.error, n.needs \
       FROM nova3_tasks n JOIN nova3_redos r ON r.queue_id = n.queue_id WHERE n.queue_id = i.queue_id AND n.task_index >= 0 \
         AND CASE WHEN n.task_index < 1048576 THEN n.task_index ELSE (n.task_index - 1048576) >> 8 END <> ALL (r.tasks) \
       OFFSET 0) t \
     ORDER BY t.queue_id, t.task_index";

/// Returns the tasks of each queue, or the reason why one of them cannot be read.
async fn tasks(
    c: &mut Connection,
    sql: &str,
    queues: &[i64],
) -> Result<HashMap<i64, Result<Vec<TaskRecord>, JobFault>>, JobFault> {
    let rows = c
        .rows(sql, &[queues.to_vec().sent(), TaskNo::PLANNED_END.sent()])
        .await?;
    let mut tasks: HashMap<i64, Result<TaskRows, JobFault>> = HashMap::new();
    for row in &rows {
        let of_queue = tasks.entry(row.get(0)).or_insert(Ok(TaskRows::default()));
        if let Ok(known) = of_queue
            && let Err(fault) = task(row, known)
        {
            *of_queue = Err(fault);
        }
    }
    let records =
        |(queue, rows): (i64, Result<TaskRows, JobFault>)| (queue, rows.map(TaskRows::into_records));
    Ok(tasks.into_iter().map(records).collect())
}

fn task(row: &Row, known: &mut TaskRows) -> Result<(), JobFault> {
    let (queue, status): (i64, &str) = (row.get(0), row.get(4));
    let (no, making): (i32, Option<String>) = (row.get(7), row.get(6));
    let making = making.as_deref().map(serde_json::from_str).transpose()?;
    let status = TaskStatus::parse(status)
        .ok_or_else(|| JobFault::Row(format!("a task of queue {queue} has status `{status}`")))?;
    if TaskNo(no).is_search() {
        let (result, error): (Option<&str>, Option<&str>) = (row.get(5), row.get(9));
        let search = SearchTaskRecord {
            status,
            found: result.map(serde_json::from_str).transpose()?,
            making,
            failure: error.map(serde_json::from_str).transpose()?,
        };
        known.add_search(TaskNo(no), search);
        return Ok(());
    }
    if TaskNo(no).is_part() {
        let error: Option<String> = row.get(9);
        let part = PartRecord {
            task_id: row.get(1),
            subject: row.get::<_, Option<PgText>>(8).map(|subject| subject.0),
            status,
            making,
            failure: error.as_deref().map(serde_json::from_str).transpose()?,
        };
        known.add_part(TaskNo(no), part);
        return Ok(());
    }
    known.add(TaskRecord {
        task_id: row.get(1),
        action: row.get::<_, PgText>(2).0,
        input: row.get::<_, PgText>(3).0,
        needs: needed(row.get(10)),
        status,
        result: raw(row.get(5))?,
        making,
        search: None,
        parts: Vec::new(),
    });
    Ok(())
}

fn raw(text: Option<String>) -> Result<Option<Box<RawValue>>, JobFault> {
    Ok(text.map(RawValue::from_string).transpose()?)
}
