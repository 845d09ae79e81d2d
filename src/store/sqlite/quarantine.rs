//! Crash attribution: the tasks that a crash of the process counts against, and how the task that causes it is
//! isolated.
//!
//! Most crashes are kills from outside: by the operator, by the kernel, by a machine that goes down. They hit tasks
//! that wait for their answers, because waiting takes nearly all of the time. A task that crashes the process does so
//! while the process works on it: while it builds the prompt, or reads, validates and settles the answer. So a crash
//! counts only against tasks that were being worked on.
//!
//! ```text
//! claim ─▶ working ─▶ waiting (limits, the call on the wire) ─▶ working ─▶ settled
//!            └──────── again, for a retry or a repair ◀────────────┘
//! ```
//!
//! 1. **Recorded.** A task that is leased at a crash is recorded (`crashes`). This costs nothing before the first
//!    crash. From its next lease on, a recorded task has a durable crash mark (`working`). A claim sets the mark. The
//!    worker clears it before the call may be sent, and sets it again before it reads the answer. It collects all
//!    pieces of a streamed answer first, so that the mark is clear at a kill in the middle of a stream. These are two
//!    small writes a call, and only recorded tasks need them.
//! 2. **Quarantine.** A task that is leased at a crash with its mark set goes into quarantine. It runs after all other
//!    tasks, in a group. The process holds no other lease meanwhile, because tasks that are not recorded have no mark.
//!    The first group is as large as the slots allow, so that innocent tasks take the time of one call together.
//! 3. **Halves.** A crash of a group counts against its members whose marks are set: each may then run in a group of
//!    half that size at most. The limit of the others does not change. A group is formed from the tasks with the
//!    largest limits first.
//! 4. **Poison.** Two crashes while a task runs alone with its mark set, under different owners, fail it as `poison`. A
//!    part fails alone; any other task fails its queue.
//!
//! A settled task has no crash record any more. A process that ends by itself and cannot release its leases, as on a
//! full disk, has not crashed.
//!
//! A kill from outside fails an innocent task only if it hits the milliseconds of work three times, once in a group and
//! twice while the task runs alone, and the task is not settled in between.

use rusqlite::{Connection, params};

use super::claim::put_back;
use super::ending::{QueueEnd, finish};
use super::events::{self, Settling};
use super::fault::JobFault;
use super::task_counts::recount;
use super::{graph, ledger, plan, sessions};
use crate::domain::failure::{Class, Failure};
use crate::domain::state::{Status, TaskStatus, TaskTransition};
use crate::domain::task::TaskNo;
use crate::store::keys::COMPLETION;
use crate::store::{CrashMark, Lease};

/// The limit of a task's first group: any size, so that only the slots of the process limit it.
const ANY_SIZE: i64 = 1 << 20;

/// The number of crashes, while a task runs alone and under different owners, that fails it.
const POISON: i64 = 2;

/// A task that was leased when its process ended.
struct Leased {
    queue_id: i64,
    task: TaskNo,
    crashes: i64,
    working: bool,
    quarantine: i64,
    group: i64,
    lone_crashes: i64,
    owner: Option<String>,
    crash_owner: Option<String>,
}

impl Leased {
    /// Whether only this task can have caused the crash. One owner counts once.
    fn crashed_alone(&self) -> bool {
        (self.working && self.group == 1 || failpoint!("company-is-poison")) && self.owner != self.crash_owner
    }

    /// The largest group that it may run in after a crash.
    const fn room(&self) -> i64 {
        match (self.working, self.group) {
            (false, _) => self.quarantine,
            (true, 0) => ANY_SIZE,
            (true, group) => (group + 1) / 2,
        }
    }
}

