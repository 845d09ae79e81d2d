//! Redoing finished requests: chosen tasks run again, and the earlier result stays until the new one is settled.
//!
//! The rows of the redone tasks are copied to `nova3_task_versions`, where `shown` marks them as part of the result line.
//! The end of the queue drops the marks, or restores the copied rows if the queue failed.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::fault::JobFault;
use super::sessions;
use super::task_counts::recount;
use crate::domain::failure::Failure;
use crate::domain::request::Request;
use crate::domain::state::{QueueEvent, QueueState, Status, TaskStatus, TaskTransition};
use crate::domain::task::TaskNo;
use crate::store::redo::KEPT;
use crate::store::{RedoneQueue, RedoneTask, Redos, RunId, StoreError};

#[async_trait]
impl Redos for SqliteStore {
    async fn redo(&self, run: RunId, queues: Vec<RedoneQueue>) -> Result<u64, StoreError> {
        self.write(move |c| redo(c, run, &queues)).await
    }

    async fn unfinished_redos(&self, run: RunId) -> Result<u64, StoreError> {
        self.read(move |c| unfinished(c, run)).await
    }

    async fn requests(&self, run: RunId, queues: Vec<i64>) -> Result<Vec<(i64, Request)>, StoreError> {
        let stored = self.read(move |c| requests(c, run, &queues)).await?;
        let parsed = stored
            .into_iter()
            .filter_map(|(queue, text)| Some((queue, Request::from_stored(&text).ok()?)));
        Ok(parsed.collect())
    }
}

/// Planned tasks whose earlier rows are part of the result line, as a condition on `task_index` with `?1` as the queue.
pub(super) const OF_SHOWN: &str = "(CASE WHEN task_index<1048576 THEN task_index ELSE (task_index-1048576)>>8 END IN(
     SELECT v.task_index FROM nova3_task_versions v WHERE v.queue_id=?1 AND v.shown AND v.task_index<1048576))";

fn redo(c: &Connection, run: RunId, queues: &[RedoneQueue]) -> Result<u64, JobFault> {
    let ingest: i64 = c.query_row("SELECT ingest FROM nova3_runs WHERE run_id=?1", [run.0], |row| {
        row.get(0)
    })?;
    let mut redone = 0;
    let mut touched = Vec::new();
    for queue in queues {
        let Some(found) = begin(c, run, queue)? else {
            continue;
        };
        redone += 1;
        touched.extend(found);
    }
    for (user, session) in &touched {
        sessions::promote(c, run.0, ingest, user, session)?;
    }
    Ok(redone)
}

/// The user and the session of a queue that has a session.
type SessionKey = Option<(String, String)>;

