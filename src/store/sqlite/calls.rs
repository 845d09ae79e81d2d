//! The calls of a run, page by page.

use std::collections::HashMap;

use rusqlite::{Connection, Row, params};

use super::fault::JobFault;
use crate::domain::lane::Lane;
use crate::domain::outcome::Attempt;
use crate::domain::task::TaskNo;
use crate::domain::usage::{Cost, Usage};
use crate::store::history::call_end;
use crate::store::{CallPage, LedgerCall, RunId};

pub(super) fn page(c: &Connection, run: RunId, after: i64, queues: usize) -> Result<CallPage, JobFault> {
    let mut users = c.prepare_cached(
        "SELECT queue_id, user_id FROM nova3_queues WHERE run_id=?1 AND queue_id>?2 ORDER BY queue_id LIMIT ?3",
    )?;
    let users: HashMap<i64, String> = users
        .query_map(params![run.0, after, queues], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let Some(&last) = users.keys().max() else {
        return Ok(CallPage {
            rows: Vec::new(),
            after: None,
        });
    };
    let mut query = c.prepare_cached(
        "SELECT a.queue_id, a.task_index, a.version, CASE WHEN a.task_index<0 THEN 'supervisor' ELSE t.action END, a.route,
           a.model, a.error_class, a.used, a.status_code, a.input_tokens, a.cached_input_tokens, a.cache_write_tokens,
           a.output_tokens, a.cost, a.uncertain, a.started_at, a.duration_ms, a.first_token_ms, a.lane
         FROM nova3_attempts a LEFT JOIN nova3_tasks t ON t.queue_id=a.queue_id AND t.task_index=a.task_index
         WHERE a.run_id=?1 AND a.queue_id>?2 AND a.queue_id<=?3 ORDER BY a.queue_id, a.attempt_id",
    )?;
    let mut found = query.query(params![run.0, after, last])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let queue_id = row.get(0)?;
        if let Some(user_id) = users.get(&queue_id) {
            rows.push(call(row, queue_id, user_id)?);
        }
    }
    Ok(CallPage {
        rows,
        after: Some(last),
    })
}

fn call(row: &Row<'_>, queue_id: i64, user_id: &str) -> rusqlite::Result<LedgerCall> {
    let cause = row.get_ref(6)?.as_str_or_null()?;
    let cost: Option<u64> = row.get(13)?;
    let action: Option<String> = row.get(3)?;
    Ok(LedgerCall {
        queue_id,
        task: TaskNo(row.get(1)?),
        version: row.get(2)?,
        action: action.unwrap_or_default(),
        user_id: user_id.to_owned(),
        attempt: Attempt {
            route: row.get(4)?,
            model: row.get(5)?,
            end: call_end(cause),
            used: row.get(7)?,
            status_code: row.get(8)?,
            usage: Usage {
                input_tokens: row.get(9)?,
                cached_input_tokens: row.get(10)?,
                cache_write_tokens: row.get(11)?,
                output_tokens: row.get(12)?,
            },
            cost: cost.map(Cost),
            uncertain: Cost(row.get(14)?),
            started_at: row.get(15)?,
            duration_ms: row.get(16)?,
            first_token_ms: row.get(17)?,
            lane: Lane::of_tier(Some(&row.get::<_, String>(18)?)),
        },
    })
}
