//! The context of a task: earlier results, items of the session, its last rounds.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::JobFault;
use crate::domain::failure::Failure;
use crate::domain::references::ItemId;
use crate::domain::task::TaskNo;
use crate::domain::task_search::TaskSearch;
use crate::failpoint::sql;
use crate::store::items::{items, outcome, own, search_outcome};
use crate::store::keys::COMPLETION;
use crate::store::rounds::{CHAIN, RoundRow};
use crate::store::{Earlier, Material, Part, PartOutcome, StoredItem, Wanted};

/// Returns the material without its rounds, and the rounds as rows.
pub(super) fn context(c: &Connection, wanted: &Wanted) -> Result<(Material, Vec<RoundRow>), JobFault> {
    let chain = wanted.queue_id.map_or(Ok(Vec::new()), |queue| chain(c, queue))?;
    let mut material = Material::default();
    for queue in chain
        .iter()
        .skip(usize::from(failpoint!("results-not-handed-on")))
        .rev()
    {
        earlier(c, *queue, Some(*queue) == wanted.queue_id, &mut material.earlier)?;
    }
    let Some(session) = &wanted.session else {
        material.items = own(&material.earlier, &wanted.items);
        return Ok((material, Vec::new()));
    };
    let (user, session) = (wanted.user.as_str(), session.as_str());
    for id in &wanted.items {
        let Some((item, is_replaced)) = item(c, user, session, id)? else {
            continue;
        };
        if is_replaced {
            material.replaced.push(item.id.clone());
        }
        material.items.push(item);
    }
    let rounds = rounds(c, user, session, (&chain, wanted.queue_id), wanted.rounds)?;
    Ok((material, rounds))
}

/// Returns the queue and the queues whose pending tasks it took over, the nearest first.
fn chain(c: &Connection, queue_id: i64) -> Result<Vec<i64>, JobFault> {
    let mut chain = vec![queue_id];
    let mut query = c.prepare_cached("SELECT continues FROM nova3_plans WHERE queue_id=?1")?;
    while chain.len() < CHAIN {
        let last = chain.last().copied().unwrap_or(queue_id);
        let next: Option<Option<i64>> = query.query_row([last], |row| row.get(0)).optional()?;
        match next.flatten() {
            Some(next) if !chain.contains(&next) => chain.push(next),
            _ => break,
        }
    }
    Ok(chain)
}

fn earlier(c: &Connection, queue_id: i64, own: bool, found: &mut Vec<Earlier>) -> Result<(), JobFault> {
    let mut query = c.prepare_cached(
        "SELECT task_id, action, result FROM nova3_tasks WHERE queue_id=?1 AND status='completed'
           AND task_index>=0 AND task_index<?2 ORDER BY task_index",
    )?;
    let mut rows = query.query(params![queue_id, TaskNo::PLANNED_END])?;
    while let Some(row) = rows.next()? {
        let result: Option<String> = row.get(2)?;
        found.push(Earlier {
            task_id: row.get(0)?,
            action: row.get(1)?,
            items: items(result.as_deref().unwrap_or("[]")),
            own,
        });
    }
    Ok(())
}

/// Returns an item of the session, and whether a redo replaced it.
fn item(c: &Connection, user: &str, session: &str, id: &str) -> Result<Option<(StoredItem, bool)>, JobFault> {
    let Some(parsed) = ItemId::parse(id) else {
        return Ok(None);
    };
    let number = i64::try_from(parsed.number).unwrap_or(i64::MAX);
    let found: Option<(String, bool)> = c
        .prepare_cached(
            "SELECT i.body, EXISTS(SELECT 1 FROM nova3_tasks t WHERE t.queue_id=i.queue_id AND t.task_index=i.task_index
               AND t.version<>i.version AND t.status='completed')
             FROM nova3_items i WHERE i.user_id=?1 AND i.session_id=?2 AND i.kind=?3 AND i.number=?4",
        )?
        .query_row(params![user, session, parsed.kind, number], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((body, is_replaced)) = found else {
        return Ok(None);
    };
    let item = StoredItem {
        id: id.to_owned(),
        body: serde_json::from_str(&body)?,
    };
    Ok(Some((item, is_replaced)))
}

