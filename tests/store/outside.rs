//! Tasks that outside jobs work on: without a lease or a slot, and settled once by any worker that finds the answer.

use nova3::domain::failure::Class;
use nova3::domain::usage::Cost;
use nova3::store::{Claimed, Hold, ReleasedLease, Reservation, RunId, Settled, Settlement, Submitted};

use crate::store::harness::{Harness, attempt, completed, failed, ids, request};

/// A run whose first request is submitted under the handle `job1`. It has a second request.
async fn submitted(harness: &mut Harness) -> (RunId, Claimed) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").tasks(2), request("y")]).await;
    let queue = harness.claim(run, 1).await.remove(0);
    let reservation = Reservation {
        lease: queue.lease,
        task: queue.task,
        route: "primary".to_owned(),
        model: "m".to_owned(),
        lane: nova3::domain::lane::Lane::live(),
        spent: Cost::ZERO,
        worst: Cost(100),
    };
    let hold = harness.store().reserve(run, &reservation, Cost(1000)).await;
    assert_eq!(hold.expect("reserves"), Hold::Held);
    assert!(
        harness
            .store()
            .submit(queue.lease, "job1")
            .await
            .expect("submits")
    );
    (run, queue)
}

async fn list(harness: &Harness, run: RunId) -> Vec<Submitted> {
    harness.store().submitted(run, 0, 9).await.expect("reads")
}

async fn reserved(harness: &Harness, run: RunId) -> Cost {
    harness.store().summary(run).await.expect("reads").reserved
}

fn answer(queue: &Claimed, handle: &str) -> Settlement {
    completed(queue.lease, 0, 1).of_handle(handle.to_owned())
}

pub(crate) async fn a_submitted_task_has_no_lease(harness: &mut Harness) {
    let (run, queue) = submitted(harness).await;
    let lost = harness
        .store()
        .renew(&crate::store::harness::owner(), &[queue.lease], 1000)
        .await;
    assert_eq!(lost.expect("renews"), [queue.lease], "it cannot be renewed");
    assert_eq!(
        harness.done(&queue).await,
        Settled::LostLease,
        "a worker cannot settle it"
    );
    let listed = list(harness, run).await;
    let expected = Submitted {
        lease: queue.lease,
        task: queue.task,
        handle: "job1".to_owned(),
    };
    assert_eq!(listed, [expected]);
    assert!(
        !harness.store().submit(queue.lease, "job2").await.expect("asks"),
        "once"
    );
    let y = harness.claim_one(run).await;
    harness.done(&y).await;
    assert!(harness.claim(run, 9).await.is_empty());
    assert!(harness.store().has_unfinished(run).await.expect("reads"));
    assert_eq!(harness.store().stuck(run).await.expect("reads"), None, "it waits");
    let counts = harness.store().counts(run).await.expect("counts");
    assert_eq!((counts.running, counts.unfinished()), (0, 1));
}

pub(crate) async fn whoever_finds_the_answer_settles_it_once(harness: &mut Harness) {
    let (run, queue) = submitted(harness).await;
    assert_eq!(
        harness.settle(answer(&queue, "job2")).await,
        Settled::LostLease,
        "another job"
    );
    assert_eq!(harness.settle(answer(&queue, "job1")).await, Settled::Yielded);
    assert_eq!(
        harness.settle(answer(&queue, "job1")).await,
        Settled::LostLease,
        "once"
    );
    assert!(list(harness, run).await.is_empty());
    assert_eq!(reserved(harness, run).await, Cost::ZERO);
    let next = harness.claim(run, 1).await.remove(0);
    assert_eq!(
        (ids(std::slice::from_ref(&next)), next.current_task),
        (vec!["x".to_owned()], 1)
    );
    harness.done(&next).await;
    assert_eq!(
        harness.names(run).await,
        ["x@0 completed completed[answer1] completed[answer2]"]
    );
}

pub(crate) async fn an_outside_failure_fails_its_queue(harness: &mut Harness) {
    let (run, queue) = submitted(harness).await;
    let failure = failed(queue.lease, 0, Class::Server).of_handle("job1".to_owned());
    assert_eq!(harness.settle(failure).await, Settled::Finished { ok: false });
    assert_eq!(harness.names(run).await, ["x@0 failed failed[] skipped[]"]);
    assert_eq!(harness.retry(run).await, 1);
    let again = harness.claim(run, 1).await.remove(0);
    assert_eq!(again.current_task, 0);
}

pub(crate) async fn a_submitted_task_outlives_a_crash(harness: &mut Harness) {
    let (run, queue) = submitted(harness).await;
    if !harness.crash().await {
        return;
    }
    harness.run("a").await;
    assert_eq!(ids(&harness.claim(run, 9).await), ["y"]);
    assert_eq!(list(harness, run).await.len(), 1, "it is not taken away");
    assert_eq!(
        reserved(harness, run).await,
        Cost(100),
        "what it may cost belongs to the job"
    );
    assert_eq!(harness.settle(answer(&queue, "job1")).await, Settled::Yielded);
}

pub(crate) async fn a_job_that_is_gone_is_taken_back_and_runs_live(harness: &mut Harness) {
    let (run, queue) = submitted(harness).await;
    let left = || ReleasedLease {
        task: queue.task,
        attempts: vec![attempt(Some(Class::Server), 7)],
        ..ReleasedLease::untouched(queue.lease)
    };
    assert!(
        !harness.store().take_back("job2", left()).await.expect("asks"),
        "another job"
    );
    assert!(
        harness
            .store()
            .take_back("job1", left())
            .await
            .expect("takes back")
    );
    assert!(
        !harness.store().take_back("job1", left()).await.expect("asks"),
        "once"
    );
    assert_eq!(
        harness.settle(answer(&queue, "job1")).await,
        Settled::LostLease,
        "too late"
    );
    assert_eq!(reserved(harness, run).await, Cost::ZERO);
    let again = harness.claim(run, 1).await.remove(0);
    assert_eq!(
        (ids(std::slice::from_ref(&again)), again.current_task),
        (vec!["x".to_owned()], 0)
    );
    assert!(again.lease.fence > queue.lease.fence);
    assert_eq!(harness.done(&again).await, Settled::Stepped);
}

pub(crate) async fn an_edit_leaves_a_job_nothing_to_settle(harness: &mut Harness) {
    let (run, queue) = submitted(harness).await;
    harness
        .read(run, &[request("x").query("else"), request("y")])
        .await;
    assert_eq!(harness.settle(answer(&queue, "job1")).await, Settled::LostLease);
    let summary = harness.store().summary(run).await.expect("reads");
    assert_eq!(
        (summary.attempts, summary.cost),
        (1, Cost(100)),
        "its call is paid"
    );
    assert_eq!(summary.reserved, Cost::ZERO);
}
