//! The ledger of calls, and the number counters of a run.

use async_trait::async_trait;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::fault::JobFault;
use super::money;
use crate::domain::outcome::Attempt;
use crate::domain::tally::RunSummary;
use crate::domain::task::TaskNo;
use crate::domain::usage::{Cost, Usage};
use crate::store::ledger::sizes;
use crate::store::usage::SUMS;
use crate::store::{CallPage, Lease, Ledger, RecentCall, RunId, StoreError, UsageQuery, UsageRow, UsageSums};

#[async_trait]
impl Ledger for SqliteStore {
    async fn recent_calls(&self, limit: usize) -> Result<Vec<RecentCall>, StoreError> {
        self.read(move |c| recent(c, limit)).await
    }

    async fn usage(&self, wanted: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        let wanted = wanted.clone();
        self.read(move |c| usage(c, &wanted)).await
    }

    async fn calls(&self, run: RunId, after: i64, queues: usize) -> Result<CallPage, StoreError> {
        self.read(move |c| super::calls::page(c, run, after, queues))
            .await
    }
}

/// The calls that were made for a task under a lease.
pub(super) struct Spent<'a> {
    pub(super) lease: Lease,
    pub(super) task: TaskNo,
    /// The version of the task. `None`: the current one.
    pub(super) version: Option<i64>,
    pub(super) attempts: &'a [Attempt],
    /// Whether the answer of the last call is the result.
    pub(super) completed: bool,
}

/// The effect of a settlement on the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// The calls are written without a settlement: the lease was lost or is released.
    Nothing,
    /// A part is settled, which has no event.
    Part,
    /// The queue continues.
    Step,
    /// The queue ends.
    End,
}

/// The run's last finish and event numbers after a settlement. They belong to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastNumbers {
    pub(super) finish_no: i64,
    pub(super) event_no: i64,
}

/// Writes calls without a settlement, or whose settlement came too late. They cost money all the same.
pub(super) fn without_settlement(c: &Connection, spent: &Spent<'_>) -> Result<(), JobFault> {
    let run: Option<i64> = c
        .prepare_cached("SELECT run_id FROM nova3_queues WHERE queue_id=?1")?
        .query_row([spent.lease.queue_id], |row| row.get(0))
        .optional()?;
    match run {
        Some(run) => write(c, spent, run, Use::Nothing).map(drop),
        None => Ok(()),
    }
}

/// Writes every call to the ledger, also one whose answer came too late, because it cost money. The finish number
/// belongs to the settlement if it ends its queue.
pub(super) fn write(
    c: &Connection,
    spent: &Spent<'_>,
    run: i64,
    becomes: Use,
) -> Result<LastNumbers, JobFault> {
    let completed = becomes != Use::Nothing && spent.completed;
    let mut sums = RunSummary::default();
    let booked = if failpoint!("failed-calls-unbooked") {
        spent.attempts.len().saturating_sub(1)
    } else {
        0
    };
    for attempt in spent.attempts.iter().skip(booked) {
        let used = completed && attempt.used && attempt.end.is_good();
        write_attempt(c, spent, run, attempt, used)?;
        if !used {
            money::note_waste(c, run, attempt)?;
        }
        let cost = attempt.cost.unwrap_or(Cost::ZERO);
        sums.attempts += 1;
        sums.failed_attempts += u64::from(!attempt.end.is_good());
        sums.unpriced += u64::from(attempt.cost.is_none());
        sums.usage = sums.usage.plus(attempt.usage);
        sums.cost = sums.cost.plus(cost);
        sums.uncertain = sums.uncertain.plus(attempt.uncertain);
        sums.wasted = sums.wasted.plus(if used { Cost::ZERO } else { cost });
    }
    // The cost of these calls is known now, so their reservation is released.
    sums.reserved = money::take_back(c, spent.lease)?;
    book(c, run, &sums, becomes)
}

fn write_attempt(
    c: &Connection,
    spent: &Spent<'_>,
    run: i64,
    attempt: &Attempt,
    used: bool,
) -> Result<(), JobFault> {
    let usage = attempt.usage;
    c.prepare_cached(
        "INSERT INTO nova3_attempts(run_id, queue_id, task_index, version, fence, route, model, error_class, used, status_code,
           input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, cost, started_at, duration_ms, first_token_ms,
           uncertain, lane)
         VALUES(?1,?2,?3,coalesce(?19,(SELECT version FROM nova3_tasks WHERE queue_id=?2 AND task_index=?3),1),?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?20)",
    )?
    .execute(params![
        run,
        spent.lease.queue_id,
        spent.task.0,
        spent.lease.fence,
        attempt.route,
        attempt.model,
        attempt.end.cause(),
        used,
        attempt.status_code,
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        attempt.cost.map(|cost| cost.0),
        attempt.started_at,
        attempt.duration_ms,
        attempt.first_token_ms,
        attempt.uncertain.0,
        spent.version,
        attempt.lane.as_str(),
    ])?;
    Ok(())
}

