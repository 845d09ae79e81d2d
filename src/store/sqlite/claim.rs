//! Leases: taking, keeping and giving back the right to work on a queue.

use rusqlite::{Connection, params};

use super::fault::Fault;
use super::ledger::{self, Spent};
use super::{money, sessions};
use crate::domain::state::{QueueEvent, QueueState};
use crate::failpoint::sql;
use crate::store::{Claimable, Claimed, Claims, Lease, Left, Owner, PendingTask, RunId, Unreadable};

/// A claimed queue as it is stored; the request is parsed by whoever asked, not on the store's thread.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) lease: Lease,
    pub(super) request: String,
    pub(super) index: u64,
    pub(super) planned: bool,
    pub(super) current_task: usize,
    pub(super) is_recorded: bool,
    pub(super) panics: u32,
    pub(super) tasks: Vec<PendingTask>,
}

pub(super) fn claim(
    c: &Connection,
    run: RunId,
    owner: &Owner,
    which: Claimable,
    limit: usize,
    lease_ms: i64,
    now: i64,
) -> Result<Vec<Row>, Fault> {
    let mut claimed = Vec::new();
    let quarantined = which == Claimable::Quarantined;
    if quarantined && super::quarantine::any_leased(c)? {
        return Ok(claimed);
    }
    let order = if quarantined {
        "quarantine DESC, priority, seq"
    } else {
        "priority, seq"
    };
    {
        let (index, only) = match which {
            Claimable::Unplanned => (
                "INDEXED BY nova3_queues_unplanned",
                "AND task_count IS NULL AND quarantine=0",
            ),
            Claimable::All => ("", "AND quarantine=0"),
            Claimable::Quarantined => ("INDEXED BY nova3_queues_quarantine", "AND quarantine>0"),
        };
        let mut query = c.prepare_cached(&sql(&format!(
            "SELECT queue_id, fence, line_index, current_task_index, request, task_count IS NOT NULL, crashes>0, panics,
               quarantine
             FROM nova3_queues q {index} JOIN nova3_requests USING(queue_id)
             WHERE run_id=?1 AND ingest=(SELECT ingest FROM nova3_runs WHERE run_id=?1) AND state='ready' {only}
               AND (run_at<=?2 OR run_at>?2+?4)
               -- if failpoint sessions-without-order: AND (true OR
               AND ( -- unless failpoint sessions-without-order
               session_id IS NULL OR NOT EXISTS(SELECT 1 FROM nova3_queues l WHERE l.user_id=q.user_id
                 AND l.session_id=q.session_id AND l.session_id IS NOT NULL AND l.state='leased'))
             ORDER BY {order} LIMIT ?3",
        )))?;
        let mut rows = query.query(params![run.0, now, limit, Left::LONGEST_SNOOZE_MS])?;
        while let Some(row) = rows.next()? {
            // A group is never larger than its smallest member allows.
            if quarantined && row.get::<_, usize>(8)? <= claimed.len() {
                break;
            }
            claimed.push(Row {
                is_recorded: row.get(6)?,
                panics: row.get(7)?,
                lease: Lease {
                    queue_id: row.get(0)?,
                    fence: row.get::<_, i64>(1)? + 1,
                },
                request: row.get(4)?,
                index: row.get(2)?,
                planned: row.get(5)? && (!failpoint!("plan-asked-again") || row.get::<_, i64>(3)? == 0),
                current_task: match row.get(3)? {
                    _ if failpoint!("settled-task-asked-again") => 0,
                    task if failpoint!("last-task-again") => usize::saturating_sub(task, 1),
                    task => task,
                },
                tasks: Vec::new(),
            });
        }
    }
    let group = if quarantined { claimed.len() } else { 0 };
    let leased = super::legal(QueueState::Ready.after(QueueEvent::Claimed))?;
    let mut update = c.prepare_cached(
        "UPDATE nova3_queues SET state=?2, lease_owner=?3, lease_until=?4, lease_group=?5, working=(crashes>0),
           fence=fence+1, attempt=attempt+1
         WHERE queue_id=?1 AND state='ready'",
    )?;
    for row in &mut claimed {
        update.execute(params![
            row.lease.queue_id,
            leased.as_str(),
            owner.0,
            now.saturating_add(lease_ms),
            group
        ])?;
        row.tasks = tasks(c, row.lease.queue_id)?;
    }
    Ok(claimed)
}

/// The requests of claimed rows.
pub(super) fn read(rows: Vec<Row>) -> Claims {
    let mut claims = Claims::default();
    for row in rows {
        let unread = Unreadable {
            lease: row.lease,
            planned: row.planned,
            current_task: row.current_task,
            task_id: row.tasks.get(row.current_task).map(|task| task.task_id.clone()),
            reason: String::new(),
        };
        let queue = |request| Claimed {
            lease: row.lease,
            request,
            index: row.index,
            planned: row.planned,
            current_task: row.current_task,
            is_recorded: row.is_recorded,
            panics: row.panics,
            lost_calls: Vec::new(),
            tasks: row.tasks,
        };
        claims.add(&row.request, queue, unread);
    }
    claims
}

/// A queue's tasks in order, settled ones too.
pub(super) fn tasks(c: &Connection, queue_id: i64) -> Result<Vec<PendingTask>, Fault> {
    let mut query = c.prepare_cached(
        "SELECT task_id, action, description, input FROM nova3_tasks WHERE queue_id=?1 ORDER BY task_index",
    )?;
    let mut rows = query.query([queue_id])?;
    let mut tasks = Vec::new();
    while let Some(row) = rows.next()? {
        tasks.push(PendingTask {
            task_id: row.get(0)?,
            action: row.get(1)?,
            description: row.get(2)?,
            input: row.get(3)?,
        });
    }
    Ok(tasks)
}

pub(super) fn renew(c: &Connection, leases: &[Lease], lease_ms: i64, now: i64) -> Result<Vec<Lease>, Fault> {
    let mut update = c.prepare_cached(
        "UPDATE nova3_queues SET lease_until=?3 WHERE queue_id=?1 AND fence=?2 AND state='leased'",
    )?;
    let mut lost = Vec::new();
    for lease in leases {
        if update.execute(params![lease.queue_id, lease.fence, now.saturating_add(lease_ms)])? == 0 {
            lost.push(*lease);
        }
    }
    Ok(lost)
}

pub(super) fn release(c: &Connection, left: &[Left], now: i64) -> Result<(), Fault> {
    let ready = super::legal(QueueState::Leased.after(QueueEvent::Released))?;
    let mut update = c.prepare_cached(
        "UPDATE nova3_queues SET state=?3, fence=fence+1, attempt=attempt-1, lease_group=0, working=0, lease_owner=NULL, lease_until=NULL,
           run_at=?4
         WHERE queue_id=?1 AND fence=?2 AND state='leased'",
    )?;
    for left in left {
        let lease = left.lease;
        let spent = Spent {
            lease,
            task: money::task_index(left.task),
            attempts: &left.attempts,
            completed: false,
        };
        ledger::without_settlement(c, &spent)?;
        let run_at = match left.snooze_ms() {
            0 => 0,
            snooze => now.saturating_add(snooze),
        };
        if update.execute(params![lease.queue_id, lease.fence, ready.as_str(), run_at])? == 1 {
            put_back(c, lease.queue_id)?;
        }
    }
    Ok(())
}

/// A queue that was leased stands in its session's order again: it is held back if its line left the input
/// meanwhile, since it would hold up the others for ever, or if an earlier one came back.
pub(super) fn put_back(c: &Connection, queue_id: i64) -> Result<(), Fault> {
    let (run, ingest, removed, user, session): (i64, i64, bool, String, Option<String>) = c
        .prepare_cached(
            "SELECT q.run_id, r.ingest, q.ingest<r.complete_ingest, q.user_id, q.session_id
             FROM nova3_queues q JOIN nova3_runs r USING(run_id) WHERE q.queue_id=?1",
        )?
        .query_row([queue_id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })?;
    if removed {
        sessions::hold_back(c, queue_id)?;
    }
    match session {
        Some(session) => sessions::promote(c, run, ingest, &user, &session),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicI32, Ordering};
    use std::time::Duration;

    use rusqlite::trace::{TraceEvent, TraceEventCodes};
    use rusqlite::{Connection, StatementStatus};

    use super::super::{open, plans};
    use super::{claim, release};
    use crate::store::{Claimable, Left, Owner, RunId};

    fn claimed(c: &Connection, run: RunId, now: i64) -> Vec<Left> {
        let owner = Owner("o".to_owned());
        let rows = claim(c, run, &owner, Claimable::All, 9, 1000, now).unwrap();
        rows.iter().map(|row| Left::untouched(row.lease)).collect()
    }

    /// Steps of SQLite's machine in the selection of a claim of what is unplanned, behind so many planned queues.
    fn steps_behind(planned: usize) -> i32 {
        static STEPS: AtomicI32 = AtomicI32::new(0);
        let c = open::in_memory(Path::new(open::MEMORY)).unwrap();
        let run = plans::opened(&c);
        let mut lines: Vec<String> = (0..planned).map(|n| format!("{{\"query\":\"q{n}\"}}")).collect();
        lines.push(r#"{"query":"q","references":["@a1"]}"#.to_owned());
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        plans::read(&c, run, &lines);
        c.trace_v2(
            TraceEventCodes::SQLITE_TRACE_PROFILE,
            Some(|event| {
                if let TraceEvent::Profile(statement, _) = event
                    && statement.sql().contains("line_index")
                {
                    STEPS.store(statement.get_status(StatementStatus::VmStep), Ordering::Relaxed);
                }
            }),
        );
        let owner = Owner("o".to_owned());
        let rows = claim(&c, run, &owner, Claimable::Unplanned, 9, 1000, 1).unwrap();
        assert_eq!((rows.len(), rows[0].planned), (1, false));
        STEPS.load(Ordering::Relaxed)
    }

    #[test]
    fn planned_queues_cost_the_claim_of_an_unplanned_one_nothing() {
        let few = steps_behind(2);
        assert!(few > 0, "the trace works");
        assert_eq!(steps_behind(300), few);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_asleep() {
        let c = open::in_memory(Path::new(open::MEMORY)).unwrap();
        let run = plans::opened(&c);
        plans::read(&c, run, &[r#"{"query":"q"}"#]);
        let (late, early) = (1_000_000_000, 1_000);
        let left = claimed(&c, run, late);
        release(&c, &left, late).unwrap();
        let mut left = claimed(&c, run, early);
        assert_eq!(left.len(), 1, "what is only given back can be claimed at once");
        left[0].snooze = Duration::from_secs(3600);
        release(&c, &left, late).unwrap();
        assert!(claimed(&c, run, late).is_empty(), "it sleeps");
        assert_eq!(claimed(&c, run, early).len(), 1, "it would sleep for days");
    }
}
