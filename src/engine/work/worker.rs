//! The worker of one lease: it performs the leased task, and then each task that the lease is handed on to.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::mpsc::UnboundedSender;

use crate::agent::{AgentContext, Agents, Planner, SUPERVISOR};
use crate::config::ContextBudget;
use crate::domain::conditions::OnFailure;
use crate::domain::state::Status;
use crate::domain::task::TaskKind;
use crate::domain::usage::{Cost, Usage};
use crate::engine::job::{Job, Services};
use crate::engine::work::budget::{CostBudget, LeaseReservation};
use crate::engine::work::contain::{self, AfterPanic};
use crate::engine::work::crash_marks::LeaseCrashMarks;
use crate::engine::work::steps;
use crate::llm::{Chain, Client, CostReservation, Marks, Stop, Stopped};
use crate::observe::{EventBus, TaskEvents, TaskFact, TaskRef};
use crate::search::Searcher;
use crate::store::{Claimed, Lease, ReleasedLease, RunId, Settled, Store, StoreError, Unreadable};

/// The facts that workers send to the dispatcher.
#[derive(Debug)]
pub(in crate::engine) enum Fact {
    /// The last answer under a lease has arrived and is being stored: its slot is free.
    AnswerIn(Lease),
    /// A task, or the plan, is durable.
    Settled {
        /// Its lease.
        lease: Lease,
        /// The store's answer.
        settled: Settled,
        /// The tokens of its answer.
        usage: Usage,
        /// The cost of its calls, waste included.
        cost: Cost,
    },
    /// A task was split into parts, which other slots can take.
    FannedOut,
    /// A request has failed, with this message.
    Failed(String),
    /// The task was not settled and has to be released.
    Interrupted(ReleasedLease, Stopped),
    /// The store refuses every outcome of the queue's task, also a failure.
    Unsettled(Lease, StoreError),
    /// The store failed.
    StoreFailed(StoreError),
}

/// The ports and settings that all workers share. They share no state beside the cost budget.
pub(in crate::engine) struct Tools {
    pub(in crate::engine) store: Arc<dyn Store>,
    pub(in crate::engine) client: Arc<Client>,
    pub(in crate::engine) agents: Arc<Agents>,
    pub(in crate::engine) planner: Arc<Planner>,
    pub(in crate::engine) searcher: Searcher,
    pub(in crate::engine) budget: ContextBudget,
    pub(in crate::engine) events: EventBus,
    /// The run's name, in events and spans.
    pub(in crate::engine) run_name: Arc<str>,
    pub(in crate::engine) run: RunId,
    /// Whether queues are only planned (`nova3 plan --call`).
    pub(in crate::engine) plan_only: bool,
    /// Whether a queue goes on after a failed task.
    pub(in crate::engine) on_failure: OnFailure,
    /// The cost budget of a run with a cost cap.
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
            searcher: services.searcher.clone(),
            budget: services.budget,
            events: services.events.clone(),
            run_name: job.name.as_str().into(),
            run,
            plan_only: job.plan_only,
            on_failure: job.terms.on_failure,
            cost_budget: cap.map(|cap| CostBudget::new(Arc::clone(&services.store), run, cap)),
        }
    }

    /// The context in which an agent calls a chain.
    pub(in crate::engine) fn context<'t>(
        &'t self,
        chain: &'t Chain,
        stop: &'t Stop,
        reservation: Option<&'t LeaseReservation<'t>>,
        marks: Option<&'t LeaseCrashMarks<'t>>,
        events: Option<&'t TaskEvents>,
    ) -> AgentContext<'t> {
        AgentContext {
            client: &self.client,
            chain,
            budget: &self.budget,
            stop,
            reservation: reservation.map(|reservation| reservation as &dyn CostReservation),
            marks: marks.map(|marks| marks as &dyn Marks),
            events,
        }
    }

    /// The publisher of the present task's events, if any sink receives them.
    pub(in crate::engine) fn task_events(&self, queue: &Claimed) -> Option<TaskEvents> {
        TaskEvents::of(&self.events, || {
            let planned = queue.tasks.get(queue.current_task);
            let action = planned
                .filter(|_| queue.kind != TaskKind::Plan)
                .map_or(SUPERVISOR, |task| &task.action);
            TaskRef {
                run: Arc::clone(&self.run_name),
                run_id: self.run.0,
                custom_id: queue.request.custom_id.clone(),
                queue_id: queue.lease.queue_id,
                task_id: queue.task.to_string(),
                action: action.to_owned(),
            }
        })
    }

    /// The reservation of the present task, if the run has a cost cap. Keep it until the task is settled.
    pub(in crate::engine) fn reservation<'t>(
        &'t self,
        queue: &Claimed,
        stop: &'t Stop,
        teller: &'t Teller,
    ) -> Option<LeaseReservation<'t>> {
        let cost_budget = self.cost_budget.as_ref()?;
        Some(cost_budget.reservation(queue.lease, queue.task, stop, &teller.0))
    }
}

