//! The steps of a lease: planning, a call, a fan-out, a join. Each ends in one settlement, unless it is interrupted or
//! planning takes over tasks of the session.

use tracing::Instrument;

use crate::agent::{TaskEnd, TaskOutcome};
use crate::domain::conditions::OnFailure;
use crate::domain::failure::{Class, Failure};
use crate::domain::outcome::{Attempt, Product, Provenance};
use crate::domain::state::Status;
use crate::domain::task::TaskKind;
use crate::domain::task_search::TaskSearch;
use crate::domain::usage::{Cost, Usage};
use crate::engine::work::budget::LeaseReservation;
use crate::engine::work::perform::{impossible, is_due, perform, then};
use crate::engine::work::planning::{self, Planning};
use crate::engine::work::worker::{Fact, LeaseContext, Tools};
use crate::engine::work::{contain, parts, search};
use crate::llm::Stopped;
use crate::observe::{TaskEnding, TaskEvents, TaskFact};
use crate::store::{Claimed, NewPart, PlanEnd, ReleasedLease, Settled, Settlement, StoreError, Then};

/// Performs one task after the other until the lease ends.
pub(in crate::engine) async fn run(work: &LeaseContext<'_>, queue: &mut Claimed) {
    loop {
        if work.tools.plan_only && queue.planned {
            let left = ReleasedLease::untouched(queue.lease);
            return work.teller.tell(Fact::Interrupted(left, Stopped::Ending));
        }
        let events = work.tools.task_events(queue);
        let events = events.as_ref();
        publish(events, || TaskFact::Begun);
        let span = tracing::info_span!("task", task.id = %queue.task);
        let task = async {
            match queue.kind {
                TaskKind::Plan => plan(work, queue, events).await,
                TaskKind::Join => join(work, queue, events).await,
                TaskKind::Call => step(work, queue, events).await,
                TaskKind::Search => search(work, queue, events).await,
            }
        };
        if !task.instrument(span).await {
            return;
        }
    }
}

/// Publishes what happened to the task, if any sink receives it.
fn publish(events: Option<&TaskEvents>, fact: impl FnOnce() -> TaskFact) {
    if let Some(events) = events {
        events.publish(fact());
    }
}

/// Publishes how the task ended, as the store answered.
fn publish_settled(
    events: Option<&TaskEvents>,
    settled: Settled,
    failure: Option<&Failure>,
    (usage, cost): (Usage, Cost),
) {
    publish(events, || TaskFact::Settled {
        ending: match (settled, failure) {
            (Settled::LostLease, _) => TaskEnding::LeaseLost,
            (_, Some(failure)) => TaskEnding::Failed {
                class: failure.class,
                message: failure.message.clone(),
            },
            (_, None) => TaskEnding::Completed,
        },
        usage,
        cost,
    });
}

/// Publishes that the request ended, if the settlement ended its queue.
fn publish_ended(events: Option<&TaskEvents>, settled: Settled, good: Status, bad: Status) {
    if let Settled::Finished { ok } = settled {
        let status = if ok { good } else { bad };
        publish(events, || TaskFact::RequestEnded { status });
    }
}

