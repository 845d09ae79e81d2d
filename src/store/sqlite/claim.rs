//! Leases: claiming, renewing and releasing them.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::SqliteStore;
use super::fault::JobFault;
use super::graph;
use super::ledger::{self, Spent};
use super::sessions;
use super::task_counts::recount;
use super::tasks::{self, TaskRow};
use crate::domain::state::{TaskStatus, TaskTransition};
use crate::domain::task::{TaskKind, TaskNo};
use crate::failpoint::sql;
use crate::store::{
    Claimable, Claimed, Claims, CrashMark, Lease, Leases, Owner, Part, PendingTask, ReleasedLease, RunId,
    StoreError,
};

#[async_trait]
impl Leases for SqliteStore {
    async fn claim(
        &self,
        run: RunId,
        owner: &Owner,
        which: Claimable,
        limit: usize,
        lease_ms: i64,
    ) -> Result<Claims, StoreError> {
        let owner = owner.clone();
        let rows = self
            .writer()?
            .call_first(move |c| claim(c, run, &owner, which, limit, lease_ms, crate::clock::now_ms()))
            .await?;
        Ok(read(rows))
    }

    async fn renew(&self, _owner: &Owner, leases: &[Lease], lease_ms: i64) -> Result<Vec<Lease>, StoreError> {
        let leases = leases.to_vec();
        self.write(move |c| renew(c, &leases, lease_ms, crate::clock::now_ms()))
            .await
    }

    async fn release(&self, left: Vec<ReleasedLease>) -> Result<(), StoreError> {
        self.write(move |c| release(c, &left, crate::clock::now_ms()))
            .await
    }

    async fn mark(&self, lease: Lease, mark: CrashMark) -> Result<bool, StoreError> {
        self.write(move |c| super::quarantine::mark(c, lease, mark)).await
    }

    async fn note_panics(&self, lease: Lease, panics: u32) -> Result<bool, StoreError> {
        self.write(move |c| super::quarantine::note_panics(c, lease, panics))
            .await
    }
}

/// A claimed task as it is stored. The caller parses the request, not the thread of the store.
#[derive(Debug)]
pub(super) struct ClaimRow {
    pub(super) lease: Lease,
    pub(super) task: TaskNo,
    pub(super) kind: TaskKind,
    pub(super) request: String,
    pub(super) index: u64,
    pub(super) planned: bool,
    pub(super) is_recorded: bool,
    pub(super) panics: u32,
    pub(super) tasks: Vec<PendingTask>,
    pub(super) parts: Vec<Part>,
}

/// A queue with tasks to lease.
struct ClaimableQueue {
    queue_id: i64,
    fence: i64,
    index: u64,
    request: String,
    planned: bool,
    session: Option<(String, String)>,
    ready: usize,
}

pub(super) fn claim(
    c: &Connection,
    run: RunId,
    owner: &Owner,
    which: Claimable,
    limit: usize,
    lease_ms: i64,
    now: i64,
) -> Result<Vec<ClaimRow>, JobFault> {
    let quarantined = which == Claimable::Quarantined;
    if quarantined && super::quarantine::any_leased(c)? {
        return Ok(Vec::new());
    }
    let mut claimed: Vec<(ClaimableQueue, Vec<TaskRow>, Vec<usize>)> = Vec::new();
    let mut count = 0;
    for queue in choose(c, run, which, limit, now)? {
        if failpoint!("settled-task-asked-again") {
            put_back_settled(c, queue.queue_id, "0")?;
        }
        if failpoint!("last-task-again") {
            put_back_settled(c, queue.queue_id, "max(min(task_index)-1, 0)")?;
        }
        let tasks = tasks::of_queue(c, queue.queue_id)?;
        let mut ready: Vec<usize> = (0..tasks.len())
            .filter(|place| tasks[*place].is_claimable(quarantined, now))
            .collect();
        ready.sort_by_key(|place| std::cmp::Reverse(tasks[*place].quarantine));
        ready.truncate(limit - count);
        if quarantined {
            // A group is never larger than the smallest limit of its members.
            let fits = |(place, task): (usize, &usize)| tasks[*task].quarantine > count + place;
            let members = ready
                .iter()
                .enumerate()
                .take_while(|member| fits(*member))
                .count();
            ready.truncate(members);
        }
        count += ready.len();
        if !ready.is_empty() {
            claimed.push((queue, tasks, ready));
        }
    }
    let group = if quarantined { count } else { 0 };
    let until = now.saturating_add(lease_ms);
    let mut rows = Vec::with_capacity(count);
    for (queue, tasks, ready) in claimed {
        lease(
            c,
            owner,
            (until, group, quarantined),
            queue,
            (&tasks, &ready),
            &mut rows,
        )?;
    }
    Ok(rows)
}

