//! The ledger, as an estimate and the bill read it.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::fault::JobFault;
use super::rows::int;
use crate::domain::task::TaskNo;
use crate::domain::usage::Usage;
use crate::postgres::{Connection, Param, PgText, text};
use crate::store::ledger::sizes;
use crate::store::usage::SUMS;
use crate::store::{Ledger, RecentCall, StoreError, UsageQuery, UsageRow, UsageSums};

#[async_trait]
impl Ledger for PostgresStore {
    async fn recent_calls(&self, limit: usize) -> Result<Vec<RecentCall>, StoreError> {
        job!(self, |c| recent(c, limit))
    }

    async fn usage(&self, wanted: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        job!(self, |c| usage(c, wanted))
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

fn call(row: &Row) -> RecentCall {
    let number = |column: usize| row.get::<_, i64>(column).max(0).unsigned_abs();
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
        usage: Usage {
            input_tokens: number(7),
            cached_input_tokens: number(8),
            cache_write_tokens: number(9),
            output_tokens: number(10),
        },
        duration_ms: number(11),
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
