//! One leased queue through its tasks: resolve, perform, judge, settle, announce.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::planning;
use super::purse::{LeasePurse, Till};
use super::{Job, World};
use crate::agent::{self, Agent, Agents, COMPLETION, Desk, Done, Planner, TaskEnd, TaskInput};
use crate::config::ContextBudget;
use crate::domain::failure::{Class, Failure};
use crate::domain::outcome::{Attempt, Making};
use crate::domain::request::Work;
use crate::domain::usage::{Cost, Usage};
use crate::llm::{Chain, Client, Purse, Stop, Stopped};
use crate::store::{
    Claimed, Lease, Left, Material, RunId, Settled, Settlement, Store, StoreError, Then, Wanted,
};

/// What workers tell the dispatcher.
#[derive(Debug)]
pub(super) enum Fact {
    /// The last answer of a queue is in and goes to the store: its slot is free.
    AnswerIn(Lease),
    /// A task, or the plan, is durable.
    Settled {
        /// Its queue.
        lease: Lease,
        /// What the store said.
        settled: Settled,
        /// What it used.
        usage: Usage,
        /// What that cost, waste included.
        cost: Cost,
    },
    /// The queue was left as it was, and is to be given back.
    Interrupted(Left, Stopped),
    /// The queue has no task left to do, though the store calls it unfinished: it is to be given back, and rests.
    NothingToDo(Lease),
    /// The store failed.
    StoreFailed(StoreError),
}

/// What all workers share: ports and settings, never state.
pub(super) struct Tools {
    pub(super) store: Arc<dyn Store>,
    pub(super) client: Arc<Client>,
    pub(super) agents: Arc<Agents>,
    pub(super) planner: Arc<Planner>,
    pub(super) budget: ContextBudget,
    /// Whether queues are only planned (`nova3 plan --call`).
    pub(super) plan_only: bool,
    /// The money of a run with a cost cap.
    pub(super) till: Option<Till>,
}

impl Tools {
    pub(super) fn new(world: &World, job: &Job, run: RunId) -> Self {
        let cap = job.conditions.max_cost;
        Self {
            store: Arc::clone(&world.store),
            client: Arc::clone(&world.client),
            agents: Arc::clone(&world.agents),
            planner: Arc::clone(&world.planner),
            budget: world.budget,
            plan_only: job.plan_only,
            till: cap.map(|cap| Till::new(Arc::clone(&world.store), run, cap)),
        }
    }

    /// What an agent works with on a chain.
    pub(super) fn desk<'t>(
        &'t self,
        chain: &'t Chain,
        stop: &'t Stop,
        purse: Option<&'t LeasePurse<'t>>,
    ) -> Desk<'t> {
        Desk {
            client: &self.client,
            chain,
            budget: &self.budget,
            stop,
            purse: purse.map(|purse| purse as &dyn Purse),
        }
    }

    /// What a task pays from, under a cost cap; to be kept until it is settled.
    fn purse<'t>(
        &'t self,
        lease: Lease,
        task: Option<usize>,
        stop: &'t Stop,
        teller: &'t Teller,
    ) -> Option<LeasePurse<'t>> {
        let till = self.till.as_ref()?;
        Some(till.purse(lease, task, stop, &teller.0))
    }
}

/// What tells the dispatcher, which may be gone: then it has ended the run and nobody needs the fact.
struct Teller(UnboundedSender<Fact>);

impl Teller {
    fn tell(&self, fact: Fact) {
        drop(self.0.send(fact));
    }
}

/// Works on the queue until it is finished, paused, interrupted, or no longer ours, which `stop` tells.
pub(super) async fn work(tools: Arc<Tools>, mut queue: Claimed, stop: Stop, facts: UnboundedSender<Fact>) {
    let teller = Teller(facts);
    if !queue.planned && !plan(&tools, &mut queue, &stop, &teller).await {
        return;
    }
    if tools.plan_only {
        return teller.tell(Fact::Interrupted(Left::untouched(queue.lease), Stopped::Ending));
    }
    if queue.current_task >= queue.tasks.len() {
        return teller.tell(Fact::NothingToDo(queue.lease));
    }
    for task in queue.current_task..queue.tasks.len() {
        if !step(&tools, &queue, task, &stop, &teller).await {
            return;
        }
    }
}

/// Finds out the queue's tasks; answers whether it goes on.
async fn plan(tools: &Tools, queue: &mut Claimed, stop: &Stop, teller: &Teller) -> bool {
    let purse = tools.purse(queue.lease, None, stop, teller);
    match planning::plan(tools, queue, stop, purse.as_ref()).await {
        Ok(planning::Planning::Known(tasks)) => {
            queue.tasks = tasks;
            queue.planned = true;
            true
        }
        Ok(planning::Planning::Made(settlement)) => {
            let (usage, cost) = spent(&settlement.making);
            let tasks = planning::tasks(&settlement.end);
            match tools.store.settle_plan(*settlement).await {
                Ok(settled) => {
                    let lease = queue.lease;
                    teller.tell(Fact::Settled {
                        lease,
                        settled,
                        usage,
                        cost,
                    });
                    queue.tasks = tasks;
                    queue.planned = true;
                    settled == Settled::Stepped
                }
                Err(error) => {
                    teller.tell(Fact::StoreFailed(error));
                    false
                }
            }
        }
        Ok(planning::Planning::Interrupted(attempts, why)) => {
            teller.tell(Fact::Interrupted(left(queue, None, attempts), why));
            false
        }
        Err(error) => {
            teller.tell(Fact::StoreFailed(error));
            false
        }
    }
}