/// Returns the last rounds of the session, oldest first. Rounds of the queues in `besides` are marked and do not count
/// towards `limit`. A queue that has a round of its own gets only the rounds before it.
pub(super) fn rounds(
    c: &Connection,
    user: &str,
    session: &str,
    (besides, before): (&[i64], Option<i64>),
    limit: usize,
) -> Result<Vec<RoundRow>, JobFault> {
    let mut query = c.prepare_cached(&sql(
        "SELECT q.queue_id, q.round, n.name, q.custom_id,
           coalesce(q.status, (SELECT d.status FROM nova3_redos d WHERE d.queue_id=q.queue_id)), r.request, q.completed_at FROM nova3_queues q
         JOIN nova3_runs n USING(run_id) LEFT JOIN nova3_requests r USING(queue_id)
         WHERE q.user_id=?1 AND q.round IS NOT NULL AND q.state<>'superseded'
         AND q.session_id=?2 -- unless failpoint rounds-of-others
         -- if failpoint rounds-of-others: AND q.session_id IS NOT ?2
         AND q.round<coalesce((SELECT o.round FROM nova3_queues o WHERE o.queue_id=?4), 9223372036854775807)
         ORDER BY q.round DESC LIMIT ?3",
    ))?;
    let mut rows = query.query(params![
        user,
        session,
        limit.saturating_add(besides.len()),
        before
    ])?;
    let mut rounds = Vec::new();
    let mut told = 0;
    while let Some(row) = rows.next()? {
        let own = besides.contains(&row.get(0)?);
        if own || told < limit {
            told += usize::from(!own);
            rounds.push(round(c, row, own)?);
        }
    }
    rounds.reverse();
    Ok(rounds)
}

/// Reads a round. The response to a Batch line has no items, so it is not read.
fn round(c: &Connection, row: &Row<'_>, own: bool) -> Result<RoundRow, JobFault> {
    let queue_id: i64 = row.get(0)?;
    let now = last_result(
        c,
        queue_id,
        "SELECT task_index, CASE WHEN action<>?2 THEN result END FROM nova3_tasks WHERE queue_id=?1 AND status='completed'
         AND task_index>=0 AND task_index<?3 ORDER BY task_index DESC LIMIT 1",
    )?;
    // The earlier result of a task that is being redone.
    let earlier = last_result(
        c,
        queue_id,
        "SELECT task_index, CASE WHEN action<>?2 THEN result END FROM nova3_task_versions
         WHERE queue_id=?1 AND status='completed' AND shown AND task_index>=0 AND task_index<?3
         ORDER BY task_index DESC, version DESC LIMIT 1",
    )?;
    let output = now.max(earlier).and_then(|(_, result)| result);
    Ok(RoundRow {
        number: row.get(1)?,
        run: row.get(2)?,
        custom_id: row.get(3)?,
        status: row.get(4)?,
        request: row.get(5)?,
        output: items(output.as_deref().unwrap_or("[]")),
        completed_at: row.get(6)?,
        own,
    })
}

/// Returns the number of the last completed planned task, and its items.
fn last_result(c: &Connection, queue_id: i64, sql: &str) -> Result<Option<(i32, Option<String>)>, JobFault> {
    let found = c
        .prepare_cached(sql)?
        .query_row(params![queue_id, COMPLETION, TaskNo::PLANNED_END], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(found)
}

/// Returns the outcomes of the settled parts of a planned task, in their order.
pub(super) fn parts(c: &Connection, queue_id: i64, task: usize) -> Result<Vec<PartOutcome>, JobFault> {
    let (first, last) = TaskNo::parts_of(task);
    let mut query = c.prepare_cached(
        "SELECT task_index, subject, input, result, error FROM nova3_tasks
         WHERE queue_id=?1 AND task_index BETWEEN ?2 AND ?3 AND status IN('completed','failed') ORDER BY task_index",
    )?;
    let mut rows = query.query(params![queue_id, first, last])?;
    let mut parts = Vec::new();
    while let Some(row) = rows.next()? {
        let part = Part {
            no: TaskNo(row.get(0)?),
            subject: row.get(1)?,
            input: row.get(2)?,
        };
        let (result, error): (Option<String>, Option<String>) = (row.get(3)?, row.get(4)?);
        parts.push(outcome(part, result.as_deref(), error.as_deref())?);
    }
    Ok(parts)
}

/// Returns the result of a planned task's search, or its failure.
pub(super) fn task_search(
    c: &Connection,
    queue_id: i64,
    task: usize,
) -> Result<Option<Result<TaskSearch, Failure>>, JobFault> {
    let row: Option<(Option<String>, Option<String>)> = c
        .prepare_cached(
            "SELECT result, error FROM nova3_tasks
             WHERE queue_id=?1 AND task_index=?2 AND status IN('completed','failed')",
        )?
        .query_row(params![queue_id, TaskNo::search(task).0], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let outcome = row.map(|(result, error)| search_outcome(result.as_deref(), error.as_deref()));
    Ok(outcome.transpose()?)
}
