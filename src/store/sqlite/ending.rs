//! The end of a queue.

use rusqlite::{Connection, params};

use super::fault::JobFault;
use super::redo;
use crate::domain::failure::Failure;
use crate::domain::state::{QueueEvent, QueueState, Status};

/// How a queue ends.
pub(super) struct QueueEnd<'a> {
    pub(super) queue_id: i64,
    pub(super) status: Status,
    pub(super) finish_no: i64,
    pub(super) settled_tasks: usize,
    /// The failure of its last settled task. A failure that the queue already has is kept.
    pub(super) failure: Option<&'a Failure>,
    /// Whether prompts and models of the run made the result. A Batch line has neither.
    pub(super) prompted: bool,
    /// How many tasks are ready behind a pause.
    pub(super) ready: usize,
}

/// Ends the queue, and its redo if there is one.
pub(super) fn finish(c: &Connection, ending: &QueueEnd<'_>, now: i64) -> Result<(), JobFault> {
    let event = match ending.status {
        Status::Failed => QueueEvent::Failed,
        Status::Paused => QueueEvent::Paused,
        Status::Continued => QueueEvent::Continued,
        Status::Completed | Status::Partial => QueueEvent::Finished,
    };
    let state = super::legal(QueueState::Open.after(event))?;
    c.prepare_cached(
        "UPDATE nova3_queues SET state=?2, status=?3, finish_no=?4, current_task_index=?5, error=coalesce(error, ?6),
           error_class=coalesce(error_class, ?7), last_accessed=?8, completed_at=?8,
           recipe_no=CASE WHEN ?9 THEN (SELECT r.recipe_no FROM nova3_runs r WHERE r.run_id=nova3_queues.run_id) END,
           ready=?10, leased=0, submitted=0, quarantine=0, wake_at=0, sleep_ms=0
         WHERE queue_id=?1",
    )?
    .execute(params![
        ending.queue_id,
        state.as_str(),
        ending.status.as_str(),
        ending.finish_no,
        ending.settled_tasks,
        ending.failure.map(serde_json::to_string).transpose()?,
        ending.failure.map(|failure| failure.class.as_str()),
        now,
        ending.prompted,
        ending.ready,
    ])?;
    redo::end(c, ending.queue_id, ending.status, ending.failure)
}
