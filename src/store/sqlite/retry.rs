//! Retrying failed requests: only the failed tasks and the tasks behind them run again.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use super::fault::JobFault;
use super::sessions;
use super::task_counts::recount;
use crate::domain::state::{QueueEvent, QueueState};
use crate::failpoint::sql;
use crate::store::{Failures, RunId};

/// A queue that failed, fully or partly, and may run again.
struct Candidate {
    queue_id: i64,
    state: QueueState,
    user: String,
    session: Option<String>,
}

pub(super) fn retry(c: &Connection, run: RunId, which: &Failures) -> Result<u64, JobFault> {
    let chosen = candidates(c, run, which)?;
    if chosen.is_empty() {
        return Ok(0);
    }
    let ingest: i64 = c.query_row("SELECT ingest FROM nova3_runs WHERE run_id=?1", [run.0], |row| {
        row.get(0)
    })?;
    for queue in &chosen {
        put_back_tasks(c, queue.queue_id)?;
        let event = if queue.session.is_some() {
            QueueEvent::Retried
        } else {
            QueueEvent::RetriedAlone
        };
        let state = super::legal(queue.state.after(event))?;
        c.prepare_cached(&sql(
            "UPDATE nova3_queues SET state=?2, status=NULL, finish_no=NULL, error=NULL, error_class=NULL,
               -- if failpoint retry-of-everything: current_task_index=0,
               completed_at=NULL, round=NULL WHERE queue_id=?1",
        ))?
        .execute(params![queue.queue_id, state.as_str()])?;
        recount(c, queue.queue_id)?;
    }
    for queue in &chosen {
        if let Some(session) = &queue.session {
            sessions::promote(c, run.0, ingest, &queue.user, session)?;
        }
    }
    c.execute(
        "UPDATE nova3_runs SET lines_epoch=lines_epoch+1 WHERE run_id=?1",
        [run.0],
    )?;
    Ok(chosen.len() as u64)
}

/// Makes failed and skipped tasks run again, behind the tasks that they need. A task that has fanned out runs only its
/// failed parts again.
fn put_back_tasks(c: &Connection, queue_id: i64) -> Result<(), JobFault> {
    c.prepare_cached(
        "INSERT INTO nova3_task_versions(queue_id, task_index, version, status, result, error, making, completed_at)
         SELECT queue_id, task_index, version, status, result, error, making, completed_at FROM nova3_tasks
         WHERE queue_id=?1 AND status='failed' AND kind<>'search'",
    )?
    .execute([queue_id])?;
    c.prepare_cached(
        "UPDATE nova3_tasks SET version=version+1 WHERE queue_id=?1 AND status='failed' AND kind<>'search'",
    )?
    .execute([queue_id])?;
    c.prepare_cached(&sql(
        "UPDATE nova3_tasks SET status='pending', result=NULL, error=NULL, completed_at=NULL, wake_at=0, sleep_ms=0
         WHERE queue_id=?1
         AND status IN('failed','skipped') -- unless failpoint retry-of-everything
         -- A search is settled once.
         AND kind<>'search'
         ",
    ))?
    .execute([queue_id])?;
    c.prepare_cached(
        "UPDATE nova3_tasks SET unmet=(SELECT count(*) FROM json_each(nova3_tasks.needs) n JOIN nova3_tasks k
           ON k.queue_id=?1 AND k.task_index=n.value WHERE k.status='pending')
         WHERE queue_id=?1 AND status='pending'",
    )?
    .execute([queue_id])?;
    c.prepare_cached(
        "UPDATE nova3_tasks SET status='ready' WHERE queue_id=?1 AND status='pending' AND unmet=0",
    )?
    .execute([queue_id])?;
    Ok(())
}

/// Returns the queues to retry. Bad lines have no request and stay failed until the input is edited.
fn candidates(c: &Connection, run: RunId, which: &Failures) -> Result<Vec<Candidate>, JobFault> {
    let mut query = c.prepare_cached(&sql(
        "SELECT queue_id, user_id, session_id, error_class, custom_id, state FROM nova3_queues
         WHERE run_id=?1
         AND state='failed' -- unless failpoint retry-of-everything
         -- if failpoint retry-of-everything: AND state IN('failed','done')
         AND notes_digest IS NOT NULL
           AND ingest>=(SELECT complete_ingest FROM nova3_runs WHERE run_id=?1)
         UNION ALL SELECT queue_id, user_id, session_id, error_class, custom_id, state FROM nova3_queues
         WHERE run_id=?1 AND status='partial' AND ingest>=(SELECT complete_ingest FROM nova3_runs WHERE run_id=?1)",
    ))?;
    let ids: HashSet<&str> = which.ids.iter().map(String::as_str).collect();
    let mut rows = query.query([run.0])?;
    let mut chosen = Vec::new();
    while let Some(row) = rows.next()? {
        let class: Option<String> = row.get(3)?;
        let id: Option<String> = row.get(4)?;
        let of_class = which.classes.is_empty()
            || which
                .classes
                .iter()
                .any(|wanted| Some(wanted.as_str()) == class.as_deref());
        let of_id = ids.is_empty() || id.is_some_and(|id| ids.contains(id.as_str()));
        if of_class && of_id {
            chosen.push(Candidate {
                queue_id: row.get(0)?,
                state: super::state_of(row.get_ref(5)?)?,
                user: row.get(1)?,
                session: row.get(2)?,
            });
        }
    }
    Ok(chosen)
}
