//! Performs one task of a leased queue: its material, its calls, and whether the queue pauses after it.

use crate::agent::{self, Agent, COMPLETION, PartOf, TaskEnd, TaskInput, TaskOutcome};
use crate::domain::failure::{Class, Failure};
use crate::domain::outcome::Provenance;
use crate::domain::request::{self, Brief};
use crate::domain::task_search::TaskSearch;
use crate::engine::work::budget::LeaseReservation;
use crate::engine::work::worker::{LeaseContext, Tools};
use crate::llm::Chain;
use crate::observe::TaskEvents;
use crate::store::{Claimed, Material, StoreError, Then, Wanted};

/// The route or chain that the line names, or else the one that the agent names, or else the default one.
pub(in crate::engine) fn chain<'t>(
    tools: &'t Tools,
    queue: &Claimed,
    agent: Option<&Agent>,
) -> Result<&'t Chain, String> {
    let wanted = queue
        .request
        .model
        .as_deref()
        .or(agent.and_then(|agent| agent.model.as_deref()));
    tools
        .client
        .chain(wanted)
        .ok_or_else(|| wanted.unwrap_or_default().to_owned())
}

/// Earlier results that the task may use.
pub(in crate::engine) async fn material(
    tools: &Tools,
    queue: &Claimed,
    agent: Option<&Agent>,
    input: &str,
) -> Result<Material, StoreError> {
    let request::Work::Brief(brief) = &queue.request.work else {
        return Ok(Material::default());
    };
    let items = agent::wanted_items(brief, input);
    // The only task of a request without a session has no earlier results.
    if queue.request.session.is_none() && queue.tasks.len() <= 1 && items.is_empty() {
        return Ok(Material::default());
    }
    let mut material = tools
        .store
        .context(&Wanted {
            queue_id: Some(queue.lease.queue_id),
            user: queue.request.user.clone(),
            session: queue.request.session.clone(),
            items,
            rounds: tools.budget.rounds,
        })
        .await?;
    if let Some(agent) = agent {
        agent.keep_seen(&mut material);
    }
    Ok(material)
}

/// The input of the present task as a whole: before its search, and before it is split.
pub(in crate::engine) fn whole<'a>(
    queue: &'a Claimed,
    brief: &'a Brief,
    material: &'a Material,
) -> TaskInput<'a> {
    TaskInput {
        brief,
        input: &queue.tasks[queue.current_task].input,
        metadata: queue.request.metadata.as_deref(),
        material,
        search: None,
        part: None,
    }
}

/// Whether the present task is to be done. The inner error fails the task.
pub(in crate::engine) async fn is_due(
    tools: &Tools,
    queue: &Claimed,
) -> Result<Result<bool, Failure>, StoreError> {
    let planned = &queue.tasks[queue.current_task];
    let agent = tools.agents.get(&planned.action);
    let agent = agent.filter(|agent| agent.when.is_some() && !queue.task.is_subtask());
    let (request::Work::Brief(brief), Some(agent)) = (&queue.request.work, agent) else {
        return Ok(Ok(true));
    };
    let material = material(tools, queue, Some(agent), &planned.input).await?;
    let input = whole(queue, brief, &material);
    Ok(agent::is_due(agent, input))
}

/// Performs the queue's present task, or the present part, with the result of its search.
pub(in crate::engine) async fn perform(
    work: &LeaseContext<'_>,
    queue: &Claimed,
    search: Option<&TaskSearch>,
    reservation: Option<&LeaseReservation<'_>>,
    events: Option<&TaskEvents>,
) -> Result<TaskOutcome, StoreError> {
    let (tools, stop) = (work.tools, work.stop);
    let planned = &queue.tasks[queue.current_task];
    let agent = tools.agents.get(&planned.action);
    let chain = match chain(tools, queue, agent) {
        Ok(chain) => chain,
        Err(name) => {
            let message = format!("`model` `{name}` is no route or chain any more");
            return Ok(impossible(name, Class::BadRequest, message));
        }
    };
    let context = tools.context(chain, stop, reservation, work.marks(queue), events);
    match (&queue.request.work, agent) {
        (request::Work::Completion(completion), _) if planned.action == COMPLETION => {
            Ok(agent::run_completion(context, completion).await)
        }
        (request::Work::Brief(brief), Some(agent)) => {
            let part = queue.parts.iter().find(|part| part.no == queue.task);
            let input = part.map_or(&planned.input, |part| &part.input);
            let material = material(tools, queue, Some(agent), input).await?;
            let input = TaskInput {
                brief,
                input,
                metadata: queue.request.metadata.as_deref(),
                material: &material,
                search,
                part: part.map(|part| PartOf {
                    number: part.no.part_no().unwrap_or(1),
                    of: queue.parts.len(),
                    subject: part.subject.as_deref(),
                }),
            };
            Ok(agent::run_agent(context, agent, input).await)
        }
        _ => {
            let message = format!("there is no agent for the action `{}` any more", planned.action);
            Ok(impossible(
                chain.first().settings.name.clone(),
                Class::BadRequest,
                message,
            ))
        }
    }
}

/// A task that fails without a call.
pub(in crate::engine) fn impossible(route: String, class: Class, message: String) -> TaskOutcome {
    TaskOutcome {
        end: TaskEnd::Failed(Failure::new(class, message), None),
        making: Provenance::without_calls(route, String::new()),
        attempts: Vec::new(),
    }
}

/// Whether the queue pauses after the task. At the last task, warns if the queue has no task for the request's `until`.
pub(in crate::engine) fn then(tools: &Tools, queue: &Claimed, making: &mut Provenance) -> Then {
    let (request::Work::Brief(brief), false) = (&queue.request.work, queue.task.is_subtask()) else {
        return Then::GoOn;
    };
    let task = queue.current_task;
    let stops = tools.planner.stops_of(brief);
    let last = task + 1 == queue.tasks.len();
    if let Some(until) = stops.until.as_ref().filter(|_| last)
        && !queue.tasks.iter().any(|task| task.action == until.as_str())
    {
        making.warnings.push(format!(
            "`until` is `{until}`, and the queue has no such task: it ran through"
        ));
    }
    if stops.after(&queue.tasks[task].action) {
        Then::Pause
    } else {
        Then::GoOn
    }
}