/// Sends facts to the dispatcher. A fact is dropped if the dispatcher has ended, because the run has then ended.
pub(in crate::engine) struct Teller(UnboundedSender<Fact>);

impl Teller {
    pub(in crate::engine) fn tell(&self, fact: Fact) {
        drop(self.0.send(fact));
    }
}

/// The data that the steps of one lease share.
pub(in crate::engine) struct LeaseContext<'t> {
    pub(in crate::engine) tools: &'t Tools,
    pub(in crate::engine) stop: &'t Stop,
    pub(in crate::engine) teller: &'t Teller,
    marks: LeaseCrashMarks<'t>,
}

impl LeaseContext<'_> {
    /// The crash mark, if the queue needs one: after a crash, until the queue settles something.
    pub(in crate::engine) fn marks(&self, queue: &Claimed) -> Option<&LeaseCrashMarks<'_>> {
        queue.is_recorded.then_some(&self.marks)
    }

    /// Reports that the store failed or refused the queue's outcome. Returns false: the lease does not go on.
    pub(in crate::engine) fn store_failed(&self, queue: &Claimed, error: StoreError) -> bool {
        self.teller.tell(if error.is_of_one_row() {
            tracing::error!(
                run.name = &*self.tools.run_name,
                request.id = queue.request.custom_id,
                queue.id = queue.lease.queue_id,
                task.id = %queue.task,
                "the store refuses every outcome of the task, which stays unfinished: {error}"
            );
            Fact::Unsettled(queue.lease, error)
        } else {
            Fact::StoreFailed(error)
        });
        false
    }

    /// Reports the store's answer to a settlement. Returns whether the lease goes on, and sets the queue's next task.
    pub(in crate::engine) fn settled(
        &self,
        queue: &mut Claimed,
        settled: Settled,
        (usage, cost): (Usage, Cost),
    ) -> bool {
        let lease = queue.lease;
        if self.tools.planner.gives_graph() {
            // Other tasks of the queue may have become ready.
            self.teller.tell(Fact::FannedOut);
        }
        self.teller.tell(Fact::Settled {
            lease,
            settled,
            usage,
            cost,
        });
        drop(self.stop.take_calls());
        (queue.is_recorded, queue.panics) = (false, 0);
        let next = match settled {
            Settled::Stepped => queue.task.index().map_or(0, |index| index + 1).into(),
            Settled::Moved(next) => next,
            Settled::Yielded | Settled::Finished { .. } | Settled::LostLease => return false,
        };
        queue.kind = match settled {
            _ if next.is_search() => TaskKind::Search,
            // A planned task behind a part joins its parts.
            Settled::Moved(_) if !next.is_subtask() && queue.task.is_part() => TaskKind::Join,
            _ => TaskKind::Call,
        };
        queue.task = next;
        queue.current_task = next.index().unwrap_or(0);
        true
    }
}

/// Works on the leased task and on the tasks that the lease is handed on to, until the lease ends or is lost, or `stop`
/// ends the work. A panic is caught, and its task is tried once more.
pub(in crate::engine) async fn work(
    tools: Arc<Tools>,
    mut queue: Claimed,
    stop: Stop,
    facts: UnboundedSender<Fact>,
) {
    let teller = Teller(facts);
    let work = LeaseContext {
        tools: &tools,
        stop: &stop,
        teller: &teller,
        marks: LeaseCrashMarks::new(&*tools.store, queue.lease, &teller.0),
    };
    loop {
        let steps = steps::run(&work, &mut queue);
        let end = AssertUnwindSafe(steps).catch_unwind().await;
        let Err(panic) = end else { return };
        let after = contain::panicked(&tools, &mut queue, panic, stop.take_calls()).await;
        match after {
            Ok(AfterPanic::Again) if queue.is_recorded => work.marks.works().await,
            Ok(AfterPanic::Again) => {}
            Ok(AfterPanic::Settled(settled, ending)) => {
                if let Some(events) = tools.task_events(&queue) {
                    events.publish(TaskFact::Settled {
                        ending,
                        usage: Usage::default(),
                        cost: Cost::ZERO,
                    });
                    if matches!(settled, Settled::Finished { .. }) {
                        events.publish(TaskFact::RequestEnded {
                            status: Status::Failed,
                        });
                    }
                }
                // A failed subtask hands its lease on.
                if !work.settled(&mut queue, settled, Default::default()) {
                    return;
                }
            }
            Err(error) => {
                work.store_failed(&queue, error);
                return;
            }
        }
    }
}

/// Fails the task of a queue whose stored request cannot be read, and reports the outcome.
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
