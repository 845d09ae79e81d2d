//! Requests that may kill the process that works on them: suspected, tried alone, convicted.
//!
//! A death says nothing about a single one of the requests that were in flight with it. Who was there three times is
//! run alone from then on; who dies alone twice has nobody else to blame. Whatever a queue settles clears it.

use rusqlite::{Connection, params};

use super::claim::put_back;
use super::events::{self, Settling};
use super::fault::Fault;
use super::settle::{Ending, finish};
use super::{ledger, plan, sessions};
use crate::domain::failure::{Class, Failure};
use crate::domain::state::{QueueEvent, QueueState, Status};
use crate::store::keys::COMPLETION;

/// A queue that was in flight at so many unclean ends is claimed alone.
pub(super) const SUSPECTED: i64 = 3;

/// So many deaths alone, under different owners, are its fault.
const CONVICTED: i64 = 2;

/// A queue that a process held when it ended.
struct Leased {
    queue_id: i64,
    unclean_ends: i64,
    alone: bool,
    alone_deaths: i64,
    owner: Option<String>,
    death_owner: Option<String>,
}

impl Leased {
    /// Whether its death is one more that only it can have caused: the same owner dies once.
    fn died_alone(&self) -> bool {
        self.alone && self.owner != self.death_owner
    }
}

/// Whether any queue of the store is leased.
pub(super) fn any_leased(c: &Connection) -> Result<bool, Fault> {
    Ok(
        c.prepare_cached("SELECT EXISTS(SELECT 1 FROM nova3_queues WHERE state='leased')")?
            .query_row([], |row| row.get(0))?,
    )
}

/// Voids every lease in the store: whoever opens it holds its lock, so their owners are gone. No attempt is charged
/// to a queue. If they `died`, it is remembered that the queue was in flight, and who did it twice alone has failed;
/// a process that ended of itself and could not give its leases back, as on a full disk, accuses nobody.
pub(super) fn void_all(c: &Connection, died: bool, now: i64) -> Result<(), Fault> {
    let ready = super::legal(QueueState::Leased.after(QueueEvent::Released))?;
    for queue in leased(c)? {
        let alone_death = died && queue.died_alone();
        c.prepare_cached(
            "UPDATE nova3_queues SET attempt=attempt-1, unclean_ends=unclean_ends+?2, alone_deaths=alone_deaths+?3,
               death_owner=CASE WHEN ?3 THEN lease_owner ELSE death_owner END, fence=fence+1 WHERE queue_id=?1",
        )?
        .execute(params![queue.queue_id, died, alone_death])?;
        if alone_death && queue.alone_deaths + 1 >= CONVICTED {
            convict(c, &queue, now)?;
            continue;
        }
        c.prepare_cached(
            "UPDATE nova3_queues SET state=?2, alone=0, lease_owner=NULL, lease_until=NULL WHERE queue_id=?1",
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
            unclean_ends: row.get(1)?,
            alone: row.get(2)?,
            alone_deaths: row.get(3)?,
            owner: row.get(4)?,
            death_owner: row.get(5)?,
        })
    };
    Ok(c.prepare_cached(
        "SELECT queue_id, unclean_ends, alone, alone_deaths, lease_owner, death_owner FROM nova3_queues
         WHERE state='leased'",
    )?
    .query_map([], read)?
    .collect::<Result<_, _>>()?)
}

/// What the convicted queue is to the transaction.
struct Accused {
    run: i64,
    ingest: i64,
    user: String,
    session: Option<String>,
    current: usize,
    /// The task that was under way, its action, and whether it was tried before; `None` while planning.
    task: Option<(String, String, bool)>,
}

/// The queue fails as if its task had, without a call.
fn convict(c: &Connection, queue: &Leased, now: i64) -> Result<(), Fault> {
    let queue_id = queue.queue_id;
    let accused = accused(c, queue_id)?;
    let failure = Failure {
        task_id: accused.task.as_ref().map(|(id, ..)| id.clone()),
        ..Failure::new(Class::Poison, verdict(queue.unclean_ends + 1))
    };
    let given = ledger::next(c, accused.run)?;
    // Its tasks are told of with the first of them that is settled; until then the request is all that is known.
    let known = accused.current > 0
        || accused.task.as_ref().is_some_and(|(.., tried)| *tried)
        || plan::has_one(c, queue_id)?;
    let raw = |(_, action, _): &(String, String, bool)| action == COMPLETION;
    if !accused.task.as_ref().is_some_and(raw) {
        let settling = Settling {
            queue_id,
            task: (known && accused.task.is_some()).then_some(accused.current),
            planned: false,
            steps: None,
            failure: Some(&failure),
            status: Some(Status::Failed),
            now,
        };
        events::note(c, accused.run, given.event_no, &settling)?;
    }
    c.prepare_cached("UPDATE nova3_tasks SET status='skipped' WHERE queue_id=?1 AND status='pending'")?
        .execute([queue_id])?;
    let ending = Ending {
        prompted: true,
        queue_id,
        status: Status::Failed,
        finish_no: given.finish_no,
        settled_tasks: accused.current,
        failure: Some(&failure),
    };
    finish(c, &ending, now)?;
    match &accused.session {
        Some(session) => sessions::promote(c, accused.run, accused.ingest, &accused.user, session),
        None => Ok(()),
    }
}

fn verdict(deaths: i64) -> String {
    format!(
        "nova3 died {deaths} times while it worked on this request, the last {CONVICTED} times on nothing else (it is left \
         out from now on; once you know what it does, `nova3 retry --class {}` lets it run again)",
        Class::Poison.as_str()
    )
}

fn accused(c: &Connection, queue_id: i64) -> Result<Accused, Fault> {
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
        Ok(Accused {
            run: row.get(0)?,
            ingest: row.get(1)?,
            user: row.get(2)?,
            session: row.get(3)?,
            current: row.get(4)?,
            task,
        })
    })?)
}