/// Returns the queues that can be claimed, in their order.
fn choose(
    c: &Connection,
    run: RunId,
    which: Claimable,
    limit: usize,
    now: i64,
) -> Result<Vec<ClaimableQueue>, JobFault> {
    let (index, only, order) = match which {
        Claimable::Unplanned => (
            "INDEXED BY nova3_queues_unplanned",
            "AND ready>0 AND task_count IS NULL",
            "priority, seq",
        ),
        Claimable::All => ("INDEXED BY nova3_queues_ready", "AND ready>0", "priority, seq"),
        Claimable::Quarantined => (
            "INDEXED BY nova3_queues_quarantine",
            "AND quarantine>0",
            "quarantine DESC, priority, seq",
        ),
    };
    let mut query = c.prepare_cached(&sql(&format!(
        "SELECT queue_id, fence, line_index, request, task_count IS NOT NULL, user_id, session_id, ready
         FROM nova3_queues q {index} JOIN nova3_requests USING(queue_id)
         WHERE run_id=?1 AND ingest=(SELECT ingest FROM nova3_runs WHERE run_id=?1) AND state='open' {only}
           AND (wake_at<=?2 OR wake_at>?2+sleep_ms)
           -- if failpoint sessions-without-order: AND (true OR
           AND ( -- unless failpoint sessions-without-order
           -- No other process works on another run, so that only a leased task keeps its session.
           session_id IS NULL OR NOT EXISTS(SELECT 1 FROM nova3_session_leases l JOIN nova3_queues h USING(queue_id)
             WHERE l.user_id=q.user_id AND l.session_id=q.session_id AND l.queue_id<>q.queue_id AND h.leased>0))
         ORDER BY {order} LIMIT ?3",
    )))?;
    let rows = query.query_map(params![run.0, now, limit], |row| {
        let user = row.get(5)?;
        let session: Option<String> = row.get(6)?;
        Ok(ClaimableQueue {
            queue_id: row.get(0)?,
            fence: row.get(1)?,
            index: row.get(2)?,
            request: row.get(3)?,
            planned: row.get(4)?,
            session: session.map(|session| (user, session)),
            ready: row.get(7)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Breaks on purpose the rule that a settled task never runs again.
fn put_back_settled(c: &Connection, queue_id: i64, from: &str) -> Result<(), JobFault> {
    c.execute_batch(&format!(
        "CREATE TEMP TABLE IF NOT EXISTS again(task INTEGER);
         DELETE FROM temp.again;
         INSERT INTO temp.again SELECT {from} FROM nova3_tasks WHERE queue_id={queue_id} AND status='ready'
           AND task_index BETWEEN 0 AND 1000;
         UPDATE nova3_tasks SET status='pending', unmet=1 WHERE queue_id={queue_id}
           AND task_index>=(SELECT task FROM temp.again) AND task_index<=1000;
         UPDATE nova3_tasks SET status='ready', unmet=0 WHERE queue_id={queue_id}
           AND task_index=(SELECT task FROM temp.again);"
    ))?;
    Ok(())
}

/// Leases the tasks at those places, each under a fence of its own.
fn lease(
    c: &Connection,
    owner: &Owner,
    (until, group, quarantined): (i64, usize, bool),
    queue: ClaimableQueue,
    (tasks, ready): (&[TaskRow], &[usize]),
    rows: &mut Vec<ClaimRow>,
) -> Result<(), JobFault> {
    let count = ready.len();
    let leased = graph::after(TaskStatus::Ready, TaskTransition::Claimed)?;
    let mut update = c.prepare_cached(
        "UPDATE nova3_tasks SET status=?3, lease_owner=?4, lease_until=?5, lease_group=?6, working=(crashes>0), fence=?7,
           attempt=attempt+1, wake_at=0, sleep_ms=0
         WHERE queue_id=?1 AND task_index=?2",
    )?;
    for (fence, place) in (queue.fence + 1..).zip(ready) {
        let ready = &tasks[*place];
        update.execute(params![
            queue.queue_id,
            ready.no.0,
            leased.as_str(),
            owner.0,
            until,
            group,
            fence
        ])?;
        let again = failpoint!("plan-asked-again") && ready.no == TaskNo::planned(0);
        rows.push(ClaimRow {
            lease: Lease {
                queue_id: queue.queue_id,
                fence,
            },
            task: if again { TaskNo::PLAN } else { ready.no },
            kind: if again { TaskKind::Plan } else { ready.kind },
            request: queue.request.clone(),
            index: queue.index,
            planned: queue.planned && !again,
            is_recorded: ready.crashes > 0,
            panics: ready.panics,
            tasks: tasks.iter().filter_map(TaskRow::planned).collect(),
            parts: ready.parts_among(tasks),
        });
    }
    let taken = if quarantined { 0 } else { count };
    c.prepare_cached(
        "UPDATE nova3_queues SET fence=fence+?2, leased=leased+?2, ready=ready-?3 WHERE queue_id=?1",
    )?
    .execute(params![queue.queue_id, count, taken])?;
    if quarantined || queue.ready > count {
        // The remaining tasks may be asleep.
        recount(c, queue.queue_id)?;
    }
    if let Some((user, session)) = queue.session {
        sessions::lease(c, queue.queue_id, &user, &session)?;
    }
    Ok(())
}

/// Parses the requests of claimed rows.
pub(super) fn read(rows: Vec<ClaimRow>) -> Claims {
    let mut claims = Claims::default();
    for row in rows {
        let queue = |request| Claimed {
            lease: row.lease,
            task: row.task,
            kind: row.kind,
            request,
            index: row.index,
            planned: row.planned,
            current_task: row.task.index().unwrap_or(0),
            is_recorded: row.is_recorded,
            panics: row.panics,
            lost_calls: Vec::new(),
            tasks: row.tasks,
            parts: row.parts,
            flaw: None,
        };
        claims.add(&row.request, (row.lease, row.task), queue);
    }
    claims
}

pub(super) fn renew(
    c: &Connection,
    leases: &[Lease],
    lease_ms: i64,
    now: i64,
) -> Result<Vec<Lease>, JobFault> {
    let mut update = c.prepare_cached(
        "UPDATE nova3_tasks SET lease_until=?3 WHERE queue_id=?1 AND fence=?2 AND status='leased'",
    )?;
    let mut lost = Vec::new();
    for lease in leases {
        if update.execute(params![lease.queue_id, lease.fence, now.saturating_add(lease_ms)])? == 0 {
            lost.push(*lease);
        }
    }
    Ok(lost)
}

pub(super) fn release(c: &Connection, left: &[ReleasedLease], now: i64) -> Result<(), JobFault> {
    let ready = graph::after(TaskStatus::Leased, TaskTransition::Released)?;
    let mut update = c.prepare_cached(
        "UPDATE nova3_tasks SET status=?3, attempt=attempt-1, lease_group=0, working=0, lease_owner=NULL, lease_until=NULL,
           wake_at=?4, sleep_ms=?5
         WHERE queue_id=?1 AND fence=?2 AND status='leased'",
    )?;
    for left in left {
        let lease = left.lease;
        let spent = Spent {
            lease,
            task: left.task,
            version: None,
            attempts: &left.attempts,
            completed: false,
        };
        ledger::without_settlement(c, &spent)?;
        let snooze = left.snooze_ms();
        let wake_at = if snooze == 0 {
            0
        } else {
            now.saturating_add(snooze)
        };
        let params = params![lease.queue_id, lease.fence, ready.as_str(), wake_at, snooze];
        if update.execute(params)? == 1 {
            recount(c, lease.queue_id)?;
            put_back(c, lease.queue_id)?;
        }
    }
    Ok(())
}

/// Puts a queue that lost a lease back into its session's order. A queue whose line left the input in the meantime is
/// held back, because it would block the others for ever. A queue gives way to an earlier one that came back. A queue
/// that a worker or an outside job still works on stays open.
pub(super) fn put_back(c: &Connection, queue_id: i64) -> Result<(), JobFault> {
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

    use super::super::{open, query_plan_tests};
    use super::{claim, release};
    use crate::store::{Claimable, Owner, ReleasedLease, RunId};

    fn claimed(c: &Connection, run: RunId, now: i64) -> Vec<ReleasedLease> {
        let owner = Owner("o".to_owned());
        let rows = claim(c, run, &owner, Claimable::All, 9, 1000, now).unwrap();
        rows.iter()
            .map(|row| ReleasedLease::untouched(row.lease))
            .collect()
    }

    /// Counts the steps of SQLite's virtual machine that a claim of unplanned queues takes behind `planned` planned
    /// ones.
    fn steps_behind(planned: usize) -> i32 {
        static STEPS: AtomicI32 = AtomicI32::new(0);
        let c = open::in_memory(Path::new(open::MEMORY)).unwrap();
        let run = query_plan_tests::opened(&c);
        let mut lines: Vec<String> = (0..planned).map(|n| format!("{{\"query\":\"q{n}\"}}")).collect();
        lines.push(r#"{"query":"q","references":["@a1"]}"#.to_owned());
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        query_plan_tests::read(&c, run, &lines);
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
        let run = query_plan_tests::opened(&c);
        query_plan_tests::read(&c, run, &[r#"{"query":"q"}"#]);
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
