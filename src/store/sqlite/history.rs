//! The history of one queue.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::fault::JobFault;
use crate::domain::lane::Lane;
use crate::domain::outcome::Attempt;
use crate::domain::state::{Status, TaskStatus};
use crate::domain::task::{TaskKind, TaskNo};
use crate::domain::usage::{Cost, Usage};
use crate::store::history::call_end;
use crate::store::{
    CallHistory, Histories, MOST_CALLS_OF_HISTORY, QueueHistory, RunId, StoreError, TaskHistory,
};

#[async_trait]
impl Histories for SqliteStore {
    async fn history(
        &self,
        run: RunId,
        queue: i64,
        with_texts: bool,
    ) -> Result<Option<QueueHistory>, StoreError> {
        self.read(move |c| history(c, run, queue, with_texts)).await
    }
}

pub(super) fn history(
    c: &Connection,
    run: RunId,
    queue: i64,
    with_texts: bool,
) -> Result<Option<QueueHistory>, JobFault> {
    let mut query = c.prepare_cached(
        "SELECT r.name, r.trace_seed, q.custom_id, q.user_id, q.session_id, q.status, q.error, q.created_at, q.completed_at,
           CASE WHEN ?3 THEN (SELECT d.request FROM nova3_requests d WHERE d.queue_id=q.queue_id) END
         FROM nova3_queues q JOIN nova3_runs r USING(run_id) WHERE q.queue_id=?2 AND q.run_id=?1",
    )?;
    let mut rows = query.query(params![run.0, queue, with_texts])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let (status, error): (Option<String>, Option<String>) = (row.get(5)?, row.get(6)?);
    Ok(Some(QueueHistory {
        run: row.get(0)?,
        seed: row.get(1)?,
        queue_id: queue,
        custom_id: row.get(2)?,
        user_id: row.get(3)?,
        session_id: row.get(4)?,
        status: status.as_deref().and_then(Status::parse),
        failure: error.as_deref().map(serde_json::from_str).transpose()?,
        created_at: row.get(7)?,
        completed_at: row.get(8)?,
        request: row.get(9)?,
        tasks: tasks(c, queue, with_texts)?,
        calls: calls(c, run, queue)?,
    }))
}

/// Returns the tasks of the queue in all versions. A version before a retry has its texts in the present row.
fn tasks(c: &Connection, queue: i64, with_texts: bool) -> Result<Vec<TaskHistory>, JobFault> {
    let making: Option<String> = c
        .prepare_cached("SELECT making FROM nova3_plans WHERE queue_id=?1")?
        .query_row([queue], |row| row.get(0))
        .optional()?;
    let mut query = c.prepare_cached(
        "SELECT task_index, version, kind, action, CASE WHEN ?2 THEN input END, needs, status, completed_at,
           CASE WHEN ?2 THEN result END, error, making FROM nova3_tasks WHERE queue_id=?1
         UNION ALL
         SELECT v.task_index, v.version, coalesce(v.kind, t.kind, 'call'), coalesce(v.action, t.action, ''),
           CASE WHEN ?2 THEN coalesce(v.input, t.input) END, coalesce(v.needs, t.needs, '[]'), v.status, v.completed_at,
           CASE WHEN ?2 THEN v.result END, v.error, v.making
         FROM nova3_task_versions v LEFT JOIN nova3_tasks t USING(queue_id, task_index)
         WHERE v.queue_id=?1 AND v.status IN('completed','failed')
         ORDER BY 1, 2",
    )?;
    let mut rows = query.query(params![queue, with_texts])?;
    let mut tasks = Vec::new();
    while let Some(row) = rows.next()? {
        tasks.push(task(row, making.as_deref())?);
    }
    Ok(tasks)
}

fn task(row: &Row<'_>, of_plan: Option<&str>) -> Result<TaskHistory, JobFault> {
    let task = TaskNo(row.get(0)?);
    let (kind, needs, status): (String, String, String) = (row.get(2)?, row.get(5)?, row.get(6)?);
    let (error, making): (Option<String>, Option<String>) = (row.get(9)?, row.get(10)?);
    let making = making.as_deref().or(of_plan.filter(|_| task == TaskNo::PLAN));
    Ok(TaskHistory {
        task,
        version: row.get(1)?,
        kind: TaskKind::parse(&kind).ok_or_else(|| JobFault::Row(format!("a task is a `{kind}`")))?,
        action: row.get(3)?,
        input: row.get(4)?,
        needs: serde_json::from_str(&needs)?,
        status: TaskStatus::parse(&status)
            .ok_or_else(|| JobFault::Row(format!("a task has status `{status}`")))?,
        completed_at: row.get(7)?,
        result: row.get(8)?,
        failure: error.as_deref().map(serde_json::from_str).transpose()?,
        making: making.map(serde_json::from_str).transpose()?,
    })
}

fn calls(c: &Connection, run: RunId, queue: i64) -> Result<Vec<CallHistory>, JobFault> {
    let mut query = c.prepare_cached(
        "SELECT task_index, version, route, model, error_class, used, status_code, input_tokens, cached_input_tokens,
           cache_write_tokens, output_tokens, cost, uncertain, started_at, duration_ms, first_token_ms, lane
         FROM nova3_attempts WHERE run_id=?1 AND queue_id=?2 ORDER BY started_at, attempt_id LIMIT ?3",
    )?;
    let rows = query.query_map(params![run.0, queue, MOST_CALLS_OF_HISTORY], call)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn call(row: &Row<'_>) -> rusqlite::Result<CallHistory> {
    let cause: Option<String> = row.get(4)?;
    let cost: Option<u64> = row.get(11)?;
    Ok(CallHistory {
        task: TaskNo(row.get(0)?),
        version: row.get(1)?,
        attempt: Attempt {
            route: row.get(2)?,
            model: row.get(3)?,
            end: call_end(cause.as_deref()),
            used: row.get(5)?,
            status_code: row.get(6)?,
            usage: Usage {
                input_tokens: row.get(7)?,
                cached_input_tokens: row.get(8)?,
                cache_write_tokens: row.get(9)?,
                output_tokens: row.get(10)?,
            },
            cost: cost.map(Cost),
            uncertain: Cost(row.get(12)?),
            started_at: row.get(13)?,
            duration_ms: row.get(14)?,
            first_token_ms: row.get(15)?,
            lane: Lane::of_tier(Some(&row.get::<_, String>(16)?)),
        },
    })
}
