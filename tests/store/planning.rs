//! Planning is a step of a queue like any other: it is fenced, settled once and paid once.

use nova3::domain::failure::Class;
use nova3::domain::outcome::{Finished, PlanOrigin};
use nova3::domain::tally::RunSummary;
use nova3::domain::usage::{Cost, Usage};
use nova3::store::{Claimable, Claimed, PendingTask, PlanEnd, PlanSettlement, RunId, Settled};

use crate::store::harness::{Harness, id, ids, planless, planned, request, tasks};

/// Returns the calls, failed calls, cost and waste of the run so far.
async fn spent(harness: &Harness, run: RunId) -> (u64, u64, Cost, Cost) {
    let summary = harness.store().summary(run).await.expect("reads");
    (
        summary.attempts,
        summary.failed_attempts,
        summary.cost,
        summary.wasted,
    )
}

/// Returns the origin of the plan, its number of calls, its cost, and the wasted cost.
fn plan(row: &Finished) -> (Option<PlanOrigin>, u32, Option<Cost>, Cost) {
    let plan = row.plan.as_ref().expect("it was planned");
    let making = &plan.making;
    (plan.origin, making.attempts, making.cost, making.wasted)
}

fn stand(queue: &Claimed) -> (bool, usize, &[PendingTask]) {
    (queue.planned, queue.current_task, &queue.tasks)
}

pub(crate) async fn a_plan_is_settled_once_and_found_again(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").unplanned()]).await;
    let queue = harness.claim_one(run).await;
    assert_eq!(stand(&queue), (false, 0, &[][..]));
    assert_eq!(
        harness
            .settle_plan(planned(queue.lease, &["insight", "facts"]))
            .await,
        Settled::Stepped
    );
    let again = planned(queue.lease, &["profile"]);
    assert_eq!(harness.settle_plan(again).await, Settled::LostLease, "it has one");
    if !harness.crash().await {
        harness
            .store()
            .release(vec![nova3::store::ReleasedLease::untouched(queue.lease)])
            .await
            .expect("releases");
    }
    let queue = harness.claim_one(run).await;
    assert_eq!(stand(&queue), (true, 0, &tasks(&["insight", "facts"])[..]));
    let newer = planless(queue.lease, Class::Server);
    assert_eq!(harness.settle_plan(newer).await, Settled::LostLease);
    assert_eq!(spent(harness, run).await, (3, 1, Cost(23), Cost(13)));
    assert_eq!(
        harness.done(&queue).await,
        Settled::Stepped,
        "under the same lease"
    );
    harness
        .store()
        .release(vec![nova3::store::ReleasedLease::untouched(queue.lease)])
        .await
        .expect("releases");
    assert_eq!(harness.drain(run).await, ["x"]);
    let row = harness.finished(run).await.remove(0);
    assert_eq!(plan(&row), (Some(PlanOrigin::Model), 1, Some(Cost(10)), Cost(0)));
}

pub(crate) async fn tasks_of_the_line_are_no_plan(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").plan(&["facts"])]).await;
    let queue = harness.claim_one(run).await;
    assert_eq!(stand(&queue), (true, 0, &tasks(&["facts"])[..]));
    assert_eq!(
        harness.settle_plan(planned(queue.lease, &["insight"])).await,
        Settled::LostLease
    );
    harness.done(&queue).await;
    let row = harness.finished(run).await.remove(0);
    assert!(row.plan.is_none());
    let task = &row.tasks[0];
    assert_eq!(
        (task.action.as_str(), task.input.as_str()),
        ("facts", "facts: do it")
    );
}

pub(crate) async fn a_stale_lease_plans_nothing_but_its_bill(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").unplanned()]).await;
    let stale = harness.claim_one(run).await;
    harness
        .store()
        .release(vec![nova3::store::ReleasedLease::untouched(stale.lease)])
        .await
        .expect("releases");
    let late = [
        planned(stale.lease, &["insight"]),
        planless(stale.lease, Class::Server),
    ];
    for settlement in late.clone() {
        assert_eq!(harness.settle_plan(settlement).await, Settled::LostLease);
    }
    let fresh = harness.claim_one(run).await;
    assert!(!fresh.planned);
    for settlement in late {
        assert_eq!(harness.settle_plan(settlement).await, Settled::LostLease);
    }
    harness.read(run, &[request("x").unplanned().query("else")]).await;
    let superseded = planned(fresh.lease, &["insight"]);
    assert_eq!(harness.settle_plan(superseded).await, Settled::LostLease);
    assert!(!harness.claim_one(run).await.planned);
    assert!(harness.finished(run).await.is_empty() && harness.events(run, false).await.is_empty());
    assert_eq!(spent(harness, run).await, (5, 2, Cost(36), Cost(36)));
}

