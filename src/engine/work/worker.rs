//! One leased queue through its tasks: resolve, perform, judge, settle, announce.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::mpsc::UnboundedSender;
use tracing::Instrument;

use crate::agent::{AgentContext, Agents, Done, Planner, TaskEnd};
use crate::config::ContextBudget;
use crate::domain::failure::{Class, Failure};
use crate::domain::outcome::{Attempt, Making, Product};
use crate::domain::usage::{Cost, Usage};
use crate::engine::job::{Job, Services};
use crate::engine::work::budget::{CostBudget, LeaseReservation};
use crate::engine::work::contain::{self, AfterPanic};
use crate::engine::work::crash_marks::LeaseCrashMarks;
use crate::engine::work::perform::{impossible, perform, then};
use crate::engine::work::planning::{self, Planning};
use crate::llm::{Chain, Client, CostReservation, Marks, Stop, Stopped};
use crate::store::{Claimed, Lease, Left, RunId, Settled, Settlement, Store, StoreError, Then, Unreadable};

/// What workers tell the dispatcher.
#[derive(Debug)]
pub(in crate::engine) enum Fact {
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
    /// A request has failed, and why.
    Failed(String),
    /// The queue was left as it was, and is to be given back.
    Interrupted(Left, Stopped),
    /// The queue has no task left to do, though the store calls it unfinished: it is to be given back, and rests.
    NothingToDo(Lease),
    /// The store refuses whatever is to be settled of the queue, a failure too.
    Unsettled(Lease, StoreError),
    /// The store failed.
    StoreFailed(StoreError),
}

/// What all workers share: ports and settings, never state.
pub(in crate::engine) struct Tools {
    pub(in crate::engine) store: Arc<dyn Store>,
    pub(in crate::engine) client: Arc<Client>,
    pub(in crate::engine) agents: Arc<Agents>,
    pub(in crate::engine) planner: Arc<Planner>,
    pub(in crate::engine) budget: ContextBudget,
    /// Whether queues are only planned (`nova3 plan --call`).
    pub(in crate::engine) plan_only: bool,
    /// The money of a run with a cost cap.
    pub(in crate::engine) cost_budget: Option<CostBudget>,
}

impl Tools {
    pub(in crate::engine) fn new(services: &Services, job: &Job, run: RunId) -> Self {
        let cap = job.conditions.max_cost;
        Self {
            store: Arc::clone(&services.store),
            client: Arc::clone(&services.client),
            agents: Arc::clone(&services.agents),
            planner: Arc::clone(&services.planner),
            budget: services.budget,
            plan_only: job.plan_only,
            cost_budget: cap.map(|cap| CostBudget::new(Arc::clone(&services.store), run, cap)),
        }
    }

    /// What an agent works with on a chain.
    pub(in crate::engine) fn context<'t>(
        &'t self,
        chain: &'t Chain,
        stop: &'t Stop,
        reservation: Option<&'t LeaseReservation<'t>>,
        marks: Option<&'t LeaseCrashMarks<'t>>,
    ) -> AgentContext<'t> {
        AgentContext {
            client: &self.client,
            chain,
            budget: &self.budget,
            stop,
            reservation: reservation.map(|reservation| reservation as &dyn CostReservation),
            marks: marks.map(|marks| marks as &dyn Marks),
        }
    }

    /// What a task pays from, under a cost cap; to be kept until it is settled.
    fn reservation<'t>(
        &'t self,
        lease: Lease,
        task: Option<usize>,
        stop: &'t Stop,
        teller: &'t Teller,
    ) -> Option<LeaseReservation<'t>> {
        let cost_budget = self.cost_budget.as_ref()?;
        Some(cost_budget.reservation(lease, task, stop, &teller.0))
    }
}

/// What tells the dispatcher, which may be gone: then it has ended the run and nobody needs the fact.
struct Teller(UnboundedSender<Fact>);

impl Teller {
    fn tell(&self, fact: Fact) {
        drop(self.0.send(fact));
    }
}

/// What the steps of one lease share.
pub(in crate::engine) struct Work<'t> {
    pub(in crate::engine) tools: &'t Tools,
    pub(in crate::engine) stop: &'t Stop,
    teller: &'t Teller,
    marks: LeaseCrashMarks<'t>,
}

