//! One leased queue through its tasks: resolve, perform, judge, settle, announce.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::agent::{self, Agents, COMPLETION, Done, TaskEnd};
use crate::domain::failure::{Class, Failure};
use crate::domain::outcome::Making;
use crate::domain::request::Work;
use crate::domain::usage::{Cost, Usage};
use crate::llm::{Client, Route, Stop};
use crate::store::{Claimed, Lease, Settled, Settlement, Store, StoreError};

/// What workers tell the dispatcher.
#[derive(Debug)]
pub(super) enum Fact {
    /// The last answer of a queue is in and goes to the store: its slot is free.
    AnswerIn(Lease),
    /// A task is durable.
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
    /// The queue was left as it was.
    Interrupted(Lease),
    /// The store failed.
    StoreFailed(StoreError),
}

/// What all workers share: ports, never state.
pub(super) struct Tools {
    pub(super) store: Arc<dyn Store>,
    pub(super) client: Arc<Client>,
    pub(super) agents: Arc<Agents>,
    pub(super) stop: Stop,
}

/// Works on the queue until it is finished, interrupted, or no longer ours.
pub(super) async fn work(tools: Arc<Tools>, queue: Claimed, facts: UnboundedSender<Fact>) {
    // A dispatcher that is gone has ended the run; nobody needs the fact.
    let tell = |fact| drop(facts.send(fact));
    for task in queue.current_task..queue.tasks.len() {
        let Done {
            end,
            making,
            attempts,
        } = perform(&tools, &queue, task).await;
        let (usage, cost) = (making.usage, making.cost.unwrap_or_default().plus(making.wasted));
        let last = task + 1 == queue.tasks.len();
        let (settlement, ends) = match end {
            TaskEnd::Interrupted => return tell(Fact::Interrupted(queue.lease)),
            TaskEnd::Completed(product) => (
                Settlement::completed(queue.lease, task, product, making, attempts),
                last,
            ),
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
            tell(Fact::AnswerIn(queue.lease));
        }
        match tools.store.settle(settlement).await {
            Ok(settled) => {
                tell(Fact::Settled {
                    lease: queue.lease,
                    settled,
                    usage,
                    cost,
                });
                if settled != Settled::Stepped {
                    return;
                }
            }
            Err(error) => return tell(Fact::StoreFailed(error)),
        }
    }
}

async fn perform(tools: &Tools, queue: &Claimed, task: usize) -> Done {
    let Some(route) = tools.client.route(queue.request.model.as_deref()) else {
        let name = queue.request.model.clone().unwrap_or_default();
        return impossible(
            name.clone(),
            Class::BadRequest,
            format!("`model` `{name}` is no route any more"),
        );
    };
    let planned = &queue.tasks[task];
    match (&queue.request.work, tools.agents.get(&planned.action)) {
        (Work::Completion(completion), _) if planned.action == COMPLETION => {
            agent::run_completion(&tools.client, route, completion, &tools.stop).await
        }
        (Work::Brief(brief), Some(agent)) => {
            agent::run_agent(&tools.client, route, agent, brief, &planned.input, &tools.stop).await
        }
        _ => {
            let message = format!("action `{}` has no agent in this version", planned.action);
            impossible(name_of(route), Class::BadRequest, message)
        }
    }
}

fn name_of(route: &Route) -> String {
    route.settings.name.clone()
}

fn impossible(route: String, class: Class, message: String) -> Done {
    let making = Making {
        route,
        model: String::new(),
        attempts: 0,
        usage: Usage::default(),
        cost: None,
        wasted: Cost::ZERO,
        duration_ms: 0,
        first_token_ms: None,
    };
    Done {
        end: TaskEnd::Failed(Failure::new(class, message), None),
        making,
        attempts: Vec::new(),
    }
}
