//! A task that fans out: splits it into parts, and joins their results.

use crate::agent::{self, FanOut, TaskEnd, TaskOutcome};
use crate::domain::failure::Failure;
use crate::domain::outcome::{Product, Provenance};
use crate::domain::request;
use crate::domain::task::TaskNo;
use crate::engine::work::perform::{material, whole};
use crate::engine::work::worker::Tools;
use crate::store::{Claimed, NewPart, Part, PartOutcome, StoreError};

/// The parts of the present task. `None` if it is not split: only a planned task whose agent fans out is.
pub(in crate::engine) async fn split(
    tools: &Tools,
    queue: &Claimed,
) -> Result<Option<Vec<NewPart>>, StoreError> {
    let request::Work::Brief(brief) = &queue.request.work else {
        return Ok(None);
    };
    let planned = &queue.tasks[queue.current_task];
    let agent = tools.agents.get(&planned.action);
    let Some(agent) = agent.filter(|agent| agent.fan_out != FanOut::No && !queue.task.is_subtask()) else {
        return Ok(None);
    };
    let material = material(tools, queue, Some(agent), &planned.input).await?;
    let input = whole(queue, brief, &material);
    let parts = agent::split(agent, input);
    Ok((!parts.is_empty()).then_some(parts))
}

/// New parts with the numbers that the store gives them.
pub(in crate::engine) fn numbered(index: usize, new: &[NewPart]) -> Vec<Part> {
    let part = |(number, part): (usize, &NewPart)| Part {
        no: TaskNo::part(index, number),
        subject: part.subject.clone(),
        input: part.input.clone(),
    };
    (1..).zip(new).map(part).collect()
}

/// A join that is ready to be settled.
pub(in crate::engine) struct ReadyJoin {
    pub(in crate::engine) done: TaskOutcome,
    /// The failure of a part. The task is completed without that part.
    pub(in crate::engine) flaw: Option<Failure>,
}

/// Joins the parts of the present task, without a call.
pub(in crate::engine) fn join(tools: &Tools, queue: &Claimed, outcomes: Vec<PartOutcome>) -> ReadyJoin {
    let action = queue.tasks.get(queue.current_task).map(|task| &task.action);
    let agent = action.and_then(|action| tools.agents.get(action));
    let agent::JoinOutcome { end, flaw } = agent::join(agent, outcomes, tools.on_failure);
    let mut making = Provenance::without_calls(String::new(), String::new());
    let end = match end {
        Ok((items, warnings)) => {
            making.warnings = warnings;
            TaskEnd::Completed(Product::Items(items))
        }
        Err(failure) => TaskEnd::Failed(failure, None),
    };
    ReadyJoin {
        done: TaskOutcome {
            end,
            making,
            attempts: Vec::new(),
        },
        flaw,
    }
}
