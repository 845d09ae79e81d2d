//! Contains the fault of one request: no other request is affected.
//!
//! The panic of a worker is caught and its task is tried once more. A second panic, under any owner, fails the task as
//! `poison`. A value that the store refuses fails its task as `internal`. An error of the whole store is passed on, and
//! ends the run.

use std::any::Any;
use std::sync::Arc;

use crate::domain::conditions::OnFailure;
use crate::domain::failure::{Class, Failure};
use crate::domain::outcome::{Attempt, Provenance};
use crate::domain::task::TaskNo;
use crate::domain::usage::Cost;
use crate::engine::work::worker::Tools;
use crate::observe::TaskEnding;
use crate::store::{
    Claimed, PlanEnd, PlanSettlement, ReleasedLease, Settled, Settlement, Store, StoreError, Unreadable,
};

/// The number of worker panics that fail a task.
const POISON: u32 = 2;

/// The reaction to a panic.
pub(in crate::engine) enum AfterPanic {
    /// The task is tried again under the same lease.
    Again,
    /// The queue has failed, or its lease was lost.
    Settled(Settled, TaskEnding),
}

/// Counts a panic of the queue's worker in the store.
pub(in crate::engine) async fn panicked(
    tools: &Tools,
    queue: &mut Claimed,
    panic: Box<dyn Any + Send>,
    calls: Vec<Attempt>,
) -> Result<AfterPanic, StoreError> {
    let (store, reason) = (&*tools.store, reason(panic));
    tracing::error!(
        run.name = &*tools.run_name,
        request.id = queue.request.custom_id,
        queue.id = queue.lease.queue_id,
        task.id = %queue.task,
        "a worker panicked: {reason}"
    );
    queue.panics = queue.panics.saturating_add(1);
    queue.lost_calls.extend(calls);
    if !store.note_panics(queue.lease, queue.panics).await? {
        return Ok(AfterPanic::Settled(Settled::LostLease, TaskEnding::LeaseLost));
    }
    if queue.panics < POISON {
        return Ok(AfterPanic::Again);
    }
    let message = format!(
        "nova3 panicked {} times on this task: {reason} (please report it; `nova3 retry --class {}` lets it run again)",
        queue.panics,
        Class::Poison.as_str()
    );
    let ending = TaskEnding::Failed {
        class: Class::Poison,
        message: message.clone(),
    };
    fail(
        store,
        queue,
        Failure::new(Class::Poison, message),
        tools.on_failure,
    )
    .await
    .map(|settled| AfterPanic::Settled(settled, ending))
}

fn reason(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .map_or_else(|| "of an unknown kind".to_owned(), |text| (*text).to_owned()),
    }
}

/// Fails the leased task without an answer.
async fn fail(
    store: &dyn Store,
    queue: &mut Claimed,
    failure: Failure,
    on_failure: OnFailure,
) -> Result<Settled, StoreError> {
    let calls = std::mem::take(&mut queue.lost_calls);
    let making = with_lost(Provenance::without_calls(String::new(), String::new()), &calls);
    if queue.task == TaskNo::PLAN {
        let settlement = PlanSettlement {
            lease: queue.lease,
            end: PlanEnd::Failed(failure),
            making,
            attempts: calls,
        };
        return settle_plan(store, settlement).await;
    }
    let failure = Failure {
        task_id: Some(queue.task.to_string()),
        ..failure
    };
    let settlement = Settlement::failed(queue.lease, queue.task, failure, None, making, calls);
    settle(store, settlement.on_failure(on_failure)).await
}

