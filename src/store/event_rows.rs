//! Expands rows of the event log to events, for both engines.

use serde_json::value::RawValue;

use super::Planned;
use crate::domain::failure::Failure;
use crate::domain::state::Status;
use crate::domain::stream_event::{Happening, SettledEvent, StepRow};

/// The bytes of results after which a page ends early, to limit memory.
pub(super) const PAGE_BYTES: usize = 4 << 20;

/// The most events of one row: the plan, the task, and the end of the request.
const TOLD: i64 = 3;

/// Returns the row of the log that an event was made from.
pub(super) const fn row_of(event_no: i64) -> i64 {
    (event_no - 1) / TOLD + 1
}

/// A row of the log with columns of its queue.
pub(super) struct EventRow {
    pub(super) event_no: i64,
    pub(super) settled_at: i64,
    pub(super) custom_id: Option<String>,
    pub(super) user_id: String,
    pub(super) session_id: Option<String>,
    /// The number of tasks. `None` for a failure from before planning, even after a retry has planned the tasks,
    /// because events are immutable.
    pub(super) total_tasks: Option<usize>,
    pub(super) task: Option<usize>,
    pub(super) planned: bool,
    pub(super) body: Option<String>,
    pub(super) status: Option<String>,
}

/// A task of the row's queue. A result is never overwritten, so the log needs no copy of it.
pub(super) struct EventTask {
    pub(super) task_id: String,
    pub(super) action: String,
    pub(super) description: String,
    pub(super) input: String,
    /// Its result, if it is the row's task and completed.
    pub(super) result: Option<String>,
}

/// Adds the events of the row. Returns their estimated bytes.
pub(super) fn expand(
    row: EventRow,
    mut tasks: Vec<EventTask>,
    told: &mut Vec<SettledEvent>,
) -> Result<usize, serde_json::Error> {
    let mut bytes = 512;
    let mut happenings = Vec::new();
    if row.planned {
        happenings.push(Happening::Planned {
            steps: match &row.body {
                Some(steps) if row.task.is_none() => planned_steps(steps)?,
                _ => tasks.iter().map(step).collect(),
            },
        });
    }
    // The body of a plan is its steps and no failure.
    let failure = row.body.filter(|_| row.task.is_some() || happenings.is_empty());
    let next = row.task.map(|task| task + 1).and_then(|next| tasks.get(next));
    let next = next.map(|task| task.action.clone());
    let paused_after = tasks.get(row.task.unwrap_or(0)).map(|task| task.task_id.clone());
    match (failure, row.task) {
        (Some(failure), task) => {
            let failure: Failure = serde_json::from_str(&failure)?;
            let task = task.and_then(|task| tasks.get(task));
            happenings.push(Happening::Failed {
                task_id: task.map(|task| task.task_id.clone()),
                action: task.map(|task| task.action.clone()),
                class: failure.class,
                message: failure.message,
            });
        }
        (None, Some(task)) if task < tasks.len() => {
            let task = tasks.swap_remove(task);
            if let Some(result) = task.result {
                bytes += result.len() * 2;
                happenings.push(Happening::Completed {
                    task_id: task.task_id,
                    action: task.action,
                    result: RawValue::from_string(result)?,
                });
            }
        }
        (None, _) => {}
    }
    match row.status.as_deref().and_then(Status::parse) {
        Some(Status::Paused) => happenings.push(Happening::Paused {
            after: paused_after.unwrap_or_default(),
            next,
        }),
        Some(status) => happenings.push(Happening::Ended { status }),
        None => {}
    }
    for (part, what) in (0..).zip(happenings) {
        told.push(SettledEvent {
            event_no: (row.event_no - 1) * TOLD + part + 1,
            settled_at: row.settled_at,
            custom_id: row.custom_id.clone(),
            user_id: row.user_id.clone(),
            session_id: row.session_id.clone(),
            total_tasks: match &what {
                Happening::Planned { steps } => steps.len(),
                _ => row.total_tasks.unwrap_or(0),
            },
            what,
        });
    }
    Ok(bytes)
}

/// Parses the steps of a plan as it was made.
fn planned_steps(steps: &str) -> Result<Vec<StepRow>, serde_json::Error> {
    let steps: Vec<Planned> = serde_json::from_str(steps)?;
    let row = |(number, step): (usize, Planned)| StepRow {
        task_id: format!("task{number:03}"),
        action: step.action,
        description: step.description,
        input: step.input,
    };
    Ok((1..).zip(steps).map(row).collect())
}

fn step(task: &EventTask) -> StepRow {
    StepRow {
        task_id: task.task_id.clone(),
        action: task.action.clone(),
        description: task.description.clone(),
        input: task.input.clone(),
    }
}