/// Does one task and settles it; answers whether the queue goes on.
async fn step(tools: &Tools, queue: &Claimed, task: usize, stop: &Stop, teller: &Teller) -> bool {
    let purse = tools.purse(queue.lease, Some(task), stop, teller);
    let done = match perform(tools, queue, task, stop, purse.as_ref()).await {
        Ok(done) => done,
        Err(error) => {
            teller.tell(Fact::StoreFailed(error));
            return false;
        }
    };
    let Done {
        end,
        mut making,
        attempts,
    } = done;
    let (usage, cost) = spent(&making);
    let (settlement, ends) = match end {
        TaskEnd::Interrupted(why) => {
            teller.tell(Fact::Interrupted(left(queue, Some(task), attempts), why));
            return false;
        }
        TaskEnd::Completed(product) => {
            let then = then(tools, queue, task, &mut making);
            let ends = then == Then::Pause || task + 1 == queue.tasks.len();
            let settlement = Settlement::completed(queue.lease, task, product, then, making, attempts);
            (settlement, ends)
        }
        TaskEnd::Failed(failure, response) => {
            let failure = Failure {
                task_id: Some(queue.tasks[task].task_id.clone()),
                ..failure
            };
            (
                Settlement::failed(queue.lease, task, failure, response, making, attempts),
                true,
            )
        }
    };
    if ends {
        teller.tell(Fact::AnswerIn(queue.lease));
    }
    match tools.store.settle(settlement).await {
        Ok(settled) => {
            teller.tell(Fact::Settled {
                lease: queue.lease,
                settled,
                usage,
                cost,
            });
            settled == Settled::Stepped
        }
        Err(error) => {
            teller.tell(Fact::StoreFailed(error));
            false
        }
    }
}

fn left(queue: &Claimed, task: Option<usize>, attempts: Vec<Attempt>) -> Left {
    Left {
        task,
        attempts,
        ..Left::untouched(queue.lease)
    }
}

fn spent(making: &Making) -> (Usage, Cost) {
    (making.usage, making.cost.unwrap_or_default().plus(making.wasted))
}

/// Whether the queue pauses behind the task. A stop that its tasks never come to is told at its end.
fn then(tools: &Tools, queue: &Claimed, task: usize, making: &mut Making) -> Then {
    let Work::Brief(brief) = &queue.request.work else {
        return Then::GoOn;
    };
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

/// The route or chain that the line asks for, else the one its agent wants, else the default one.
pub(super) fn chain<'t>(
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

/// What was made before, as far as the request may build on it.
pub(super) async fn material(tools: &Tools, queue: &Claimed, input: &str) -> Result<Material, StoreError> {
    let Work::Brief(brief) = &queue.request.work else {
        return Ok(Material::default());
    };
    let items = agent::wanted_items(brief, input);
    // A single task of a request that is alone has nothing before it.
    if queue.request.session.is_none() && queue.tasks.len() <= 1 && items.is_empty() {
        return Ok(Material::default());
    }
    tools
        .store
        .context(&Wanted {
            queue_id: queue.lease.queue_id,
            user: queue.request.user.clone(),
            session: queue.request.session.clone(),
            items,
            rounds: tools.budget.rounds,
        })
        .await
}

async fn perform(
    tools: &Tools,
    queue: &Claimed,
    task: usize,
    stop: &Stop,
    purse: Option<&LeasePurse<'_>>,
) -> Result<Done, StoreError> {
    let planned = &queue.tasks[task];
    let agent = tools.agents.get(&planned.action);
    let chain = match chain(tools, queue, agent) {
        Ok(chain) => chain,
        Err(name) => {
            let message = format!("`model` `{name}` is no route or chain any more");
            return Ok(impossible(name, Class::BadRequest, message));
        }
    };
    match (&queue.request.work, agent) {
        (Work::Completion(completion), _) if planned.action == COMPLETION => {
            Ok(agent::run_completion(tools.desk(chain, stop, purse), completion).await)
        }
        (Work::Brief(brief), Some(agent)) => {
            let material = material(tools, queue, &planned.input).await?;
            let desk = tools.desk(chain, stop, purse);
            let input = TaskInput {
                brief,
                input: &planned.input,
                material: &material,
            };
            Ok(agent::run_agent(desk, agent, input).await)
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

fn impossible(route: String, class: Class, message: String) -> Done {
    Done {
        end: TaskEnd::Failed(Failure::new(class, message), None),
        making: Making::without_calls(route, String::new()),
        attempts: Vec::new(),
    }
}
