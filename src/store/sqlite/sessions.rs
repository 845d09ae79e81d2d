//! The order inside a session, and the numbers of its items.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value};

use super::fault::JobFault;
use crate::domain::outcome::NewItem;
use crate::domain::state::{QueueEvent, QueueState};
use crate::domain::task::TaskNo;
use crate::store::items::readable;

/// Whether a queue of the session is open in this run.
pub(super) fn has_open(c: &Connection, run: i64, user: &str, session: &str) -> Result<bool, JobFault> {
    let found = c
        .prepare_cached(
            "SELECT 1 FROM nova3_queues WHERE run_id=?1 AND user_id=?2 AND session_id=?3
               AND session_id IS NOT NULL AND state='open' LIMIT 1",
        )?
        .query_row(params![run, user, session], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// Opens the session's earliest waiting queue, unless one is open. An open queue without leases gives way to an earlier
/// one that came back after a retry or after an undone edit.
pub(super) fn promote(
    c: &Connection,
    run: i64,
    ingest: i64,
    user: &str,
    session: &str,
) -> Result<(), JobFault> {
    let waiting: Option<(i64, i64)> = c
        .prepare_cached(
            "SELECT queue_id, seq FROM nova3_queues WHERE run_id=?1 AND user_id=?3 AND session_id=?4
               AND state='blocked' AND ingest=?2 ORDER BY seq LIMIT 1",
        )?
        .query_row(params![run, ingest, user, session], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((first, seq)) = waiting else {
        return Ok(());
    };
    let live: Option<(i64, i64, bool)> = c
        .prepare_cached(
            "SELECT queue_id, seq, leased+submitted>0 FROM nova3_queues WHERE run_id=?1 AND user_id=?2 AND session_id=?3
               AND session_id IS NOT NULL AND state='open'",
        )?
        .query_row(params![run, user, session], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    match live {
        Some((_, other, is_held)) if is_held || other < seq => return Ok(()),
        Some((later, _, _)) => hold_back(c, later)?,
        None => {}
    }
    let open = super::legal(QueueState::Blocked.after(QueueEvent::Promoted))?;
    c.prepare_cached("UPDATE nova3_queues SET state=?2 WHERE queue_id=?1")?
        .execute(params![first, open.as_str()])?;
    Ok(())
}

/// Blocks the queue again, unless a worker or an outside job works on it.
pub(super) fn hold_back(c: &Connection, queue_id: i64) -> Result<(), JobFault> {
    let state = super::legal(QueueState::Open.after(QueueEvent::HeldBack))?;
    let held_back = c
        .prepare_cached(
            "UPDATE nova3_queues SET state=?2 WHERE queue_id=?1 AND state='open' AND leased=0 AND submitted=0",
        )?
        .execute(params![queue_id, state.as_str()])?;
    if held_back > 0 {
        c.prepare_cached(
            "DELETE FROM nova3_session_leases WHERE queue_id=?1 AND (user_id, session_id)=(
               SELECT user_id, session_id FROM nova3_queues WHERE queue_id=?1)",
        )?
        .execute([queue_id])?;
    }
    Ok(())
}

/// Makes this queue the only one of the session whose tasks may be leased.
pub(super) fn lease(c: &Connection, queue_id: i64, user: &str, session: &str) -> Result<(), JobFault> {
    c.prepare_cached(
        "INSERT INTO nova3_session_leases(user_id, session_id, queue_id) VALUES(?1,?2,?3)
         ON CONFLICT DO UPDATE SET queue_id=excluded.queue_id WHERE queue_id<>excluded.queue_id",
    )?
    .execute(params![user, session, queue_id])?;
    Ok(())
}

/// Ends the queue's hold on the session.
pub(super) fn end_lease(c: &Connection, queue_id: i64, user: &str, session: &str) -> Result<(), JobFault> {
    c.prepare_cached("DELETE FROM nova3_session_leases WHERE user_id=?1 AND session_id=?2 AND queue_id=?3")?
        .execute(params![user, session, queue_id])?;
    Ok(())
}

/// Blocks queues that an ended reading has not seen, and promotes the next queues of their sessions. The end of a
/// reading changes no other session: each method that ends or adds a queue promotes in its session.
pub(super) fn hold_back_unseen(c: &Connection, run: i64, ingest: i64) -> Result<(), JobFault> {
    let mut query = c.prepare_cached(
        "SELECT user_id, session_id FROM nova3_queues WHERE run_id=?1 AND state='open' AND ready>0 AND ingest<?2
           AND leased=0 AND submitted=0 AND session_id IS NOT NULL
         UNION SELECT user_id, session_id FROM nova3_queues WHERE run_id=?1 AND state='open' AND ready=0 AND leased=0
           AND ingest<?2 AND submitted=0 AND session_id IS NOT NULL",
    )?;
    let held_up = query
        .query_map(params![run, ingest], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<Vec<(String, String)>, _>>()?;
    let blocked = super::legal(QueueState::Open.after(QueueEvent::HeldBack))?;
    for ready in ["ready>0 AND leased=0", "ready=0 AND leased=0"] {
        c.execute(
            &format!(
                "UPDATE nova3_queues SET state=?3 WHERE run_id=?1 AND ingest<?2 AND state='open' AND {ready} AND submitted=0"
            ),
            params![run, ingest, blocked.as_str()],
        )?;
    }
    for (user, session) in held_up {
        c.prepare_cached(
            "DELETE FROM nova3_session_leases WHERE user_id=?1 AND session_id=?2
               AND queue_id IN(SELECT queue_id FROM nova3_queues WHERE run_id=?3 AND state='blocked')",
        )?
        .execute(params![user, session, run])?;
        promote(c, run, ingest, &user, &session)?;
    }
    Ok(())
}

/// Makes the finished queue the session's next round. A redone queue keeps its round.
pub(super) fn note_round(c: &Connection, queue_id: i64, user: &str, session: &str) -> Result<(), JobFault> {
    c.prepare_cached(
        "UPDATE nova3_queues SET round=1+coalesce((SELECT max(round) FROM nova3_queues
           WHERE user_id=?2 AND session_id=?3 AND round IS NOT NULL), 0) WHERE queue_id=?1 AND round IS NULL",
    )?
    .execute(params![queue_id, user, session])?;
    Ok(())
}

/// The owner of new items: a session, or a request without one.
pub(super) struct ItemOwner<'a> {
    pub(super) user: &'a str,
    pub(super) session: Option<&'a str>,
    pub(super) queue_id: i64,
    pub(super) task: TaskNo,
    pub(super) version: i64,
    /// Whether its queue has no other planned task.
    pub(super) is_only_task: bool,
    pub(super) now: i64,
}

/// Numbers the items and returns them as a JSON array. Each item begins with its id.
pub(super) fn number(c: &Connection, place: &ItemOwner<'_>, items: &[NewItem]) -> Result<String, JobFault> {
    let mut counters = counters(c, place)?;
    let mut array = String::from("[");
    for item in items {
        let last = counters.get(&item.kind).and_then(Value::as_u64).unwrap_or(0);
        let number = last + 1 + u64::from(failpoint!("numbers-leave-gaps") && last == 1);
        counters.insert(item.kind.clone(), number.into());
        if array.len() > 1 {
            array.push(',');
        }
        let body = readable(&item.body)?;
        let rest = body.strip_prefix('{').unwrap_or("}");
        let comma = if rest == "}" { "" } else { "," };
        array.extend(["{\"id\":\"", &item.kind, &number.to_string(), "\"", comma, rest]);
        if let Some(session) = place.session {
            c.prepare_cached(
                "INSERT INTO nova3_items(user_id, session_id, kind, number, body, queue_id, task_index, created_at, version)
                 VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
            )?
            .execute(params![
                place.user, session, item.kind, number, body, place.queue_id, place.task.0, place.now, place.version
            ])?;
        }
    }
    array.push(']');
    if let Some(session) = place.session.filter(|_| !failpoint!("counters-not-kept")) {
        c.prepare_cached(
            "INSERT INTO nova3_sessions(user_id, session_id, counters, created_at, last_accessed) VALUES(?1,?2,?3,?4,?4)
             ON CONFLICT(user_id, session_id) DO UPDATE SET counters=excluded.counters, last_accessed=excluded.last_accessed",
        )?
        .execute(params![place.user, session, serde_json::to_string(&counters)?, place.now])?;
    }
    Ok(array)
}

/// Returns the last numbers given: of the session, or of the other tasks and the earlier versions of a request
/// without one.
fn counters(c: &Connection, place: &ItemOwner<'_>) -> Result<Map<String, Value>, JobFault> {
    let Some(session) = place.session else {
        return alone(c, place);
    };
    let stored: Option<String> = c
        .prepare_cached("SELECT counters FROM nova3_sessions WHERE user_id=?1 AND session_id=?2")?
        .query_row(params![place.user, session], |row| row.get(0))
        .optional()?;
    match stored {
        Some(text) => Ok(serde_json::from_str(&text)?),
        None => Ok(Map::new()),
    }
}

fn alone(c: &Connection, place: &ItemOwner<'_>) -> Result<Map<String, Value>, JobFault> {
    let mut counters = Map::new();
    if place.is_only_task && place.version <= 1 {
        return Ok(counters);
    }
    let mut query = c.prepare_cached(
        "SELECT result FROM nova3_tasks WHERE queue_id=?1 AND task_index>=0 AND task_index<?2 AND result IS NOT NULL
         UNION ALL SELECT result FROM nova3_task_versions WHERE queue_id=?1 AND task_index>=0 AND task_index<?2 AND result IS NOT NULL",
    )?;
    let mut rows = query.query(params![place.queue_id, TaskNo::PLANNED_END])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        let items: Vec<Map<String, Value>> = serde_json::from_str(&text)?;
        for id in items
            .iter()
            .filter_map(|item| item.get("id").and_then(Value::as_str))
        {
            let kind = id.trim_end_matches(|c: char| c.is_ascii_digit());
            let number: u64 = id[kind.len()..].parse().unwrap_or(0);
            let last = counters.get(kind).and_then(Value::as_u64).unwrap_or(0);
            counters.insert(kind.to_owned(), last.max(number).into());
        }
    }
    Ok(counters)
}
