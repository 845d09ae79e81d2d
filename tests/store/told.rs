//! Tasks, prompts and models that change between two invocations.

use nova3::domain::failure::Class;
use nova3::domain::outcome::PlanOrigin;
use nova3::domain::usage::Cost;
use nova3::store::{Claimable, Claimed, ReleasedLease, RunId, RunOpening, TakeOver, Then};

use crate::store::harness::{
    Harness, attempt, batch, completed, ids, opening, planless, planned, recipe, request, tasks,
};

/// Returns how many requests are done with other tasks or prompts, done with other models, and begun with other tasks.
async fn otherwise(harness: &Harness, run: RunId) -> (u64, u64, u64) {
    let counts = harness.store().counts(run).await.expect("counts");
    (counts.outdated, counts.other_models, counts.kept)
}

/// Returns the only queue that can be claimed, released at once.
async fn waiting(harness: &Harness, run: RunId) -> Claimed {
    let queue = harness.claim_one(run).await;
    harness.release(&queue).await;
    queue
}

pub(crate) async fn a_model_s_plan_that_was_not_begun_gives_way(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").unplanned()]).await;
    let queue = harness.claim_one(run).await;
    harness
        .settle_plan(planned(queue.lease, &["insight", "facts"]))
        .await;
    harness.release(&queue).await;
    let told = harness.events(run, false).await;
    harness.read(run, &[request("x").plan(&["answer"])]).await;
    let queue = waiting(harness, run).await;
    assert_eq!((queue.planned, &queue.tasks), (true, &tasks(&["answer"])));
    assert_eq!(otherwise(harness, run).await, (0, 0, 0));
    assert_eq!(harness.events(run, false).await, told, "what was told stays told");
    assert_eq!(harness.drain(run).await, ["x"]);
    let row = harness.finished(run).await.remove(0);
    let plan = row.plan.expect("its plan was paid");
    assert_eq!((plan.origin, plan.making.cost), (None, Some(Cost(10))));
    assert_eq!(row.tasks.len(), 1);
    let events = harness.events(run, false).await;
    assert_eq!(events[..told.len()], told);
    assert!(
        events[told.len()].contains("answer"),
        "its tasks are told: {events:?}"
    );
    assert_eq!(otherwise(harness, run).await, (0, 0, 0));
}

pub(crate) async fn a_queue_that_is_to_be_planned_takes_what_it_is_told(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").unplanned()]).await;
    harness.read(run, &[request("x").plan(&["answer"])]).await;
    assert!(harness.claim_of(run, Claimable::Unplanned, 1).await.is_empty());
    assert_eq!(waiting(harness, run).await.tasks, tasks(&["answer"]));
    harness.read(run, &[request("x").unplanned()]).await;
    assert_eq!(ids(&harness.claim_of(run, Claimable::Unplanned, 1).await), ["x"]);
}

pub(crate) async fn a_queue_that_has_begun_keeps_its_tasks_and_is_counted(harness: &mut Harness) {
    let run = harness.run("a").await;
    let old = [
        request("x").plan(&["insight", "facts"]),
        request("y").plan(&["insight"]),
    ];
    let new = [request("x").plan(&["answer"]), request("y").plan(&["answer"])];
    harness.read(run, &old).await;
    let queues = harness.claim(run, 2).await;
    harness.make(&queues[0], 0, Then::GoOn).await;
    harness.release(&queues[0]).await;
    let left = ReleasedLease {
        task: nova3::domain::task::TaskNo::planned(0),
        attempts: vec![attempt(Some(Class::Network), 30)],
        ..ReleasedLease::untouched(queues[1].lease)
    };
    harness.store().release(vec![left]).await.expect("releases");
    harness.read(run, &new).await;
    assert_eq!(
        otherwise(harness, run).await,
        (0, 0, 2),
        "one is settled, one was called for"
    );
    harness.crash().await;
    let claimed = harness.claim(run, 2).await;
    assert_eq!(claimed[0].tasks, tasks(&["insight", "facts"]));
    assert_eq!(claimed[1].tasks, tasks(&["insight"]));
    harness.settle(completed(claimed[0].lease, 1, 1)).await;
    harness.settle(completed(claimed[1].lease, 0, 1)).await;
    assert_eq!(otherwise(harness, run).await, (2, 0, 0));
    harness.read(run, &new).await;
    assert_eq!(otherwise(harness, run).await, (2, 0, 0));
    harness.read(run, &old).await;
    assert_eq!(
        otherwise(harness, run).await,
        (0, 0, 0),
        "they are what is asked for"
    );
}

pub(crate) async fn a_failed_request_takes_what_it_is_told_after_a_retry(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").unplanned()]).await;
    let queue = harness.claim_one(run).await;
    harness.settle_plan(planless(queue.lease, Class::Server)).await;
    let new = [request("x").plan(&["answer"])];
    harness.read(run, &new).await;
    assert_eq!(harness.finished(run).await.len(), 1, "failed is final");
    assert_eq!(harness.retry(run).await, 1);
    assert_eq!(otherwise(harness, run).await, (0, 0, 1), "a reading is due");
    harness.read(run, &new).await;
    assert_eq!(waiting(harness, run).await.tasks, tasks(&["answer"]));
    assert_eq!(otherwise(harness, run).await, (0, 0, 0));
}

pub(crate) async fn what_was_taken_over_is_pending_again(harness: &mut Harness) {
    let run = harness.run("a").await;
    let asked = request("p")
        .session("s")
        .plan(&["insight", "profile", "facts"])
        .until("insight");
    let on = request("c").session("s");
    harness.read(run, &[asked.clone(), on.clone().unplanned()]).await;
    harness.pause(&harness.claim_one(run).await).await;
    let queue = harness.claim_one(run).await;
    assert!(matches!(harness.take_over(&queue).await, TakeOver::Taken(_)));
    harness.release(&queue).await;
    harness.read(run, &[asked, on.plan(&["answer"])]).await;
    assert_eq!(waiting(harness, run).await.tasks, tasks(&["answer"]));
    let counts = harness.store().counts(run).await.expect("counts");
    assert_eq!((counts.paused, counts.done), (1, 0));
    harness.drain(run).await;
    let finished = harness.finished(run).await;
    let plan = finished[1].plan.as_ref().expect("there was one");
    assert_ne!(plan.origin, Some(PlanOrigin::Continued));
}

pub(crate) async fn what_was_finished_under_another_recipe_is_counted(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [request("x"), batch("b"), request("y")];
    harness.read(run, &input).await;
    for queue in harness.claim(run, 2).await {
        harness.done(&queue).await;
    }
    assert_eq!(otherwise(harness, run).await, (0, 0, 0));
    let open = async |harness: &Harness, prompts: &str, models: &str| {
        let mut recipe = recipe(prompts);
        models.clone_into(&mut recipe.models);
        let opening = RunOpening {
            recipe,
            ..opening("a")
        };
        harness.store().open_run(&opening).await.expect("opens");
        otherwise(harness, run).await
    };
    assert_eq!(
        open(harness, "a", "another").await,
        (0, 1, 0),
        "a Batch line has no prompt"
    );
    assert_eq!(open(harness, "another", "m").await, (1, 0, 0));
    harness.drain(run).await;
    harness.crash().await;
    assert_eq!(
        otherwise(harness, run).await,
        (1, 0, 0),
        "the last one was made now"
    );
    assert_eq!(open(harness, "a", "m").await, (1, 0, 0));
    harness.read(run, &input[1..]).await;
    assert_eq!(otherwise(harness, run).await, (1, 0, 0), "of the present input");
}