/// Sets the crash mark if the lease is still valid. Returns whether it is.
pub(super) fn mark(c: &Connection, lease: Lease, mark: CrashMark) -> Result<bool, JobFault> {
    let marked = c
        .prepare_cached(
            "UPDATE nova3_tasks SET working=?3 WHERE queue_id=?1 AND fence=?2 AND status='leased'",
        )?
        .execute(params![lease.queue_id, lease.fence, mark == CrashMark::Working])?;
    Ok(marked == 1)
}

/// Stores the number of panics if the lease is still valid. Returns whether it is.
pub(super) fn note_panics(c: &Connection, lease: Lease, panics: u32) -> Result<bool, JobFault> {
    let noted = c
        .prepare_cached(
            "UPDATE nova3_tasks SET panics=max(panics, ?3) WHERE queue_id=?1 AND fence=?2 AND status='leased'",
        )?
        .execute(params![lease.queue_id, lease.fence, panics])?;
    Ok(noted == 1)
}

/// Whether any task of the store is leased.
pub(super) fn any_leased(c: &Connection) -> Result<bool, JobFault> {
    Ok(
        c.prepare_cached("SELECT EXISTS(SELECT 1 FROM nova3_queues WHERE leased>0)")?
            .query_row([], |row| row.get(0))?,
    )
}

/// Ends every lease in the store. The caller holds the store's lock, so the owners have ended. No attempt is counted
/// for a task. If the owners `crashed`, the crash is recorded. Submitted tasks have no lease and stay as they are.
pub(super) fn void_all(c: &Connection, crashed: bool, now: i64) -> Result<(), JobFault> {
    let ready = graph::after(TaskStatus::Leased, TaskTransition::Released)?;
    for task in leased(c)? {
        let alone = crashed && task.crashed_alone();
        let room = if crashed { task.room() } else { task.quarantine };
        c.prepare_cached(
            "UPDATE nova3_tasks SET attempt=attempt-1, crashes=crashes+?3, lone_crashes=lone_crashes+?4, quarantine=?5,
               crash_owner=CASE WHEN ?4 THEN lease_owner ELSE crash_owner END WHERE queue_id=?1 AND task_index=?2",
        )?
        .execute(params![task.queue_id, task.task.0, crashed, alone, room])?;
        if alone && task.lone_crashes + 1 >= POISON {
            fail_as_poison(c, &task, now)?;
            continue;
        }
        c.prepare_cached(
            "UPDATE nova3_tasks SET status=?3, working=0, lease_group=0, lease_owner=NULL, lease_until=NULL
             WHERE queue_id=?1 AND task_index=?2",
        )?
        .execute(params![task.queue_id, task.task.0, ready.as_str()])?;
        recount(c, task.queue_id)?;
        put_back(c, task.queue_id)?;
    }
    Ok(())
}

fn leased(c: &Connection) -> Result<Vec<Leased>, JobFault> {
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Leased {
            queue_id: row.get(0)?,
            task: TaskNo(row.get(8)?),
            crashes: row.get(1)?,
            working: row.get(2)? || failpoint!("waiting-counts-as-work"),
            quarantine: row.get(3)?,
            group: row.get(4)?,
            lone_crashes: row.get(5)?,
            owner: row.get(6)?,
            crash_owner: row.get(7)?,
        })
    };
    Ok(c.prepare_cached(
        "SELECT t.queue_id, t.crashes, t.working, t.quarantine, t.lease_group, t.lone_crashes, t.lease_owner, t.crash_owner,
           t.task_index
         FROM nova3_queues q CROSS JOIN nova3_tasks t USING(queue_id) WHERE q.leased>0 AND t.status='leased'",
    )?
    .query_map([], read)?
    .collect::<Result<_, _>>()?)
}

/// The queue, with the columns that the failing transaction needs.
struct FailingQueue {
    run: i64,
    ingest: i64,
    user: String,
    session: Option<String>,
    action: String,
    /// Whether the task was tried before.
    tried: bool,
}