/// Begins the redo of one queue. Returns `None` if the queue is not finished or not part of the present input.
fn begin(c: &Connection, run: RunId, queue: &RedoneQueue) -> Result<Option<SessionKey>, JobFault> {
    let id = queue.queue_id;
    let found: Option<(String, String, Option<String>)> = c
        .prepare_cached(
            "SELECT state, user_id, session_id FROM nova3_queues WHERE queue_id=?1 AND run_id=?2
               AND state IN('done','failed','paused') AND finish_no IS NOT NULL AND notes_digest IS NOT NULL
               AND task_count IS NOT NULL AND ingest>=(SELECT complete_ingest FROM nova3_runs WHERE run_id=?2)",
        )?
        .query_row(params![id, run.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let (Some((state, user, session)), Some(first)) = (found, queue.tasks.first()) else {
        return Ok(None);
    };
    let state =
        QueueState::parse(&state).ok_or_else(|| JobFault::Row(format!("queue {id} has state `{state}`")))?;
    let event = if session.is_some() {
        QueueEvent::Retried
    } else {
        QueueEvent::RetriedAlone
    };
    let state = super::legal(state.after(event))?;
    c.prepare_cached(
        "INSERT INTO nova3_redos(queue_id, run_id, status, error, error_class, current_task_index, recipe_no, completed_at)
         SELECT queue_id, run_id, status, error, error_class, current_task_index, recipe_no, completed_at
         FROM nova3_queues WHERE queue_id=?1",
    )?
    .execute([id])?;
    for task in &queue.tasks {
        keep(c, id, task.index)?;
    }
    for task in &queue.tasks {
        put_back(c, queue, task)?;
    }
    c.prepare_cached(
        "UPDATE nova3_queues SET state=?2, status=NULL, error=NULL, error_class=NULL, current_task_index=?3
         WHERE queue_id=?1",
    )?
    .execute(params![id, state.as_str(), first.index])?;
    recount(c, id)?;
    Ok(Some(session.map(|session| (user, session))))
}

/// Copies the rows of a planned task and of its subtasks, and removes the subtasks.
fn keep(c: &Connection, queue: i64, index: usize) -> Result<(), JobFault> {
    let task = TaskNo::planned(index).0;
    let (first, last) = (TaskNo::search(index).0, TaskNo::parts_of(index).1);
    c.prepare_cached(
        "INSERT OR REPLACE INTO nova3_task_versions(queue_id, task_index, version, status, result, error, making, completed_at,
           shown, task_id, kind, action, description, input, subject, needs, unmet, created_at)
         SELECT queue_id, task_index, version, status, result, error, making, completed_at, 1, task_id, kind, action,
           description, input, subject, needs, unmet, created_at FROM nova3_tasks
         WHERE queue_id=?1 AND (task_index=?2 OR task_index BETWEEN ?3 AND ?4)",
    )?
    .execute(params![queue, task, first, last])?;
    c.prepare_cached("DELETE FROM nova3_tasks WHERE queue_id=?1 AND task_index BETWEEN ?2 AND ?3")?
        .execute(params![queue, first, last])?;
    Ok(())
}

/// Begins a new version of a planned task. It is ready if it needs no task that is open.
fn put_back(c: &Connection, queue: &RedoneQueue, task: &RedoneTask) -> Result<(), JobFault> {
    let id = queue.queue_id;
    let no = TaskNo::planned(task.index).0;
    let (status, version): (String, i64) = c
        .prepare_cached("SELECT status, version FROM nova3_tasks WHERE queue_id=?1 AND task_index=?2")?
        .query_row(params![id, no], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let before = TaskStatus::parse(&status)
        .ok_or_else(|| JobFault::Row(format!("a task of queue {id} has status `{status}`")))?;
    let mut unmet = 0;
    for need in &task.needs {
        let redone = queue.tasks.iter().any(|other| other.index == *need);
        unmet += usize::from(redone || is_open(c, id, *need)?);
    }
    let after = match (before, unmet) {
        (TaskStatus::Pending, 1..) | (TaskStatus::Ready, 0) => before,
        (TaskStatus::Pending, 0) => super::graph::after(before, TaskTransition::Met)?,
        (_, 0) => super::graph::after(before, TaskTransition::Redone)?,
        (_, 1..) => super::graph::after(before, TaskTransition::RedoneBehind)?,
    };
    let version = if before.is_waiting() {
        version
    } else {
        1 + last_version(c, id, no)?.max(version)
    };
    let needs: Vec<i32> = task.needs.iter().map(|need| TaskNo::planned(*need).0).collect();
    c.prepare_cached(
        "UPDATE nova3_tasks SET status=?3, version=?4, kind='call', needs=?5, unmet=?6, result=NULL, error=NULL, making=NULL,
           completed_at=NULL, wake_at=0, sleep_ms=0 WHERE queue_id=?1 AND task_index=?2",
    )?
    .execute(params![
        id,
        no,
        after.as_str(),
        version,
        serde_json::to_string(&needs)?,
        unmet
    ])?;
    Ok(())
}

fn is_open(c: &Connection, queue: i64, index: usize) -> Result<bool, JobFault> {
    let open: Option<bool> = c
        .prepare_cached(
            "SELECT status NOT IN('completed','failed','skipped') FROM nova3_tasks WHERE queue_id=?1 AND task_index=?2",
        )?
        .query_row(params![queue, TaskNo::planned(index).0], |row| row.get(0))
        .optional()?;
    Ok(open.unwrap_or(false))
}

/// Returns the last stored version of a task from before a retry or a redo, or 0.
pub(super) fn last_version(c: &Connection, queue: i64, task: i32) -> Result<i64, JobFault> {
    Ok(c.prepare_cached(
        "SELECT coalesce(max(version), 0) FROM nova3_task_versions WHERE queue_id=?1 AND task_index=?2",
    )?
    .query_row(params![queue, task], |row| row.get(0))?)
}

/// Ends the redo of a queue that has just ended, if there is one. A failed redo restores the earlier result.
pub(super) fn end(
    c: &Connection,
    queue: i64,
    status: Status,
    failure: Option<&Failure>,
) -> Result<(), JobFault> {
    let Some(earlier) = earlier_status(c, queue)? else {
        return Ok(());
    };
    if status == Status::Failed && earlier != Status::Failed {
        let reason = failure.map_or("", |failure| failure.message.as_str());
        let warning = serde_json::to_string(&[format!("{KEPT}{reason}")])?;
        restore(c, queue, earlier, QueueState::Failed, Some(&warning))?;
    } else {
        c.prepare_cached("UPDATE nova3_queues SET warnings=NULL WHERE queue_id=?1")?
            .execute([queue])?;
    }
    finish(c, queue)
}

/// Cancels the redo of a queue that is about to be superseded, if there is one.
pub(super) fn cancel(c: &Connection, queue: i64, state: QueueState) -> Result<Option<Status>, JobFault> {
    let Some(earlier) = earlier_status(c, queue)? else {
        return Ok(None);
    };
    restore(c, queue, earlier, state, None)?;
    finish(c, queue)?;
    Ok(Some(earlier))
}

/// Returns the status of the earlier result if the queue is being redone.
fn earlier_status(c: &Connection, queue: i64) -> Result<Option<Status>, JobFault> {
    let found: Option<String> = c
        .prepare_cached("SELECT status FROM nova3_redos WHERE queue_id=?1")?
        .query_row([queue], |row| row.get(0))
        .optional()?;
    let parse = |status: String| {
        Status::parse(&status).ok_or_else(|| JobFault::Row(format!("queue {queue} has status `{status}`")))
    };
    found.map(parse).transpose()
}

/// The earlier rows are no longer shown. Those of tasks that had not run are no outcomes, and are deleted. The result
/// line has changed.
fn finish(c: &Connection, queue: i64) -> Result<(), JobFault> {
    c.prepare_cached("DELETE FROM nova3_task_versions WHERE queue_id=?1 AND status IN('pending','ready')")?
        .execute([queue])?;
    c.prepare_cached("UPDATE nova3_task_versions SET shown=0 WHERE queue_id=?1 AND shown")?
        .execute([queue])?;
    c.prepare_cached(
        "UPDATE nova3_runs SET lines_epoch=lines_epoch+1 WHERE run_id=(SELECT run_id FROM nova3_redos WHERE queue_id=?1)",
    )?
    .execute([queue])?;
    c.prepare_cached("DELETE FROM nova3_redos WHERE queue_id=?1")?
        .execute([queue])?;
    Ok(())
}

/// Gives the queue its earlier result again. The outcomes of the failed redo stay as versions.
fn restore(
    c: &Connection,
    queue: i64,
    earlier: Status,
    state: QueueState,
    warning: Option<&str>,
) -> Result<(), JobFault> {
    let state = super::legal(state.after(QueueEvent::Kept(earlier)))?;
    c.prepare_cached(&format!(
        "INSERT OR IGNORE INTO nova3_task_versions(queue_id, task_index, version, status, result, error, making, completed_at)
         SELECT queue_id, task_index, version, status, result, error, making, completed_at FROM nova3_tasks
         WHERE queue_id=?1 AND task_index>=0 AND status IN('completed','failed') AND {OF_SHOWN}"
    ))?
    .execute([queue])?;
    // The version that failed gives way to the earlier one as a whole, so this is no change of a task's state.
    c.prepare_cached(&format!(
        "DELETE FROM nova3_tasks WHERE queue_id=?1 AND task_index>=0 AND {OF_SHOWN}"
    ))?
    .execute([queue])?;
    c.prepare_cached(
        "INSERT INTO nova3_tasks(queue_id, task_index, task_id, kind, action, description, input, subject, needs, unmet, status,
           version, result, error, making, created_at, completed_at)
         SELECT queue_id, task_index, task_id, kind, action, description, input, subject, needs, unmet, status, version, result,
           error, making, created_at, completed_at FROM nova3_task_versions WHERE queue_id=?1 AND shown",
    )?
    .execute([queue])?;
    c.prepare_cached(
        "UPDATE nova3_queues SET state=?2, status=r.status, error=r.error, error_class=r.error_class, recipe_no=r.recipe_no,
           current_task_index=r.current_task_index, completed_at=r.completed_at, warnings=coalesce(?3, warnings)
         FROM nova3_redos r WHERE nova3_queues.queue_id=?1 AND r.queue_id=?1",
    )?
    .execute(params![queue, state.as_str(), warning])?;
    recount(c, queue)
}

fn unfinished(c: &Connection, run: RunId) -> Result<u64, JobFault> {
    Ok(c.prepare_cached(
        "SELECT count(*) FROM nova3_redos r JOIN nova3_queues q USING(queue_id) WHERE r.run_id=?1
           AND q.ingest>=(SELECT complete_ingest FROM nova3_runs WHERE run_id=?1)",
    )?
    .query_row([run.0], |row| row.get(0))?)
}

fn requests(c: &Connection, run: RunId, queues: &[i64]) -> Result<Vec<(i64, String)>, JobFault> {
    let mut query = c.prepare_cached(
        "SELECT r.request FROM nova3_requests r JOIN nova3_queues q USING(queue_id)
         WHERE r.queue_id=?1 AND q.run_id=?2 AND q.notes_digest IS NOT NULL",
    )?;
    let mut found = Vec::new();
    for queue in queues {
        let text: Option<String> = query
            .query_row(params![queue, run.0], |row| row.get(0))
            .optional()?;
        found.extend(text.map(|text| (*queue, text)));
    }
    Ok(found)
}