/// Fails the task of a queue whose stored request cannot be read.
pub(in crate::engine) async fn fail_unreadable(
    store: &dyn Store,
    queue: Unreadable,
) -> Result<Settled, StoreError> {
    let making = Provenance::without_calls(String::new(), String::new());
    let failure = Failure {
        task_id: queue.task.index().map(|_| queue.task.to_string()),
        ..Failure::new(Class::Internal, queue.reason)
    };
    if queue.task != TaskNo::PLAN {
        let settlement = Settlement::failed(queue.lease, queue.task, failure, None, making, Vec::new());
        return settle(store, settlement).await;
    }
    let settlement = PlanSettlement {
        lease: queue.lease,
        end: PlanEnd::Failed(failure),
        making,
        attempts: Vec::new(),
    };
    settle_plan(store, settlement).await
}

/// Adds the calls that panics left without a result to the attempts and the waste of a task.
pub(in crate::engine) fn with_lost(making: Provenance, lost: &[Attempt]) -> Provenance {
    let wasted = lost
        .iter()
        .filter_map(|call| call.cost)
        .fold(making.wasted, Cost::plus);
    Provenance {
        attempts: making
            .attempts
            .saturating_add(u32::try_from(lost.len()).unwrap_or(u32::MAX)),
        wasted,
        ..making
    }
}

/// Settles a task. If the store refuses a value of the settlement, the task fails as `internal`. Its calls stay in the
/// ledger, unless the store refuses them too.
pub(in crate::engine) async fn settle(
    store: &dyn Store,
    settlement: Settlement,
) -> Result<Settled, StoreError> {
    let (lease, task, on_failure) = (settlement.lease(), settlement.task(), settlement.after_failure());
    let (making, attempts) = settlement.bill();
    let error = match store.settle(settlement).await {
        Err(error) if error.is_of_one_row() => error,
        end => return end,
    };
    let failed = |making, attempts| {
        Settlement::failed(lease, task, refused(&error), None, making, attempts).on_failure(on_failure)
    };
    match store.settle(failed(wasted(making), attempts)).await {
        Err(again) if again.is_of_one_row() => {
            let nothing = Provenance::without_calls(String::new(), String::new());
            store.settle(failed(nothing, Vec::new())).await
        }
        end => end,
    }
}

/// Settles a plan, in the same way as [`settle`].
pub(in crate::engine) async fn settle_plan(
    store: &dyn Store,
    settlement: PlanSettlement,
) -> Result<Settled, StoreError> {
    let lease = settlement.lease;
    let (making, attempts) = (settlement.making.clone(), settlement.attempts.clone());
    let error = match store.settle_plan(settlement).await {
        Err(error) if error.is_of_one_row() => error,
        end => return end,
    };
    let failed = |making, attempts| PlanSettlement {
        lease,
        end: PlanEnd::Failed(refused(&error)),
        making,
        attempts,
    };
    match store.settle_plan(failed(wasted(making), attempts)).await {
        Err(again) if again.is_of_one_row() => {
            let nothing = Provenance::without_calls(String::new(), String::new());
            store.settle_plan(failed(nothing, Vec::new())).await
        }
        end => end,
    }
}

/// The failure of a task whose settlement the store refused.
pub(in crate::engine) fn refused(error: &StoreError) -> Failure {
    Failure::new(Class::Internal, error.to_string())
}

/// Counts the whole cost as waste, because the result is lost.
fn wasted(making: Provenance) -> Provenance {
    Provenance {
        wasted: making.wasted.plus(making.cost.unwrap_or(Cost::ZERO)),
        cost: making.cost.map(|_| Cost::ZERO),
        usage: crate::domain::usage::Usage::default(),
        ..making
    }
}

/// Releases queues. A queue that the store refuses keeps its lease until the lease ends. The other queues are released.
pub(in crate::engine) async fn release(
    store: Arc<dyn Store>,
    left: Vec<ReleasedLease>,
) -> Result<(), StoreError> {
    let several = left.len() > 1;
    let error = match store.release(left.clone()).await {
        Err(error) if error.is_of_one_row() => error,
        end => return end,
    };
    if !several {
        tracing::warn!("a queue could not be given back: {error}");
        return Ok(());
    }
    for one in left {
        Box::pin(release(Arc::clone(&store), vec![one])).await?;
    }
    Ok(())
}