impl Work<'_> {
    /// The crash mark, if the queue needs one: until it settles something after a crash.
    pub(in crate::engine) fn marks(&self, queue: &Claimed) -> Option<&LeaseCrashMarks<'_>> {
        queue.is_recorded.then_some(&self.marks)
    }

    /// The store did not do it for this queue; answers that the queue does not go on.
    fn store_failed(&self, queue: &Claimed, error: StoreError) -> bool {
        self.teller.tell(if error.is_of_one_row() {
            Fact::Unsettled(queue.lease, error)
        } else {
            Fact::StoreFailed(error)
        });
        false
    }

    /// Tells what the store said; answers whether the queue goes on.
    fn settled(&self, queue: &mut Claimed, settled: Settled, (usage, cost): (Usage, Cost)) -> bool {
        let lease = queue.lease;
        self.teller.tell(Fact::Settled {
            lease,
            settled,
            usage,
            cost,
        });
        drop(self.stop.take_calls());
        (queue.is_recorded, queue.panics) = (false, 0);
        settled == Settled::Stepped
    }
}

/// Works on the queue until it is finished, paused, interrupted, or no longer ours, which `stop` tells. A panic is caught, and
/// its task tried once more.
pub(in crate::engine) async fn work(
    tools: Arc<Tools>,
    mut queue: Claimed,
    stop: Stop,
    facts: UnboundedSender<Fact>,
) {
    let teller = Teller(facts);
    let work = Work {
        tools: &tools,
        stop: &stop,
        teller: &teller,
        marks: LeaseCrashMarks::new(&*tools.store, queue.lease, &teller.0),
    };
    let span = tracing::info_span!(
        "request",
        request.id = queue.request.custom_id,
        queue.id = queue.lease.queue_id
    );
    loop {
        let steps = steps(&work, &mut queue).instrument(span.clone());
        let end = AssertUnwindSafe(steps).catch_unwind().await;
        let Err(panic) = end else { return };
        let after = contain::panicked(&*tools.store, &mut queue, panic, stop.take_calls()).await;
        match after {
            Ok(AfterPanic::Again) if queue.is_recorded => work.marks.works().await,
            Ok(AfterPanic::Again) => {}
            Ok(AfterPanic::Over(settled)) => {
                work.settled(&mut queue, settled, Default::default());
                return;
            }
            Err(error) => {
                work.store_failed(&queue, error);
                return;
            }
        }
    }
}

/// Fails a queue whose stored request cannot be read.
pub(in crate::engine) async fn fail_unreadable(
    tools: Arc<Tools>,
    unreadable: Unreadable,
    facts: UnboundedSender<Fact>,
) {
    let lease = unreadable.lease;
    let fact = match contain::fail_unreadable(&*tools.store, unreadable).await {
        Ok(settled) => Fact::Settled {
            lease,
            settled,
            usage: Usage::default(),
            cost: Cost::ZERO,
        },
        Err(error) if error.is_of_one_row() => Fact::Unsettled(lease, error),
        Err(error) => Fact::StoreFailed(error),
    };
    Teller(facts).tell(fact);
}

async fn steps(work: &Work<'_>, queue: &mut Claimed) {
    if !queue.planned && !plan(work, queue).await {
        return;
    }
    if work.tools.plan_only {
        let left = Left::untouched(queue.lease);
        return work.teller.tell(Fact::Interrupted(left, Stopped::Ending));
    }
    if queue.current_task >= queue.tasks.len() {
        return work.teller.tell(Fact::NothingToDo(queue.lease));
    }
    while queue.current_task < queue.tasks.len() {
        if !step(work, queue).await {
            return;
        }
        queue.current_task += 1;
    }
}

