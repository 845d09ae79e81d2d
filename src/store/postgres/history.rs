//! The history of one queue.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::PostgresStore;
use super::fault::JobFault;
use super::rows::int;
use crate::domain::lane::Lane;
use crate::domain::outcome::Attempt;
use crate::domain::state::{Status, TaskStatus};
use crate::domain::task::{TaskKind, TaskNo};
use crate::domain::usage::{Cost, Usage};
use crate::postgres::{Connection, Param, PgText};
use crate::store::history::call_end;
use crate::store::{
    CallHistory, Histories, MOST_CALLS_OF_HISTORY, QueueHistory, RunId, StoreError, TaskHistory,
};

#[async_trait]
impl Histories for PostgresStore {
    async fn history(
        &self,
        run: RunId,
        queue: i64,
        with_texts: bool,
    ) -> Result<Option<QueueHistory>, StoreError> {
        job!(self, |c| history(c, run, queue, with_texts))
    }
}

async fn history(
    c: &mut Connection,
    run: RunId,
    queue: i64,
    with_texts: bool,
) -> Result<Option<QueueHistory>, JobFault> {
    c.begin_reading().await?;
    let found = c
        .optional(
            "SELECT r.name, r.trace_seed, q.custom_id, q.user_id, q.session_id, q.status, q.error, q.created_at, q.completed_at,
               CASE WHEN $3 THEN (SELECT d.request FROM nova3_requests d WHERE d.queue_id = q.queue_id) END,
               (SELECT p.making FROM nova3_plans p WHERE p.queue_id = q.queue_id)
             FROM nova3_queues q JOIN nova3_runs r USING (run_id) WHERE q.queue_id = $2 AND q.run_id = $1",
            &[run.0.sent(), queue.sent(), with_texts.sent()],
        )
        .await?;
    let Some(row) = found else {
        c.commit().await?;
        return Ok(None);
    };
    let of_plan: Option<PgText> = row.get(10);
    let tasks = tasks(c, queue, with_texts, of_plan.as_ref()).await?;
    let calls = calls(c, queue).await?;
    c.commit().await?;
    let (status, error): (Option<&str>, Option<PgText>) = (row.get(5), row.get(6));
    Ok(Some(QueueHistory {
        run: row.get::<_, PgText>(0).0,
        seed: row.get(1),
        queue_id: queue,
        custom_id: row.get::<_, Option<PgText>>(2).map(|id| id.0),
        user_id: row.get(3),
        session_id: row.get(4),
        status: status.and_then(Status::parse),
        failure: error.map(|error| serde_json::from_str(&error.0)).transpose()?,
        created_at: row.get(7),
        completed_at: row.get(8),
        request: row.get::<_, Option<PgText>>(9).map(|request| request.0),
        tasks,
        calls,
    }))
}

/// Returns the tasks of the queue in all versions. A version before a retry has its texts in the present row.
async fn tasks(
    c: &mut Connection,
    queue: i64,
    with_texts: bool,
    of_plan: Option<&PgText>,
) -> Result<Vec<TaskHistory>, JobFault> {
    let rows = c
        .rows(
            "SELECT t.task_index, t.version, t.kind, t.action, CASE WHEN $2 THEN t.input END, t.needs, t.status, t.completed_at,
               CASE WHEN $2 THEN t.result END, t.error, t.making FROM nova3_tasks t WHERE t.queue_id = $1
             UNION ALL
             SELECT v.task_index, v.version, coalesce(v.kind, t.kind, 'call'), coalesce(v.action, t.action, ''),
               CASE WHEN $2 THEN coalesce(v.input, t.input) END, coalesce(v.needs, t.needs, '{}'), v.status, v.completed_at,
               CASE WHEN $2 THEN v.result END, v.error, v.making
             FROM nova3_task_versions v LEFT JOIN nova3_tasks t USING (queue_id, task_index)
             WHERE v.queue_id = $1 AND v.status IN ('completed','failed')
             ORDER BY 1, 2",
            &[queue.sent(), with_texts.sent()],
        )
        .await?;
    rows.iter().map(|row| task(row, of_plan)).collect()
}

fn task(row: &Row, of_plan: Option<&PgText>) -> Result<TaskHistory, JobFault> {
    let task = TaskNo(row.get(0));
    let (kind, status): (&str, &str) = (row.get(2), row.get(6));
    let string = |column: usize| row.get::<_, Option<PgText>>(column).map(|text| text.0);
    let making = string(10).or_else(|| {
        of_plan
            .filter(|_| task == TaskNo::PLAN)
            .map(|text| text.0.clone())
    });
    let needs: Vec<i32> = row.get(5);
    Ok(TaskHistory {
        task,
        version: i64::from(row.get::<_, i32>(1)),
        kind: TaskKind::parse(kind).ok_or_else(|| JobFault::Row(format!("a task is a `{kind}`")))?,
        action: row.get::<_, PgText>(3).0,
        input: string(4),
        needs: needs.into_iter().map(TaskNo).collect(),
        status: TaskStatus::parse(status)
            .ok_or_else(|| JobFault::Row(format!("a task has status `{status}`")))?,
        completed_at: row.get(7),
        result: string(8),
        failure: string(9).map(|error| serde_json::from_str(&error)).transpose()?,
        making: making.map(|making| serde_json::from_str(&making)).transpose()?,
    })
}

async fn calls(c: &mut Connection, queue: i64) -> Result<Vec<CallHistory>, JobFault> {
    let rows = c
        .rows(
            "SELECT task_index, version, route, model, error_class, used, status_code, input_tokens, cached_input_tokens,
               cache_write_tokens, output_tokens, cost, uncertain, started_at, duration_ms, first_token_ms, lane
             FROM nova3_attempts WHERE queue_id = $1 ORDER BY started_at, fence, attempt_no LIMIT $2",
            &[queue.sent(), int(MOST_CALLS_OF_HISTORY).sent()],
        )
        .await?;
    Ok(rows.iter().map(call).collect())
}

fn call(row: &Row) -> CallHistory {
    let number = |column: usize| row.get::<_, i64>(column).max(0).unsigned_abs();
    let optional = |column: usize| {
        row.get::<_, Option<i64>>(column)
            .map(|value| value.max(0).unsigned_abs())
    };
    let cause: Option<&str> = row.get(4);
    let status: Option<i32> = row.get(6);
    CallHistory {
        task: TaskNo(row.get(0)),
        version: i64::from(row.get::<_, i32>(1)),
        attempt: Attempt {
            route: row.get::<_, PgText>(2).0,
            model: row.get::<_, PgText>(3).0,
            end: call_end(cause),
            used: row.get(5),
            status_code: status.and_then(|code| u16::try_from(code).ok()),
            usage: Usage {
                input_tokens: number(7),
                cached_input_tokens: number(8),
                cache_write_tokens: number(9),
                output_tokens: number(10),
            },
            cost: optional(11).map(Cost),
            uncertain: Cost(number(12)),
            started_at: row.get(13),
            duration_ms: number(14),
            first_token_ms: optional(15),
            lane: Lane::of_tier(Some(row.get(16))),
        },
    }
}
