//! Plans a queue whose request names no tasks: takes the pending tasks of the session, or else asks the supervisor.

use super::contain;
use crate::agent::{PlanDone, TaskInput, run_supervisor};
use crate::domain::failure::{Class, Failure};
use crate::domain::outcome::{Attempt, Provenance};
use crate::domain::request::{self, Brief, Interaction};
use crate::engine::work::budget::LeaseReservation;
use crate::engine::work::perform::{chain, material};
use crate::engine::work::worker::LeaseContext;
use crate::llm::Stopped;
use crate::observe::TaskEvents;
use crate::store::{Claimed, PendingTask, PlanEnd, PlanSettlement, StoreError, TakeOver};

/// The outcome of planning.
pub(in crate::engine) enum Planning {
    /// The queue has taken over pending tasks. They are already stored.
    Known(Vec<PendingTask>),
    /// A plan, or its failure, that has to be settled.
    Made(Box<PlanSettlement>),
    /// Planning stopped without an outcome, for this reason. Holds the calls that were made.
    Interrupted(Vec<Attempt>, Stopped),
}

pub(in crate::engine) async fn plan(
    work: &LeaseContext<'_>,
    queue: &Claimed,
    reservation: Option<&LeaseReservation<'_>>,
    events: Option<&TaskEvents>,
) -> Result<Planning, StoreError> {
    let request::Work::Brief(brief) = &queue.request.work else {
        let failure = Failure::new(Class::Internal, "a Batch line has no plan");
        return Ok(Planning::Made(Box::new(failed(queue, failure, Vec::new()))));
    };
    if matches!(brief.interaction, Interaction::Continue | Interaction::Select) {
        match work.tools.store.take_over(queue.lease).await? {
            TakeOver::Taken(tasks) => return Ok(Planning::Known(tasks)),
            TakeOver::LostLease => return Ok(Planning::Interrupted(Vec::new(), Stopped::Ending)),
            TakeOver::Nothing => {}
        }
    }
    ask(work, queue, brief, reservation, events).await
}

async fn ask(
    work: &LeaseContext<'_>,
    queue: &Claimed,
    brief: &Brief,
    reservation: Option<&LeaseReservation<'_>>,
    events: Option<&TaskEvents>,
) -> Result<Planning, StoreError> {
    let tools = work.tools;
    let chain = match chain(tools, queue, Some(tools.agents.supervisor())) {
        Ok(chain) => chain,
        Err(name) => {
            let message = format!("`model` `{name}` is no route or chain any more");
            let failure = Failure::new(Class::BadRequest, message);
            return Ok(Planning::Made(Box::new(failed(queue, failure, Vec::new()))));
        }
    };
    let input = crate::agent::planning_input(brief);
    let material = material(tools, queue, None, &input).await?;
    let task = TaskInput {
        brief,
        input: &input,
        metadata: queue.request.metadata.as_deref(),
        material: &material,
        search: None,
        part: None,
    };
    let PlanDone {
        end,
        making,
        attempts,
    } = run_supervisor(
        tools.context(chain, work.stop, reservation, work.marks(queue), events),
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

/// The settlement of a plan that failed.
pub(in crate::engine) fn failed(queue: &Claimed, failure: Failure, attempts: Vec<Attempt>) -> PlanSettlement {
    PlanSettlement {
        lease: queue.lease,
        end: PlanEnd::Failed(failure),
        making: contain::with_lost(Provenance::without_calls(String::new(), String::new()), &attempts),
        attempts,
    }
}

/// The tasks of a plan with the numbers that the store gives them.
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
