//! Which requests a crash of the process counts against, and how the one that causes it is found.
//!
//! A crash says nothing of a single request that was in flight. Most crashes are kills from outside: of the operator, of the
//! kernel, of a machine that goes down. They meet requests that wait for their answers, because that takes nearly all of
//! the time. A request that crashes the process itself does so while the process works on it: while its prompt is
//! built, or when its answer is read, judged and settled. So a crash counts only against requests that were worked on.
//!
//! ```text
//! claim ─▶ working ─▶ waiting (limits, the call on the wire) ─▶ working ─▶ settled
//!            └──────── again, for a retry or a repair ◀────────────┘
//! ```
//!
//! 1. **Recorded.** A queue that is leased at a crash is recorded (`crashes`). That costs nothing before the first crash and
//!    accuses nobody. From its next lease on a recorded queue has a durable crash mark (`working`): a claim sets it, the worker
//!    clears it before the call may be sent, and sets it again before it looks at a byte of the answer. Of a streamed
//!    answer all pieces are collected first, so that a kill in the middle of a stream meets a clear mark too. These are two
//!    small writes a call, and only queues that were at a crash pay them.
//! 2. **Quarantine.** A queue that is leased at a crash with its mark set goes into quarantine. It runs when all others
//!    have had their turn, in a group that is all its process holds, because others that are not recorded have no mark. The
//!    first group is as large as the slots allow: innocent requests take one call's time together, not one after the other.
//! 3. **Halves.** A crash of a group counts against its members whose marks are set: each may run in half of such a group
//!    from then on. Others keep their place. A group is formed from those with the most room, so that members which
//!    were only there are done before the one that crashes is alone.
//! 4. **Poison.** Two crashes while it is alone with its mark set, under different owners, fail a queue as `poison`.
//!
//! Whatever a queue settles takes all of it back. A process that ends of itself and cannot give its leases back, as on a full
//! disk, has not crashed.
//!
//! A kill from outside fails an innocent request only if it meets the milliseconds of work three times, once in company and
//! twice while it is alone, with nothing settled between.

use rusqlite::{Connection, params};

use super::claim::put_back;
use super::events::{self, Settling};
use super::fault::Fault;
use super::settle::{Ending, finish};
use super::{ledger, plan, sessions};
use crate::domain::failure::{Class, Failure};
use crate::domain::state::{QueueEvent, QueueState, Status};
use crate::store::keys::COMPLETION;
use crate::store::{CrashMark, Lease};

/// The first group of a queue may be as large as a process has slots.
const ANY_SIZE: i64 = 1 << 20;

/// So many crashes of a queue that runs alone, under different owners, fail it.
const POISON: i64 = 2;

/// A queue that a process held when it ended.
struct Leased {
    queue_id: i64,
    crashes: i64,
    working: bool,
    quarantine: i64,
    group: i64,
    lone_crashes: i64,
    owner: Option<String>,
    crash_owner: Option<String>,
}

impl Leased {
    /// Whether only it can have crashed the process; one owner is counted once.
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

/// Whether the lease is still good; then the crash mark is as it is said.
pub(super) fn mark(c: &Connection, lease: Lease, mark: CrashMark) -> Result<bool, Fault> {
    let marked = c
        .prepare_cached(
            "UPDATE nova3_queues SET working=?3 WHERE queue_id=?1 AND fence=?2 AND state='leased'",
        )?
        .execute(params![lease.queue_id, lease.fence, mark == CrashMark::Working])?;
    Ok(marked == 1)
}

/// Whether the lease is still good; then so many panics are noted.
pub(super) fn note_panics(c: &Connection, lease: Lease, panics: u32) -> Result<bool, Fault> {
    let noted = c
        .prepare_cached(
            "UPDATE nova3_queues SET panics=max(panics, ?3) WHERE queue_id=?1 AND fence=?2 AND state='leased'",
        )?
        .execute(params![lease.queue_id, lease.fence, panics])?;
    Ok(noted == 1)
}

/// Whether any queue of the store is leased.
pub(super) fn any_leased(c: &Connection) -> Result<bool, Fault> {
    Ok(
        c.prepare_cached("SELECT EXISTS(SELECT 1 FROM nova3_queues WHERE state='leased')")?
            .query_row([], |row| row.get(0))?,
    )
}

/// Voids every lease in the store: whoever opens it holds its lock, so their owners are gone. No attempt is charged
/// to a queue. If they `crashed`, that is recorded.
pub(super) fn void_all(c: &Connection, crashed: bool, now: i64) -> Result<(), Fault> {
    let ready = super::legal(QueueState::Leased.after(QueueEvent::Released))?;
    for queue in leased(c)? {
        let alone = crashed && queue.crashed_alone();
        let room = if crashed { queue.room() } else { queue.quarantine };
        c.prepare_cached(
            "UPDATE nova3_queues SET attempt=attempt-1, crashes=crashes+?2, lone_crashes=lone_crashes+?3, quarantine=?4,
               crash_owner=CASE WHEN ?3 THEN lease_owner ELSE crash_owner END, fence=fence+1 WHERE queue_id=?1",
        )?
        .execute(params![queue.queue_id, crashed, alone, room])?;
        if alone && queue.lone_crashes + 1 >= POISON {
            fail_as_poison(c, &queue, now)?;
            continue;
        }
        c.prepare_cached(
            "UPDATE nova3_queues SET state=?2, working=0, lease_group=0, lease_owner=NULL, lease_until=NULL
             WHERE queue_id=?1",
        )?
        .execute(params![queue.queue_id, ready.as_str()])?;
        put_back(c, queue.queue_id)?;
    }
    Ok(())
}

fn leased(c: &Connection) -> Result<Vec<Leased>, Fault> {
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Leased {
            queue_id: row.get(0)?,
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
        "SELECT queue_id, crashes, working, quarantine, lease_group, lone_crashes, lease_owner, crash_owner
         FROM nova3_queues WHERE state='leased'",
    )?
    .query_map([], read)?
    .collect::<Result<_, _>>()?)
}