/// Plans the queue. Returns whether the lease goes on.
async fn plan(work: &LeaseContext<'_>, queue: &mut Claimed, events: Option<&TaskEvents>) -> bool {
    let (tools, stop) = (work.tools, work.stop);
    let reservation = tools.reservation(queue, stop, work.teller);
    let planning = planning::plan(work, queue, reservation.as_ref(), events).await;
    let (mut settlement, tasks) = match planning {
        Ok(Planning::Known(tasks)) => {
            queue.tasks = tasks;
            queue.planned = true;
            publish_settled(events, Settled::Stepped, None, Default::default());
            return work.settled(queue, Settled::Stepped, Default::default());
        }
        Ok(Planning::Made(settlement)) => {
            let tasks = planning::tasks(&settlement.end);
            (*settlement, tasks)
        }
        Ok(Planning::Interrupted(attempts, why)) => {
            let Some(error) = reservation.as_ref().and_then(LeaseReservation::refused) else {
                let left = left(queue, attempts);
                publish(events, || TaskFact::Released);
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
    let failure = match &settlement.end {
        PlanEnd::Failed(failure) if events.is_some() => Some(failure.clone()),
        _ => None,
    };
    match contain::settle_plan(&*tools.store, settlement).await {
        Ok(settled) => {
            publish_settled(events, settled, failure.as_ref(), spent);
            publish_ended(events, settled, Status::Completed, Status::Failed);
            if settled == Settled::Stepped {
                queue.tasks = tasks;
                queue.planned = true;
            }
            work.settled(queue, settled, spent)
        }
        Err(error) => work.store_failed(queue, error),
    }
}

/// Performs and settles the present task or part. Returns whether the lease goes on.
async fn step(work: &LeaseContext<'_>, queue: &mut Claimed, events: Option<&TaskEvents>) -> bool {
    let (tools, stop, index) = (work.tools, work.stop, queue.current_task);
    if queue.tasks.get(index).is_none() {
        let reason = format!("queue {} has no {}", queue.lease.queue_id, queue.task);
        let path = std::path::PathBuf::new();
        return work.store_failed(queue, StoreError::Row { path, reason });
    }
    match is_due(tools, queue).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return skip(work, queue, events).await,
        Ok(Err(failure)) => {
            let done = impossible(String::new(), failure.class, failure.message);
            return settle(work, queue, done, None, events).await;
        }
        Err(error) => return work.store_failed(queue, error),
    }
    let search = match lookup(tools, queue).await {
        Ok(TaskLookup::Settled(search)) => search,
        Ok(TaskLookup::Missing) => return add_search(work, queue, events).await,
        Err(error) => return work.store_failed(queue, error),
    };
    match parts::split(tools, queue).await {
        Ok(Some(new)) => return fan_out(work, queue, new, events).await,
        Ok(None) => {}
        Err(error) if error.is_of_one_row() => {
            let done = impossible(String::new(), Class::Internal, error.to_string());
            return settle(work, queue, done, None, events).await;
        }
        Err(error) => return work.store_failed(queue, error),
    }
    let reservation = tools.reservation(queue, stop, work.teller);
    failpoint!("before-call", &queue.tasks[index].input);
    let done = match perform(work, queue, search.as_ref(), reservation.as_ref(), events).await {
        Ok(done) => done,
        Err(error) if error.is_of_one_row() => impossible(String::new(), Class::Internal, error.to_string()),
        Err(error) => return work.store_failed(queue, error),
    };
    failpoint!("after-call", &queue.tasks[index].input);
    settle(work, queue, done, reservation.as_ref(), events).await
}

/// The search of the present task, before the task is performed.
enum TaskLookup {
    /// The task has to wait for a search.
    Missing,
    /// The task can be performed. `None`: its agent does not search, or the search failed.
    Settled(Option<TaskSearch>),
}

/// Returns the search of the present task. A part has that of its planned task.
async fn lookup(tools: &Tools, queue: &Claimed) -> Result<TaskLookup, StoreError> {
    let agent = tools.agents.get(&queue.tasks[queue.current_task].action);
    if agent.is_none_or(|agent| agent.search.is_none()) {
        return Ok(TaskLookup::Settled(None));
    }
    let store = &tools.store;
    let found = store
        .task_search(queue.lease.queue_id, queue.current_task)
        .await?;
    Ok(match found {
        None if !queue.task.is_subtask() => TaskLookup::Missing,
        found => TaskLookup::Settled(found.and_then(Result::ok)),
    })
}

/// Adds the search of the present task. Returns whether the lease goes on, with the search.
async fn add_search(work: &LeaseContext<'_>, queue: &mut Claimed, events: Option<&TaskEvents>) -> bool {
    let settlement = Settlement::searches(queue.lease, queue.task);
    match contain::settle(&*work.tools.store, settlement).await {
        Ok(settled) => {
            publish(events, || TaskFact::Searches);
            work.settled(queue, settled, Default::default())
        }
        Err(error) => work.store_failed(queue, error),
    }
}

/// Skips the present task, whose condition is false. Returns whether the lease goes on.
async fn skip(work: &LeaseContext<'_>, queue: &mut Claimed, events: Option<&TaskEvents>) -> bool {
    let settlement = Settlement::skipped(queue.lease, queue.task).on_failure(work.tools.on_failure);
    match contain::settle(&*work.tools.store, settlement).await {
        Ok(settled) => {
            publish(events, || TaskFact::Settled {
                ending: match settled {
                    Settled::LostLease => TaskEnding::LeaseLost,
                    _ => TaskEnding::Skipped,
                },
                usage: Usage::default(),
                cost: Cost::ZERO,
            });
            publish_ended(events, settled, Status::Completed, Status::Partial);
            work.settled(queue, settled, Default::default())
        }
        Err(error) => work.store_failed(queue, error),
    }
}

/// Performs and settles a search. Returns whether the lease goes on.
async fn search(work: &LeaseContext<'_>, queue: &mut Claimed, events: Option<&TaskEvents>) -> bool {
    let reservation = work.tools.reservation(queue, work.stop, work.teller);
    let done = match search::search(work, queue, reservation.as_ref(), events).await {
        Ok(done) => done,
        Err(error) if error.is_of_one_row() => impossible(String::new(), Class::Internal, error.to_string()),
        Err(error) => return work.store_failed(queue, error),
    };
    settle(work, queue, done, reservation.as_ref(), events).await
}

/// Splits the present task. Returns whether the lease goes on, with the first part.
async fn fan_out(
    work: &LeaseContext<'_>,
    queue: &mut Claimed,
    new: Vec<NewPart>,
    events: Option<&TaskEvents>,
) -> bool {
    let parts = new.len();
    queue.parts = parts::numbered(queue.current_task, &new);
    let settlement = Settlement::fanned_out(queue.lease, queue.task, new);
    match contain::settle(&*work.tools.store, settlement).await {
        Ok(settled) => {
            publish(events, || TaskFact::FannedOut { parts });
            work.teller.tell(Fact::FannedOut);
            work.settled(queue, settled, Default::default())
        }
        Err(error) => work.store_failed(queue, error),
    }
}

/// Joins the parts of the present task. Returns whether the lease goes on.
async fn join(work: &LeaseContext<'_>, queue: &mut Claimed, events: Option<&TaskEvents>) -> bool {
    let outcomes = match work
        .tools
        .store
        .parts(queue.lease.queue_id, queue.current_task)
        .await
    {
        Ok(outcomes) => outcomes,
        Err(error) => return work.store_failed(queue, error),
    };
    let parts::ReadyJoin { done, flaw } = parts::join(work.tools, queue, outcomes);
    queue.flaw = flaw;
    settle(work, queue, done, None, events).await
}

/// Settles the outcome of the present task. Returns whether the lease goes on.
async fn settle(
    work: &LeaseContext<'_>,
    queue: &mut Claimed,
    done: TaskOutcome,
    reservation: Option<&LeaseReservation<'_>>,
    events: Option<&TaskEvents>,
) -> bool {
    let tools = work.tools;
    let mut failed_with = None;
    // The statuses of the request if this outcome ends its queue.
    let (mut good, mut bad) = (Status::Completed, Status::Partial);
    let TaskOutcome {
        end,
        making,
        attempts,
    } = done;
    let (mut making, attempts) = with_lost_calls(queue, making, attempts);
    let mut reason = queue.flaw.as_ref().map(|flaw| flaw.message.clone());
    let is_last = queue.current_task + 1 == queue.tasks.len();
    let (settlement, ends) = match end {
        TaskEnd::Interrupted(why) => {
            let Some(error) = reservation.and_then(LeaseReservation::refused) else {
                let left = left(queue, attempts);
                publish(events, || TaskFact::Released);
                work.teller.tell(Fact::Interrupted(left, why));
                return false;
            };
            let failure = contain::refused(error);
            failed_with = events.map(|_| failure.clone());
            (failed(tools, queue, failure, None, making, attempts), true)
        }
        TaskEnd::Completed(product) => {
            let then = then(tools, queue, &mut making);
            let settlement =
                Settlement::completed(queue.lease, queue.task, product, then, making.clone(), attempts)
                    .on_failure(tools.on_failure);
            let settlement = match queue.flaw.take() {
                Some(flaw) => settlement.in_part(flaw),
                None => settlement,
            };
            if then == Then::Pause && !is_last {
                good = Status::Paused;
            }
            (settlement, then == Then::Pause || is_last)
        }
        TaskEnd::Failed(failure, response) => {
            reason = Some(failure.message.clone());
            bad = Status::Failed;
            failed_with = events.map(|_| failure.clone());
            let ends = is_last || tools.on_failure == OnFailure::Fail;
            (failed(tools, queue, failure, response, making, attempts), ends)
        }
    };
    if ends && !queue.task.is_subtask() {
        work.teller.tell(Fact::AnswerIn(queue.lease));
    }
    let spent = spent(&settlement.bill().0);
    match contain::settle(&*tools.store, settlement).await {
        Ok(settled) => {
            publish_settled(events, settled, failed_with.as_ref(), spent);
            publish_ended(events, settled, good, bad);
            if let Some(reason) = reason.filter(|_| settled == Settled::Finished { ok: false }) {
                work.teller.tell(Fact::Failed(reason));
            }
            work.settled(queue, settled, spent)
        }
        Err(error) => work.store_failed(queue, error),
    }
}

/// The settlement of the present task as failed.
fn failed(
    tools: &Tools,
    queue: &Claimed,
    failure: Failure,
    response: Option<Product>,
    making: Provenance,
    attempts: Vec<Attempt>,
) -> Settlement {
    let failure = Failure {
        task_id: Some(queue.task.to_string()),
        ..failure
    };
    Settlement::failed(queue.lease, queue.task, failure, response, making, attempts)
        .on_failure(tools.on_failure)
}

/// The bill of a task together with calls that panics left without a result.
fn with_lost_calls(
    queue: &mut Claimed,
    making: Provenance,
    attempts: Vec<Attempt>,
) -> (Provenance, Vec<Attempt>) {
    let mut calls = std::mem::take(&mut queue.lost_calls);
    let making = contain::with_lost(making, &calls);
    calls.extend(attempts);
    (making, calls)
}

fn left(queue: &Claimed, attempts: Vec<Attempt>) -> ReleasedLease {
    ReleasedLease {
        task: queue.task,
        attempts,
        ..ReleasedLease::untouched(queue.lease)
    }
}

fn spent(making: &Provenance) -> (Usage, Cost) {
    (making.usage, making.cost.unwrap_or_default().plus(making.wasted))
}