/// Fails the task without a call: a subtask alone, any other task with its queue.
fn fail_as_poison(c: &Connection, leased: &Leased, now: i64) -> Result<(), JobFault> {
    let (queue_id, task) = (leased.queue_id, leased.task);
    let found = found(c, queue_id, task)?;
    let failure = Failure {
        task_id: task.index().map(|_| task.to_string()),
        ..Failure::new(Class::Poison, reason(leased.crashes + 1))
    };
    if task.is_subtask() {
        return fail_subtask(c, leased, &failure, now);
    }
    let given = ledger::next(c, found.run)?;
    // The first settled task of a queue announces the queue's tasks in its event. Before it, only the request is known.
    let known =
        task > TaskNo::planned(0) || task.index().is_some() && found.tried || plan::has_one(c, queue_id)?;
    if found.action != COMPLETION {
        let settling = Settling {
            queue_id,
            task: task.index().filter(|_| known),
            planned: false,
            steps: None,
            failure: Some(&failure),
            status: Some(Status::Failed),
            now,
        };
        events::note(c, found.run, given.event_no, &settling)?;
    }
    c.prepare_cached(
        "UPDATE nova3_tasks SET status='skipped', lease_owner=NULL, lease_until=NULL, lease_group=0, working=0, crashes=0,
           quarantine=0, lone_crashes=0, crash_owner=NULL, panics=0
         WHERE queue_id=?1 AND status IN('pending','ready','leased')",
    )?
    .execute([queue_id])?;
    let ending = QueueEnd {
        prompted: true,
        queue_id,
        status: Status::Failed,
        finish_no: given.finish_no,
        settled_tasks: task.index().unwrap_or(0),
        failure: Some(&failure),
        ready: 0,
    };
    finish(c, &ending, now)?;
    match &found.session {
        Some(session) => {
            sessions::end_lease(c, queue_id, &found.user, session)?;
            sessions::promote(c, found.run, found.ingest, &found.user, session)
        }
        None => Ok(()),
    }
}

/// Fails a subtask. Its planned task decides how the queue continues.
fn fail_subtask(c: &Connection, leased: &Leased, failure: &Failure, now: i64) -> Result<(), JobFault> {
    let status = graph::after(TaskStatus::Leased, TaskTransition::Failed)?;
    c.prepare_cached(
        "UPDATE nova3_tasks SET status=?3, error=?4, completed_at=?5, lease_owner=NULL, lease_until=NULL, lease_group=0,
           working=0, crashes=0, quarantine=0, lone_crashes=0, crash_owner=NULL, panics=0
         WHERE queue_id=?1 AND task_index=?2",
    )?
    .execute(params![
        leased.queue_id,
        leased.task.0,
        status.as_str(),
        serde_json::to_string(failure)?,
        now
    ])?;
    graph::let_go_on(c, leased.queue_id, leased.task)?;
    recount(c, leased.queue_id)?;
    put_back(c, leased.queue_id)
}

fn reason(crashes: i64) -> String {
    format!(
        "nova3 crashed {crashes} times with this request in flight, the last {POISON} times while the request ran alone \
         (it will not run again; fix the cause, then put it back with `nova3 retry --class {}`)",
        Class::Poison.as_str()
    )
}

fn found(c: &Connection, queue_id: i64, task: TaskNo) -> Result<FailingQueue, JobFault> {
    Ok(c.prepare_cached(
        "SELECT q.run_id, r.ingest, q.user_id, q.session_id, t.action, t.making IS NOT NULL
         FROM nova3_tasks t JOIN nova3_queues q USING(queue_id) JOIN nova3_runs r USING(run_id)
         WHERE t.queue_id=?1 AND t.task_index=?2",
    )?
    .query_row(params![queue_id, task.0], |row| {
        Ok(FailingQueue {
            run: row.get(0)?,
            ingest: row.get(1)?,
            user: row.get(2)?,
            session: row.get(3)?,
            action: row.get(4)?,
            tried: row.get(5)?,
        })
    })?)
}