/// Finds out the queue's tasks; answers whether it goes on.
async fn plan(work: &Work<'_>, queue: &mut Claimed) -> bool {
    let (tools, stop) = (work.tools, work.stop);
    let reservation = tools.reservation(queue.lease, None, stop, work.teller);
    let planning = planning::plan(tools, queue, stop, reservation.as_ref(), work.marks(queue))
        .instrument(tracing::info_span!("task", task.id = "plan"))
        .await;
    let (mut settlement, tasks) = match planning {
        Ok(Planning::Known(tasks)) => {
            queue.tasks = tasks;
            queue.planned = true;
            return true;
        }
        Ok(Planning::Made(settlement)) => {
            let tasks = planning::tasks(&settlement.end);
            (*settlement, tasks)
        }
        Ok(Planning::Interrupted(attempts, why)) => {
            let Some(error) = reservation.as_ref().and_then(LeaseReservation::refused) else {
                let left = left(queue, None, attempts);
                work.teller.tell(Fact::Interrupted(left, why));
                return false;
            };
            (
                planning::failed(queue, contain::refused(error), attempts),
                Vec::new(),
            )
        }
        Err(error) if error.is_of_one_row() => {
            let failed = planning::failed(queue, contain::refused(&error), Vec::new());
            (failed, Vec::new())
        }
        Err(error) => return work.store_failed(queue, error),
    };
    (settlement.making, settlement.attempts) = with_lost_calls(queue, settlement.making, settlement.attempts);
    let spent = spent(&settlement.making);
    match contain::settle_plan(&*tools.store, settlement).await {
        Ok(settled) => {
            if settled == Settled::Stepped {
                queue.tasks = tasks;
                queue.planned = true;
            }
            work.settled(queue, settled, spent)
        }
        Err(error) => work.store_failed(queue, error),
    }
}

/// Does the present task and settles it; answers whether the queue goes on.
async fn step(work: &Work<'_>, queue: &mut Claimed) -> bool {
    let (tools, stop, task) = (work.tools, work.stop, queue.current_task);
    let reservation = tools.reservation(queue.lease, Some(task), stop, work.teller);
    failpoint!("before-call", &queue.tasks[task].input);
    let span = tracing::info_span!("task", task.id = queue.tasks[task].task_id);
    let done = match perform(work, queue, reservation.as_ref()).instrument(span).await {
        Ok(done) => done,
        Err(error) if error.is_of_one_row() => impossible(String::new(), Class::Internal, error.to_string()),
        Err(error) => return work.store_failed(queue, error),
    };
    failpoint!("after-call", &queue.tasks[task].input);
    let Done {
        end,
        making,
        attempts,
    } = done;
    let (mut making, attempts) = with_lost_calls(queue, making, attempts);
    let mut reason = None;
    let (settlement, ends) = match end {
        TaskEnd::Interrupted(why) => {
            let Some(error) = reservation.as_ref().and_then(LeaseReservation::refused) else {
                let left = left(queue, Some(task), attempts);
                work.teller.tell(Fact::Interrupted(left, why));
                return false;
            };
            (
                failed(queue, contain::refused(error), None, making, attempts),
                true,
            )
        }
        TaskEnd::Completed(product) => {
            let then = then(tools, queue, task, &mut making);
            let ends = then == Then::Pause || task + 1 == queue.tasks.len();
            let settlement =
                Settlement::completed(queue.lease, task, product, then, making.clone(), attempts);
            (settlement, ends)
        }
        TaskEnd::Failed(failure, response) => {
            reason = Some(failure.message.clone());
            (failed(queue, failure, response, making, attempts), true)
        }
    };
    if ends {
        work.teller.tell(Fact::AnswerIn(queue.lease));
    }
    let spent = spent(&settlement.bill().0);
    match contain::settle(&*tools.store, settlement).await {
        Ok(settled) => {
            if let Some(reason) = reason.filter(|_| settled == Settled::Finished { ok: false }) {
                work.teller.tell(Fact::Failed(reason));
            }
            work.settled(queue, settled, spent)
        }
        Err(error) => work.store_failed(queue, error),
    }
}

/// The settlement of the present task, which failed.
fn failed(
    queue: &Claimed,
    failure: Failure,
    response: Option<Product>,
    making: Making,
    attempts: Vec<Attempt>,
) -> Settlement {
    let task = queue.current_task;
    let failure = Failure {
        task_id: Some(queue.tasks[task].task_id.clone()),
        ..failure
    };
    Settlement::failed(queue.lease, task, failure, response, making, attempts)
}

/// The bill of a task together with calls that panics have left without a result.
fn with_lost_calls(queue: &mut Claimed, making: Making, attempts: Vec<Attempt>) -> (Making, Vec<Attempt>) {
    let mut calls = std::mem::take(&mut queue.lost_calls);
    let making = contain::with_lost(making, &calls);
    calls.extend(attempts);
    (making, calls)
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
