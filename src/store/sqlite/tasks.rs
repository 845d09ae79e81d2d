//! The rows of a queue's tasks: making and reading them.

use rusqlite::{CachedStatement, Connection, params};

use super::fault::JobFault;
use crate::domain::state::TaskStatus;
use crate::domain::task::{TaskKind, TaskNo};
use crate::store::keys::{COMPLETION, PLANNING};
use crate::store::{Part, PendingTask, Planned};

/// Whether a task of the queue was begun: one is settled, or a call for one is in the ledger.
pub(super) fn is_begun(c: &Connection, run: i64, queue_id: i64) -> Result<bool, JobFault> {
    Ok(c.prepare_cached(
        "SELECT EXISTS(SELECT 1 FROM nova3_tasks WHERE queue_id=?2 AND task_index>=0 AND status NOT IN('pending','ready'))
           OR EXISTS(SELECT 1 FROM nova3_attempts WHERE run_id=?1 AND queue_id=?2 AND task_index>=0)",
    )?
    .query_row([run, queue_id], |row| row.get(0))?)
}

/// Adds the only task of a bad Batch line, so that its result has the form of a Batch line.
pub(super) fn write_failed_completion(c: &Connection, queue_id: i64, now: i64) -> Result<(), JobFault> {
    c.prepare_cached(
        "INSERT INTO nova3_tasks(queue_id, task_index, task_id, action, input, status, created_at)
         VALUES(?1,0,'task001',?2,'','failed',?3)",
    )?
    .execute(params![queue_id, COMPLETION, now])?;
    Ok(())
}

/// Adds the tasks of a new queue: those of its plan, or planning. The first is ready.
pub(super) fn write(c: &Connection, queue_id: i64, steps: &[Planned], now: i64) -> Result<(), JobFault> {
    if !steps.is_empty() {
        return insert_planned(c, queue_id, steps, now);
    }
    c.prepare_cached(
        "INSERT INTO nova3_tasks(queue_id, task_index, task_id, kind, action, input, status, created_at)
         VALUES(?1,?2,?3,?4,?5,'','ready',?6)",
    )?
    .execute(params![
        queue_id,
        TaskNo::PLAN.0,
        TaskNo::PLAN.to_string(),
        TaskKind::Plan.as_str(),
        PLANNING,
        now
    ])?;
    Ok(())
}

/// Adds a row for each planned task, which needs the one before it or the tasks that the plan says.
pub(super) fn insert_planned(
    c: &Connection,
    queue_id: i64,
    steps: &[Planned],
    now: i64,
) -> Result<(), JobFault> {
    let mut insert = c.prepare_cached(
        "INSERT INTO nova3_tasks(queue_id, task_index, task_id, action, description, input, needs, unmet, status, created_at)
         VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
    )?;
    for (index, step) in steps.iter().enumerate() {
        let task = TaskNo::planned(index);
        let needs = step.needed(index);
        let status = if needs.is_empty() {
            TaskStatus::Ready
        } else {
            TaskStatus::Pending
        };
        insert.execute(params![
            queue_id,
            task.0,
            task.to_string(),
            step.action,
            step.description,
            step.input,
            serde_json::to_string(&needs)?,
            needs.len(),
            status.as_str(),
            now
        ])?;
    }
    Ok(())
}

/// Returns a queue's planned tasks in order, including settled ones.
pub(super) fn planned(c: &Connection, queue_id: i64) -> Result<Vec<PendingTask>, JobFault> {
    let query = c.prepare_cached(
        "SELECT task_id, action, description, input FROM nova3_tasks
         WHERE queue_id=?1 AND task_index>=0 AND task_index<?2 ORDER BY task_index",
    )?;
    read(query, queue_id)
}

/// Returns the planned tasks of a paused queue that are not settled, in order.
pub(super) fn unsettled(c: &Connection, queue_id: i64) -> Result<Vec<PendingTask>, JobFault> {
    let query = c.prepare_cached(
        "SELECT task_id, action, description, input FROM nova3_tasks
         WHERE queue_id=?1 AND task_index>=0 AND task_index<?2 AND status IN('pending','ready') ORDER BY task_index",
    )?;
    read(query, queue_id)
}

fn read(mut query: CachedStatement<'_>, queue_id: i64) -> Result<Vec<PendingTask>, JobFault> {
    let mut rows = query.query(params![queue_id, TaskNo::PLANNED_END])?;
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

/// A task as a claim reads it.
pub(super) struct TaskRow {
    pub(super) no: TaskNo,
    pub(super) kind: TaskKind,
    pub(super) crashes: i64,
    pub(super) panics: u32,
    pub(super) quarantine: usize,
    is_ready: bool,
    wake_at: i64,
    sleep_ms: i64,
    task: PendingTask,
    subject: Option<String>,
}

impl TaskRow {
    /// Whether it is ready and awake, and its quarantine matches `quarantined`. It is also awake when the clock was set
    /// back.
    pub(super) const fn is_claimable(&self, quarantined: bool, now: i64) -> bool {
        let awake = self.wake_at <= now || self.wake_at > now.saturating_add(self.sleep_ms);
        self.is_ready && awake && (self.quarantine > 0) == quarantined
    }

    /// Returns its action, description and input if it is a planned task.
    pub(super) fn planned(&self) -> Option<PendingTask> {
        let is_planned = self.no != TaskNo::PLAN && !self.no.is_subtask();
        is_planned.then(|| self.task.clone())
    }

    /// Returns the parts of the task that it is a part of or joins. Empty for other tasks.
    pub(super) fn parts_among(&self, tasks: &[Self]) -> Vec<Part> {
        let parts = tasks
            .iter()
            .filter(|task| task.no.is_part() && task.no.index() == self.no.index());
        let parts = parts.map(|task| Part {
            no: task.no,
            subject: task.subject.clone(),
            input: task.task.input.clone(),
        });
        parts.collect()
    }
}

/// Returns all tasks of a queue in the order of their numbers.
pub(super) fn of_queue(c: &Connection, queue_id: i64) -> Result<Vec<TaskRow>, JobFault> {
    let mut query = c.prepare_cached(
        "SELECT task_index, kind, crashes, panics, quarantine, status='ready', wake_at, sleep_ms, task_id, action,
           description, input, subject FROM nova3_tasks WHERE queue_id=?1 ORDER BY task_index",
    )?;
    let mut rows = query.query([queue_id])?;
    let mut tasks = Vec::new();
    while let Some(row) = rows.next()? {
        let kind = row
            .get_ref(1)?
            .as_str()
            .map_err(|error| JobFault::Row(error.to_string()))?;
        tasks.push(TaskRow {
            no: TaskNo(row.get(0)?),
            kind: TaskKind::parse(kind).ok_or_else(|| JobFault::Row(format!("a task is a `{kind}`")))?,
            crashes: row.get(2)?,
            panics: row.get(3)?,
            quarantine: row.get(4)?,
            is_ready: row.get(5)?,
            wake_at: row.get(6)?,
            sleep_ms: row.get(7)?,
            task: PendingTask {
                task_id: row.get(8)?,
                action: row.get(9)?,
                description: row.get(10)?,
                input: row.get(11)?,
            },
            subject: row.get(12)?,
        });
    }
    Ok(tasks)
}