/// Updates the run's sums and its last numbers in one write. `sums.reserved` is the amount that is released. Numbers
/// grow in commit order, because one connection writes, and none is given twice.
fn book(c: &Connection, run: i64, sums: &RunSummary, becomes: Use) -> Result<LastNumbers, JobFault> {
    Ok(c.prepare_cached(
        "UPDATE nova3_runs SET attempts=attempts+?2, failed_attempts=failed_attempts+?3, unpriced_attempts=unpriced_attempts+?4,
           input_tokens=input_tokens+?5, cached_input_tokens=cached_input_tokens+?6, output_tokens=output_tokens+?7,
           cost=min(cost+?8,?15), wasted=min(wasted+?9,?15), next_finish_no=next_finish_no+?10,
           next_event_no=next_event_no+?11, uncertain=min(uncertain+?12,?15), reserved=max(reserved-?13,0),
           cache_write_tokens=cache_write_tokens+?14
         WHERE run_id=?1 RETURNING next_finish_no, next_event_no",
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
            matches!(becomes, Use::Step | Use::End),
            sums.uncertain.0,
            sums.reserved.0,
            sums.usage.cache_write_tokens,
            Cost::MOST.0,
        ],
        |row| {
            Ok(LastNumbers {
                finish_no: row.get(0)?,
                event_no: row.get(1)?,
            })
        },
    )?)
}

/// Draws the numbers of a bad line, which is finished when it is stored.
pub(super) fn next(c: &Connection, run: i64) -> Result<LastNumbers, JobFault> {
    book(c, run, &RunSummary::default(), Use::End)
}

/// Returns the calls that were written last. The inner query ends after `limit` rows of the ledger.
pub(super) fn recent(c: &Connection, limit: usize) -> Result<Vec<RecentCall>, JobFault> {
    let mut query = c.prepare_cached(
        "SELECT a.queue_id, a.task_index, CASE WHEN a.task_index<0 THEN 'supervisor' ELSE t.action END, q.task_count, a.route,
           a.model, a.used, a.input_tokens, a.cached_input_tokens, a.cache_write_tokens, a.output_tokens, a.duration_ms,
           CASE WHEN a.task_index<0 THEN p.making ELSE t.making END
         FROM (SELECT * FROM nova3_attempts ORDER BY attempt_id DESC LIMIT ?1) a
         JOIN nova3_queues q ON q.queue_id=a.queue_id
         LEFT JOIN nova3_tasks t ON t.queue_id=a.queue_id AND t.task_index=a.task_index
         LEFT JOIN nova3_plans p ON p.queue_id=a.queue_id
         WHERE a.task_index<0 OR t.action IS NOT NULL
         ORDER BY a.queue_id DESC, a.attempt_id DESC",
    )?;
    let rows = query.query_map([limit], call)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn call(row: &Row<'_>) -> rusqlite::Result<RecentCall> {
    let making: Option<String> = row.get(12)?;
    Ok(RecentCall {
        queue_id: row.get(0)?,
        task: TaskNo(row.get(1)?),
        action: row.get(2)?,
        tasks: row.get(3)?,
        route: row.get(4)?,
        model: row.get(5)?,
        used: row.get(6)?,
        usage: Usage {
            input_tokens: row.get(7)?,
            cached_input_tokens: row.get(8)?,
            cache_write_tokens: row.get(9)?,
            output_tokens: row.get(10)?,
        },
        duration_ms: row.get(11)?,
        sizes: sizes(making.as_deref()),
    })
}

fn usage(c: &Connection, wanted: &UsageQuery) -> Result<Vec<UsageRow>, JobFault> {
    let mut query = c.prepare(&wanted.statement())?;
    let mut rows = match &wanted.filter.user {
        Some(user) => query.query([user])?,
        None => query.query([])?,
    };
    let mut groups = Vec::new();
    while let Some(row) = rows.next()? {
        groups.push(group(row, wanted.by.len())?);
    }
    Ok(UsageQuery::sorted(groups))
}

fn group(row: &Row<'_>, keys: usize) -> rusqlite::Result<UsageRow> {
    let key = |column: usize| match row.get_ref(column)? {
        ValueRef::Integer(number) => Ok(UsageQuery::of_number(number)),
        _ => row.get(column),
    };
    let mut sums = [0; SUMS];
    for (place, sum) in sums.iter_mut().enumerate() {
        *sum = row.get(keys + place)?;
    }
    Ok(UsageRow {
        keys: (0..keys).map(key).collect::<rusqlite::Result<_>>()?,
        sums: UsageSums::of_columns(sums),
    })
}
