//! The tasks of a queue as a graph: the tasks that a settlement unblocks, and the task that gets the lease.

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::JobFault;
use super::redo::last_version;
use crate::domain::state::{TaskStatus, TaskTransition};
use crate::domain::task::{TaskKind, TaskNo};
use crate::store::NewPart;

/// A lease as the row of its task holds it.
pub(super) struct LeaseColumns<'a> {
    pub(super) queue_id: i64,
    pub(super) fence: i64,
    pub(super) owner: &'a str,
    pub(super) until: i64,
    pub(super) group: i64,
}

/// Returns the state of a task after an event, by the table in `domain`.
pub(super) fn after(status: TaskStatus, event: TaskTransition) -> Result<TaskStatus, JobFault> {
    status
        .after(event)
        .ok_or_else(|| JobFault::Row(format!("a task that is `{status}` cannot be `{event:?}`")))
}

/// Lowers `unmet` of the tasks that need this one. Returns those that need no other task now. They are still pending.
fn met(c: &Connection, queue_id: i64, settled: TaskNo) -> Result<Vec<TaskNo>, JobFault> {
    let mut update = c.prepare_cached(
        "UPDATE nova3_tasks SET unmet=unmet-1
         WHERE queue_id=?1 AND status='pending' AND unmet>0 AND EXISTS(SELECT 1 FROM json_each(needs) WHERE value=?2)
         RETURNING task_index, unmet",
    )?;
    let rows = update.query_map(params![queue_id, settled.0], |row| {
        Ok((TaskNo(row.get(0)?), row.get::<_, i64>(1)?))
    })?;
    let mut met = Vec::new();
    for row in rows {
        let (task, unmet) = row?;
        if unmet == 0 {
            met.push(task);
        }
    }
    met.sort();
    Ok(met)
}

/// Makes the tasks ready that needed only this one. Returns how many.
pub(super) fn let_go_on(c: &Connection, queue_id: i64, settled: TaskNo) -> Result<usize, JobFault> {
    let met = met(c, queue_id, settled)?;
    for task in &met {
        set_ready(c, queue_id, *task)?;
    }
    Ok(met.len())
}

/// Hands the lease on to the first task that needed only this one, and makes the others ready. Returns the task that
/// has the lease, and how many are ready. One statement does both for a chain, which is the common case.
pub(super) fn hand_on(
    c: &Connection,
    held: &LeaseColumns<'_>,
    settled: TaskNo,
) -> Result<(Option<TaskNo>, usize), JobFault> {
    let leased = after(TaskStatus::Pending, TaskTransition::HandedOn)?;
    let mut update = c.prepare_cached(
        "UPDATE nova3_tasks SET unmet=unmet-1, status=CASE WHEN unmet=1 THEN ?3 ELSE status END,
           fence=CASE WHEN unmet=1 THEN ?4 ELSE fence END, lease_owner=CASE WHEN unmet=1 THEN ?5 END,
           lease_until=CASE WHEN unmet=1 THEN ?6 END, lease_group=CASE WHEN unmet=1 THEN ?7 ELSE 0 END,
           attempt=attempt+(unmet=1), working=(unmet=1 AND crashes>0)
         WHERE queue_id=?1 AND status='pending' AND unmet>0 AND EXISTS(SELECT 1 FROM json_each(needs) WHERE value=?2)
         RETURNING task_index, unmet",
    )?;
    let params = params![
        held.queue_id,
        settled.0,
        leased.as_str(),
        held.fence,
        held.owner,
        held.until,
        held.group
    ];
    let mut met = Vec::new();
    {
        let mut rows = update.query(params)?;
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(1)? == 0 {
                met.push(TaskNo(row.get(0)?));
            }
        }
    }
    met.sort();
    for other in met.iter().skip(1) {
        give_up(c, held.queue_id, *other)?;
    }
    Ok((met.first().copied(), met.len().saturating_sub(1)))
}