pub(crate) async fn every_call_of_planning_is_in_the_ledger(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness
        .read(run, &[request("x").unplanned(), request("y").unplanned()])
        .await;
    let queues = harness.claim(run, 2).await;
    harness.settle_plan(planned(queues[0].lease, &["insight"])).await;
    let model = planned(queues[1].lease, &["insight"]);
    let PlanEnd::Planned(_, steps) = model.end else {
        unreachable!("it is a plan")
    };
    let end = PlanEnd::Planned(PlanOrigin::Default, steps);
    assert_eq!(
        harness.settle_plan(PlanSettlement { end, ..model }).await,
        Settled::Stepped
    );
    let expected = RunSummary {
        attempts: 2,
        failed_attempts: 0,
        usage: Usage {
            input_tokens: 20,
            cached_input_tokens: 8,
            cache_write_tokens: 6,
            output_tokens: 4,
        },
        cost: Cost(20),
        wasted: Cost(10),
        unpriced: 0,
        ..RunSummary::default()
    };
    harness.crash().await;
    assert_eq!(
        harness.store().summary(run).await.expect("reads"),
        expected,
        "an answer that was no plan is waste"
    );
}

pub(crate) async fn a_failed_plan_is_an_end_and_waste_of_the_next(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [
        request("x").session("s").unplanned(),
        request("y").session("s").unplanned(),
    ];
    harness.read(run, &input).await;
    for _ in 0..2 {
        let queue = harness.claim_one(run).await;
        assert_eq!(stand(&queue), (false, 0, &[][..]));
        let end = planless(queue.lease, Class::Schema);
        assert_eq!(harness.settle_plan(end).await, Settled::Finished { ok: false });
        harness.crash().await;
        let row = harness.finished(run).await.remove(0);
        let failure = row.failure.expect("it failed");
        assert_eq!(
            (failure.class, failure.message.as_str()),
            (Class::Schema, "no plan")
        );
        assert_eq!((row.status.as_str(), row.tasks.len()), ("failed", 0));
        let next = harness.claim_one(run).await;
        assert_eq!(id(&next), "y", "its session goes on");
        harness
            .store()
            .release(vec![nova3::store::ReleasedLease::untouched(next.lease)])
            .await
            .expect("releases");
        assert_eq!(harness.retry(run).await, 1);
        assert!(harness.finished(run).await.is_empty());
    }
    let queue = harness.claim_one(run).await;
    assert_eq!(
        (
            id(&queue),
            harness.settle_plan(planned(queue.lease, &["insight"])).await
        ),
        ("x".to_owned(), Settled::Stepped)
    );
    harness.done(&queue).await;
    let row = harness.finished(run).await.remove(0);
    assert_eq!(plan(&row), (Some(PlanOrigin::Model), 3, Some(Cost(10)), Cost(6)));
    assert!(row.failure.is_none());
    assert_eq!(spent(harness, run).await, (4, 2, Cost(116), Cost(6)));
}

pub(crate) async fn only_what_is_unplanned_is_claimed_as_such(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [
        request("x"),
        request("y").unplanned(),
        request("z").unplanned(),
        request("s").session("s"),
        request("t").session("s").unplanned(),
    ];
    harness.read(run, &input).await;
    let first = harness.claim_of(run, Claimable::Unplanned, 1).await;
    assert_eq!(ids(&first), ["y"]);
    harness.settle_plan(planned(first[0].lease, &["insight"])).await;
    harness
        .store()
        .release(vec![nova3::store::ReleasedLease::untouched(first[0].lease)])
        .await
        .expect("releases");
    assert_eq!(ids(&harness.claim_of(run, Claimable::Unplanned, 9).await), ["z"]);
    assert!(harness.claim_of(run, Claimable::Unplanned, 9).await.is_empty());
    assert_eq!(ids(&harness.claim(run, 9).await), ["x", "y", "s"]);
}
