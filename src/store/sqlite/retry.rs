//! Putting failed requests back.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use super::fault::Fault;
use super::sessions;
use crate::domain::state::{QueueEvent, QueueState};
use crate::failpoint::sql;
use crate::store::{Failures, RunId};

/// A failed queue that may run again.
struct Candidate {
    queue_id: i64,
    user: String,
    session: Option<String>,
}

pub(super) fn retry(c: &Connection, run: RunId, which: &Failures) -> Result<u64, Fault> {
    let chosen = candidates(c, run, which)?;
    if chosen.is_empty() {
        return Ok(0);
    }
    let ingest: i64 = c.query_row("SELECT ingest FROM nova3_runs WHERE run_id=?1", [run.0], |row| {
        row.get(0)
    })?;
    let blocked = super::legal(QueueState::Failed.after(QueueEvent::Retried))?;
    let ready = super::legal(QueueState::Failed.after(QueueEvent::RetriedAlone))?;
    for queue in &chosen {
        c.prepare_cached(&sql(
            "UPDATE nova3_tasks SET status='pending', result=NULL, completed_at=NULL
             WHERE queue_id=?1
             AND status IN('failed','skipped') -- unless failpoint retry-of-everything
             ",
        ))?
        .execute([queue.queue_id])?;
        let state = if queue.session.is_some() { blocked } else { ready };
        c.prepare_cached(&sql(
            "UPDATE nova3_queues SET state=?2, status=NULL, finish_no=NULL, error=NULL, error_class=NULL,
               -- if failpoint retry-of-everything: current_task_index=0,
               completed_at=NULL, round=NULL, run_at=0, crashes=0, panics=0 WHERE queue_id=?1",
        ))?
        .execute(params![queue.queue_id, state.as_str()])?;
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

/// Bad lines have no request and are no candidates: only an edit of the input mends them.
fn candidates(c: &Connection, run: RunId, which: &Failures) -> Result<Vec<Candidate>, Fault> {
    let mut query = c.prepare_cached(&sql(
        "SELECT queue_id, user_id, session_id, error_class, custom_id FROM nova3_queues
         WHERE run_id=?1
         AND state='failed' -- unless failpoint retry-of-everything
         -- if failpoint retry-of-everything: AND state IN('failed','done')
         AND notes_digest IS NOT NULL
           AND ingest>=(SELECT complete_ingest FROM nova3_runs WHERE run_id=?1)",
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
                user: row.get(1)?,
                session: row.get(2)?,
            });
        }
    }
    Ok(chosen)
}