/// Makes a task ready that was leased in this transaction.
fn give_up(c: &Connection, queue_id: i64, task: TaskNo) -> Result<(), JobFault> {
    let ready = after(TaskStatus::Leased, TaskTransition::Released)?;
    c.prepare_cached(
        "UPDATE nova3_tasks SET status=?3, lease_owner=NULL, lease_until=NULL, lease_group=0, attempt=attempt-1, working=0
         WHERE queue_id=?1 AND task_index=?2",
    )?
    .execute(params![queue_id, task.0, ready.as_str()])?;
    Ok(())
}

/// Hands the lease on to a ready subtask of the queue, if one may be leased. Returns the subtask.
pub(super) fn hand_on_to_subtask(
    c: &Connection,
    held: &LeaseColumns<'_>,
) -> Result<Option<TaskNo>, JobFault> {
    let part: Option<i32> = c
        .prepare_cached(
            "SELECT task_index FROM nova3_tasks WHERE queue_id=?1 AND task_index>=?2 AND status='ready' AND quarantine=0
               AND wake_at=0 ORDER BY task_index LIMIT 1",
        )?
        .query_row(params![held.queue_id, TaskNo::PLANNED_END], |row| row.get(0))
        .optional()?;
    let part = part.map(TaskNo);
    if let Some(part) = part {
        lease(c, held, part, TaskStatus::Ready)?;
    }
    Ok(part)
}

/// Skips the pending tasks that need this failed one, directly or through others.
pub(super) fn skip_behind(c: &Connection, queue_id: i64, failed: TaskNo) -> Result<(), JobFault> {
    let skipped = after(TaskStatus::Pending, TaskTransition::Skipped)?;
    let mut query = c.prepare_cached(
        "SELECT task_index FROM nova3_tasks WHERE queue_id=?1 AND task_index<?3 AND status='pending'
           AND EXISTS(SELECT 1 FROM json_each(needs) WHERE value=?2)",
    )?;
    let mut update =
        c.prepare_cached("UPDATE nova3_tasks SET status=?3 WHERE queue_id=?1 AND task_index=?2")?;
    let mut behind = vec![failed.0];
    while let Some(task) = behind.pop() {
        let found = query.query_map(params![queue_id, task, TaskNo::PLANNED_END], |row| row.get(0))?;
        for needing in found.collect::<Result<Vec<i32>, _>>()? {
            update.execute(params![queue_id, needing, skipped.as_str()])?;
            behind.push(needing);
        }
    }
    Ok(())
}

/// Makes the tasks of a paused queue ready that need no unsettled task. Returns how many.
pub(super) fn free_paused(c: &Connection, queue_id: i64) -> Result<usize, JobFault> {
    let ready = after(TaskStatus::Pending, TaskTransition::Met)?;
    c.prepare_cached(
        "UPDATE nova3_tasks SET unmet=(SELECT count(*) FROM json_each(nova3_tasks.needs) n JOIN nova3_tasks k
           ON k.queue_id=?1 AND k.task_index=n.value WHERE k.status='pending')
         WHERE queue_id=?1 AND status='pending'",
    )?
    .execute([queue_id])?;
    Ok(c.prepare_cached(
        "UPDATE nova3_tasks SET status=?2 WHERE queue_id=?1 AND status='pending' AND unmet=0",
    )?
    .execute(params![queue_id, ready.as_str()])?)
}

fn set_ready(c: &Connection, queue_id: i64, task: TaskNo) -> Result<(), JobFault> {
    let ready = after(TaskStatus::Pending, TaskTransition::Met)?;
    c.prepare_cached("UPDATE nova3_tasks SET status=?3 WHERE queue_id=?1 AND task_index=?2")?
        .execute(params![queue_id, task.0, ready.as_str()])?;
    Ok(())
}