/// What the queue is to the transaction that fails it.
struct Found {
    run: i64,
    ingest: i64,
    user: String,
    session: Option<String>,
    current: usize,
    /// The task that was under way, its action, and whether it was tried before; `None` while planning.
    task: Option<(String, String, bool)>,
}

/// The queue fails as its task would, without a call.
fn fail_as_poison(c: &Connection, queue: &Leased, now: i64) -> Result<(), Fault> {
    let queue_id = queue.queue_id;
    let found = found(c, queue_id)?;
    let failure = Failure {
        task_id: found.task.as_ref().map(|(id, ..)| id.clone()),
        ..Failure::new(Class::Poison, reason(queue.crashes + 1))
    };
    let given = ledger::next(c, found.run)?;
    // Its tasks are told of with the first of them that is settled; until then the request is all that is known.
    let known = found.current > 0
        || found.task.as_ref().is_some_and(|(.., tried)| *tried)
        || plan::has_one(c, queue_id)?;
    let raw = |(_, action, _): &(String, String, bool)| action == COMPLETION;
    if !found.task.as_ref().is_some_and(raw) {
        let settling = Settling {
            queue_id,
            task: (known && found.task.is_some()).then_some(found.current),
            planned: false,
            steps: None,
            failure: Some(&failure),
            status: Some(Status::Failed),
            now,
        };
        events::note(c, found.run, given.event_no, &settling)?;
    }
    c.prepare_cached("UPDATE nova3_tasks SET status='skipped' WHERE queue_id=?1 AND status='pending'")?
        .execute([queue_id])?;
    let ending = Ending {
        prompted: true,
        queue_id,
        status: Status::Failed,
        finish_no: given.finish_no,
        settled_tasks: found.current,
        failure: Some(&failure),
    };
    finish(c, &ending, now)?;
    match &found.session {
        Some(session) => sessions::promote(c, found.run, found.ingest, &found.user, session),
        None => Ok(()),
    }
}

fn reason(crashes: i64) -> String {
    format!(
        "nova3 crashed {crashes} times with this request in flight, the last {POISON} times while it worked on nothing \
         else (it is left out from now on; once you know what it does, `nova3 retry --class {}` lets it run again)",
        Class::Poison.as_str()
    )
}

fn found(c: &Connection, queue_id: i64) -> Result<Found, Fault> {
    Ok(c.prepare_cached(
        "SELECT q.run_id, r.ingest, q.user_id, q.session_id, q.current_task_index, t.task_id, t.action,
           t.making IS NOT NULL
         FROM nova3_queues q JOIN nova3_runs r USING(run_id)
         LEFT JOIN nova3_tasks t ON t.queue_id=q.queue_id AND t.task_index=q.current_task_index
         WHERE q.queue_id=?1",
    )?
    .query_row([queue_id], |row| {
        let task: Option<String> = row.get(5)?;
        let task = match task {
            Some(id) => Some((id, row.get(6)?, row.get(7)?)),
            None => None,
        };
        Ok(Found {
            run: row.get(0)?,
            ingest: row.get(1)?,
            user: row.get(2)?,
            session: row.get(3)?,
            current: row.get(4)?,
            task,
        })
    })?)
}
