//! The first step of a queue whose tasks nobody gave: pending tasks of the session, else the supervisor's plan.

use super::contain;
use crate::agent::{PlanDone, TaskInput, run_supervisor};
use crate::domain::failure::{Class, Failure};
use crate::domain::outcome::{Attempt, Making};
use crate::domain::request::{Brief, Interaction, Work};
use crate::engine::work::budget::LeaseReservation;
use crate::engine::work::crash_marks::LeaseCrashMarks;
use crate::engine::work::perform::{chain, material};
use crate::engine::work::worker::Tools;
use crate::llm::{Stop, Stopped};
use crate::store::{Claimed, PendingTask, PlanEnd, PlanSettlement, StoreError, TakeOver};

/// What planning came to.
pub(in crate::engine) enum Planning {
    /// The tasks are the queue's already.
    Known(Vec<PendingTask>),
    /// There is something to settle.
    Made(Box<PlanSettlement>),
    /// Nothing more is sent, or the lease was lost; and what was called.
    Interrupted(Vec<Attempt>, Stopped),
}

pub(in crate::engine) async fn plan(
    tools: &Tools,
    queue: &Claimed,
    stop: &Stop,
    reservation: Option<&LeaseReservation<'_>>,
    marks: Option<&LeaseCrashMarks<'_>>,
) -> Result<Planning, StoreError> {
    let Work::Brief(brief) = &queue.request.work else {
        let failure = Failure::new(Class::Internal, "a Batch line has no plan");
        return Ok(Planning::Made(Box::new(failed(queue, failure, Vec::new()))));
    };
    if matches!(brief.interaction, Interaction::Continue | Interaction::Select) {
        match tools.store.take_over(queue.lease).await? {
            TakeOver::Taken(tasks) => return Ok(Planning::Known(tasks)),
            TakeOver::LostLease => return Ok(Planning::Interrupted(Vec::new(), Stopped::Ending)),
            TakeOver::Nothing => {}
        }
    }
    ask(tools, queue, brief, stop, reservation, marks).await
}

async fn ask(
    tools: &Tools,
    queue: &Claimed,
    brief: &Brief,
    stop: &Stop,
    reservation: Option<&LeaseReservation<'_>>,
    marks: Option<&LeaseCrashMarks<'_>>,
) -> Result<Planning, StoreError> {
    let chain = match chain(tools, queue, Some(tools.agents.supervisor())) {
        Ok(chain) => chain,
        Err(name) => {
            let message = format!("`model` `{name}` is no route or chain any more");
            let failure = Failure::new(Class::BadRequest, message);
            return Ok(Planning::Made(Box::new(failed(queue, failure, Vec::new()))));
        }
    };
    let input = crate::agent::planning_input(brief);
    let material = material(tools, queue, &input).await?;
    let task = TaskInput {
        brief,
        input: &input,
        material: &material,
        part: None,
    };
    let PlanDone {
        end,
        making,
        attempts,
    } = run_supervisor(
        tools.context(chain, stop, reservation, marks),
        &tools.agents,
        task,
    )
    .await;
    Ok(match end {
        Ok(end) => Planning::Made(Box::new(PlanSettlement {
            lease: queue.lease,
            end,
            making,
            attempts,
        })),
        Err(why) => Planning::Interrupted(attempts, why),
    })
}

/// There is no plan.
pub(in crate::engine) fn failed(queue: &Claimed, failure: Failure, attempts: Vec<Attempt>) -> PlanSettlement {
    PlanSettlement {
        lease: queue.lease,
        end: PlanEnd::Failed(failure),
        making: contain::with_lost(Making::without_calls(String::new(), String::new()), &attempts),
        attempts,
    }
}

/// The tasks of a plan as the store numbers them.
pub(in crate::engine) fn tasks(end: &PlanEnd) -> Vec<PendingTask> {
    let PlanEnd::Planned(_, steps) = end else {
        return Vec::new();
    };
    (1..)
        .zip(steps)
        .map(|(number, step)| PendingTask {
            task_id: format!("task{number:03}"),
            action: step.action.clone(),
            description: step.description.clone(),
            input: step.input.clone(),
        })
        .collect()
}
