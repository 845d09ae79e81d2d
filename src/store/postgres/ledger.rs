//! The ledger, as estimates, reports and the bill read it.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::fault::JobFault;
use super::rows::int;
use crate::domain::lane::Lane;
use crate::domain::outcome::Attempt;
use crate::domain::task::TaskNo;
use crate::domain::usage::{Cost, Usage};
use crate::postgres::{Connection, Param, PgText, text};
use crate::store::history::call_end;
use crate::store::ledger::sizes;
use crate::store::usage::SUMS;
use crate::store::{
    CallPage, Ledger, LedgerCall, RecentCall, RunId, StoreError, UsageQuery, UsageRow, UsageSums,
};

#[async_trait]
impl Ledger for PostgresStore {
    async fn recent_calls(&self, limit: usize) -> Result<Vec<RecentCall>, StoreError> {
        job!(self, |c| recent(c, limit))
    }

    async fn usage(&self, wanted: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        job!(self, |c| usage(c, wanted))
    }

    async fn calls(&self, run: RunId, after: i64, queues: usize) -> Result<CallPage, StoreError> {
        job!(self, |c| page(c, run, after, queues))
    }
}

/// Returns the calls of the newest queues. The inner query reads the primary key of the ledger backwards, and ends after
/// `limit` rows.
async fn recent(c: &mut Connection, limit: usize) -> Result<Vec<RecentCall>, JobFault> {
    let rows = c
        .rows(
            "SELECT a.queue_id, a.task_index, CASE WHEN a.task_index < 0 THEN 'supervisor' ELSE t.action END, q.task_count,
               a.route, a.model, a.used, a.input_tokens, a.cached_input_tokens, a.cache_write_tokens, a.output_tokens,
               a.duration_ms, CASE WHEN a.task_index < 0 THEN p.making ELSE t.making END
             FROM (SELECT * FROM nova3_attempts ORDER BY queue_id DESC, fence DESC, task_index DESC, ticket DESC,
               attempt_no DESC LIMIT $1) a
             JOIN nova3_queues q ON q.queue_id = a.queue_id
             LEFT JOIN nova3_tasks t ON t.queue_id = a.queue_id AND t.task_index = a.task_index
             LEFT JOIN nova3_plans p ON p.queue_id = a.queue_id
             WHERE a.task_index < 0 OR t.action IS NOT NULL
             ORDER BY a.queue_id DESC, a.fence DESC, a.task_index DESC, a.ticket DESC, a.attempt_no DESC",
            &[int(limit).sent()],
        )
        .await?;
    Ok(rows.iter().map(call).collect())
}

/// Returns the calls of the next queues. A queue without a call has a row of nulls, so that the page ends at it.
async fn page(c: &mut Connection, run: RunId, after: i64, queues: usize) -> Result<CallPage, JobFault> {
    let rows = c
        .rows(
            "SELECT q.queue_id, a.task_index, a.version, CASE WHEN a.task_index < 0 THEN 'supervisor' ELSE t.action END,
               a.route, a.model, a.error_class, a.used, a.status_code, a.input_tokens, a.cached_input_tokens,
               a.cache_write_tokens, a.output_tokens, a.cost, a.uncertain, a.started_at, a.duration_ms, a.first_token_ms,
               q.user_id, a.lane
             FROM (SELECT queue_id, user_id FROM nova3_queues WHERE run_id = $1 AND queue_id > $2
               ORDER BY queue_id LIMIT $3) q
             LEFT JOIN nova3_attempts a ON a.queue_id = q.queue_id
             LEFT JOIN nova3_tasks t ON t.queue_id = a.queue_id AND t.task_index = a.task_index
             ORDER BY q.queue_id, a.fence, a.task_index, a.ticket, a.attempt_no",
            &[run.0.sent(), after.sent(), int(queues).sent()],
        )
        .await?;
    let is_call = |row: &&Row| row.get::<_, Option<i32>>(1).is_some();
    Ok(CallPage {
        after: rows.last().map(|row| row.get(0)),
        rows: rows.iter().filter(is_call).map(ledger_call).collect(),
    })
}

fn ledger_call(row: &Row) -> LedgerCall {
    let cause: Option<&str> = row.get(6);
    let status: Option<i32> = row.get(8);
    let known = |column: usize| {
        row.get::<_, Option<i64>>(column)
            .map(|value| value.max(0).unsigned_abs())
    };
    LedgerCall {
        queue_id: row.get(0),
        task: TaskNo(row.get(1)),
        version: i64::from(row.get::<_, i32>(2)),
        action: row
            .get::<_, Option<PgText>>(3)
            .map(|text| text.0)
            .unwrap_or_default(),
        user_id: row.get(18),
        attempt: Attempt {
            route: row.get::<_, PgText>(4).0,
            model: row.get::<_, PgText>(5).0,
            end: call_end(cause),
            used: row.get(7),
            status_code: status.and_then(|status| u16::try_from(status).ok()),
            usage: tokens(row, 9),
            cost: known(13).map(Cost),
            uncertain: Cost(known(14).unwrap_or_default()),
            started_at: row.get(15),
            duration_ms: known(16).unwrap_or_default(),
            first_token_ms: known(17),
            lane: Lane::of_tier(row.get(19)),
        },
    }
}

/// Reads the four counts of tokens from this column on.
fn tokens(row: &Row, first: usize) -> Usage {
    let number = |column: usize| row.get::<_, i64>(column).max(0).unsigned_abs();
    Usage {
        input_tokens: number(first),
        cached_input_tokens: number(first + 1),
        cache_write_tokens: number(first + 2),
        output_tokens: number(first + 3),
    }
}

fn call(row: &Row) -> RecentCall {
    let tasks: Option<i32> = row.get(3);
    let making: Option<PgText> = row.get(12);
    RecentCall {
        queue_id: row.get(0),
        task: TaskNo(row.get(1)),
        action: row.get::<_, PgText>(2).0,
        tasks: tasks.map(|tasks| u64::from(tasks.max(0).unsigned_abs())),
        route: row.get::<_, PgText>(4).0,
        model: row.get::<_, PgText>(5).0,
        used: row.get(6),
        usage: tokens(row, 7),
        duration_ms: row.get::<_, i64>(11).max(0).unsigned_abs(),
        sizes: sizes(making.as_ref().map(|text| text.0.as_str())),
    }
}

async fn usage(c: &mut Connection, wanted: &UsageQuery) -> Result<Vec<UsageRow>, JobFault> {
    let user = wanted.filter.user.as_deref().map(text);
    let params: Vec<_> = user.iter().map(Param::sent).collect();
    let rows = c.rows(&wanted.statement(), &params).await?;
    let groups = rows.iter().map(|row| group(row, wanted.by.len()));
    Ok(UsageQuery::sorted(groups.collect()))
}

fn group(row: &Row, keys: usize) -> UsageRow {
    let key = |column: usize| match *row.columns()[column].type_() {
        Type::INT8 => UsageQuery::of_number(row.get(column)),
        _ => row.get::<_, Option<PgText>>(column).map(|text| text.0),
    };
    UsageRow {
        keys: (0..keys).map(key).collect(),
        sums: UsageSums::of_columns(std::array::from_fn::<_, SUMS, _>(|place| row.get(keys + place))),
    }
}
