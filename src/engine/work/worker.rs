//! One lease: its task, and the tasks of the queue that it is handed on to. Resolve, perform, judge, settle, announce.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::mpsc::UnboundedSender;
use tracing::Instrument;

use crate::agent::{AgentContext, Agents, Planner};
use crate::config::ContextBudget;
use crate::domain::conditions::OnFailure;
use crate::domain::task::TaskKind;
use crate::domain::usage::{Cost, Usage};
use crate::engine::job::{Job, Services};
use crate::engine::work::budget::{CostBudget, LeaseReservation};
use crate::engine::work::contain::{self, AfterPanic};
use crate::engine::work::crash_marks::LeaseCrashMarks;
use crate::engine::work::steps;
use crate::llm::{Chain, Client, CostReservation, Marks, Stop, Stopped};
use crate::store::{Claimed, Lease, Left, RunId, Settled, Store, StoreError, Unreadable};

/// What workers tell the dispatcher.
#[derive(Debug)]
pub(in crate::engine) enum Fact {
    /// The last answer under a lease is in and goes to the store: its slot is free.
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
    /// A task was split into parts, which other slots can take.
    FannedOut,
    /// A request has failed, and why.
    Failed(String),
    /// The task was left as it was, and is to be given back.
    Interrupted(Left, Stopped),
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
    /// What a queue does behind a failed task.
    pub(in crate::engine) on_failure: OnFailure,
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
            on_failure: job.terms.on_failure,
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

/// What tells the dispatcher, which may be gone: then it has ended the run and nobody needs the fact.
pub(in crate::engine) struct Teller(UnboundedSender<Fact>);

impl Teller {
    pub(in crate::engine) fn tell(&self, fact: Fact) {
        drop(self.0.send(fact));
    }
}

/// What the steps of one lease share.
pub(in crate::engine) struct Work<'t> {
    pub(in crate::engine) tools: &'t Tools,
    pub(in crate::engine) stop: &'t Stop,
    pub(in crate::engine) teller: &'t Teller,
    marks: LeaseCrashMarks<'t>,
}

impl Work<'_> {
    /// The crash mark, if the queue needs one: until it settles something after a crash.
    pub(in crate::engine) fn marks(&self, queue: &Claimed) -> Option<&LeaseCrashMarks<'_>> {
        queue.is_recorded.then_some(&self.marks)
    }

    /// The store did not do it for this queue; answers that the queue does not go on.
    pub(in crate::engine) fn store_failed(&self, queue: &Claimed, error: StoreError) -> bool {
        self.teller.tell(if error.is_of_one_row() {
            Fact::Unsettled(queue.lease, error)
        } else {
            Fact::StoreFailed(error)
        });
        false
    }

    /// Tells what the store said; answers whether the lease goes on, with which task.
    pub(in crate::engine) fn settled(
        &self,
        queue: &mut Claimed,
        settled: Settled,
        (usage, cost): (Usage, Cost),
    ) -> bool {
        let lease = queue.lease;
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
        queue.kind = if matches!(settled, Settled::Moved(_)) && !next.is_part() {
            TaskKind::Join
        } else {
            TaskKind::Call
        };
        queue.task = next;
        queue.current_task = next.index().unwrap_or(0);
        true
    }
}

/// Works on the leased task, and on those that the lease is handed on to, until the lease ends or is lost, which `stop`
/// tells. A panic is caught, and its task tried once more.
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
        let steps = steps::run(&work, &mut queue).instrument(span.clone());
        let end = AssertUnwindSafe(steps).catch_unwind().await;
        let Err(panic) = end else { return };
        let after = contain::panicked(
            &*tools.store,
            &mut queue,
            panic,
            stop.take_calls(),
            tools.on_failure,
        )
        .await;
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

/// Fails the task of a queue whose stored request cannot be read.
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