/// Leases a task that was in state `from` under the given lease.
pub(super) fn lease(
    c: &Connection,
    held: &LeaseColumns<'_>,
    task: TaskNo,
    from: TaskStatus,
) -> Result<(), JobFault> {
    let event = match from {
        TaskStatus::Ready => TaskTransition::Claimed,
        _ => TaskTransition::HandedOn,
    };
    let leased = after(from, event)?;
    c.prepare_cached(
        "UPDATE nova3_tasks SET status=?3, fence=?4, lease_owner=?5, lease_until=?6, lease_group=?7, attempt=attempt+1,
           working=(crashes>0)
         WHERE queue_id=?1 AND task_index=?2",
    )?
    .execute(params![
        held.queue_id,
        task.0,
        leased.as_str(),
        held.fence,
        held.owner,
        held.until,
        held.group
    ])?;
    Ok(())
}

/// Adds the search as a ready task. The planned task waits for it.
pub(super) fn search(c: &Connection, queue_id: i64, task: TaskNo, now: i64) -> Result<(), JobFault> {
    let Some(index) = task.index().filter(|_| !task.is_subtask()) else {
        return Err(JobFault::Row(format!("{task} cannot have a search")));
    };
    let search = TaskNo::search(index);
    let pending = after(TaskStatus::Leased, TaskTransition::FannedOut)?;
    let action: String = c
        .prepare_cached(
            "UPDATE nova3_tasks SET status=?3, needs=json_insert(needs, '$[#]', ?4), unmet=1, attempt=attempt-1, working=0, crashes=0, lease_group=0,
               lease_owner=NULL, lease_until=NULL
             WHERE queue_id=?1 AND task_index=?2 RETURNING action",
        )?
        .query_row(
            params![queue_id, task.0, pending.as_str(), search.0],
            |row| row.get(0),
        )?;
    c.prepare_cached(
        "INSERT INTO nova3_tasks(queue_id, task_index, task_id, kind, action, input, status, created_at, version)
         VALUES(?1,?2,?3,?4,?5,'','ready',?6,?7)",
    )?
    .execute(params![
        queue_id,
        search.0,
        search.to_string(),
        TaskKind::Search.as_str(),
        action,
        now,
        1 + last_version(c, queue_id, search.0)?
    ])?;
    Ok(())
}

/// Adds the parts as ready tasks. The task becomes a join that waits for them.
pub(super) fn fan_out(
    c: &Connection,
    queue_id: i64,
    task: TaskNo,
    parts: &[NewPart],
    now: i64,
) -> Result<(), JobFault> {
    let Some(index) = task
        .index()
        .filter(|_| !task.is_subtask() && (1..=TaskNo::MOST_PARTS).contains(&parts.len()))
    else {
        return Err(JobFault::Row(format!("{task} cannot have {} parts", parts.len())));
    };
    let numbers: Vec<i32> = (1..=parts.len())
        .map(|part| TaskNo::part(index, part).0)
        .collect();
    let pending = after(TaskStatus::Leased, TaskTransition::FannedOut)?;
    let action: String = c
        .prepare_cached(
            "UPDATE nova3_tasks SET kind='join', status=?3,
               needs=(SELECT json_group_array(value) FROM (
                 SELECT value FROM json_each(nova3_tasks.needs) UNION ALL SELECT value FROM json_each(?4))), unmet=?5, attempt=attempt-1, working=0, crashes=0,
               lease_group=0, lease_owner=NULL, lease_until=NULL
             WHERE queue_id=?1 AND task_index=?2 RETURNING action",
        )?
        .query_row(
            params![
                queue_id,
                task.0,
                pending.as_str(),
                serde_json::to_string(&numbers)?,
                parts.len()
            ],
            |row| row.get(0),
        )?;
    let mut insert = c.prepare_cached(
        "INSERT INTO nova3_tasks(queue_id, task_index, task_id, action, description, input, subject, status, created_at, version)
         VALUES(?1,?2,?3,?4,?5,?6,?7,'ready',?8,?9)",
    )?;
    for (number, part) in numbers.into_iter().zip(parts) {
        insert.execute(params![
            queue_id,
            number,
            TaskNo(number).to_string(),
            action,
            part.description,
            part.input,
            part.subject,
            now,
            1 + last_version(c, queue_id, number)?
        ])?;
    }
    Ok(())
}
