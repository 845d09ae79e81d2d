//! Queues whose tasks are a graph: tasks side by side, skipped tasks, and how failures and pauses end such a queue.

use nova3::domain::conditions::OnFailure;
use nova3::domain::failure::Class;
use nova3::domain::task::TaskNo;
use nova3::store::{Settled, Settlement, Then};

use crate::store::harness::{Draft, Harness, completed, failed, request, tasks};

/// Two tasks side by side, a third that needs both, and a fourth behind it.
fn diamond() -> Draft {
    graph(&[Some(&[]), Some(&[]), Some(&[0, 1]), None])
}

fn graph(needs: &[Option<&[usize]>]) -> Draft {
    request("x").tasks(needs.len()).needs(needs)
}

fn goes_on(settlement: Settlement) -> Settlement {
    settlement.on_failure(OnFailure::Continue)
}

/// A run with the diamond, and the leases of its two first tasks.
async fn begun(harness: &Harness, draft: Draft) -> (nova3::store::RunId, [nova3::store::Lease; 2]) {
    let run = harness.run("a").await;
    harness.read(run, &[draft]).await;
    let claimed = harness.claim(run, 9).await;
    let numbers: Vec<TaskNo> = claimed.iter().map(|queue| queue.task).collect();
    assert_eq!(numbers, [TaskNo(0), TaskNo(1)]);
    assert!(harness.claim(run, 9).await.is_empty(), "the others wait");
    (run, [claimed[0].lease, claimed[1].lease])
}

pub(crate) async fn tasks_that_need_no_other_are_leased_side_by_side(harness: &mut Harness) {
    let (run, [first, second]) = begun(harness, diamond()).await;
    assert_ne!(first.fence, second.fence);
    assert_eq!(harness.settle(completed(second, 1, 1)).await, Settled::Yielded);
    assert!(harness.claim(run, 9).await.is_empty(), "one need is not met");
    assert_eq!(
        harness.settle(completed(first, 0, 1)).await,
        Settled::Moved(TaskNo(2))
    );
    assert_eq!(harness.settle(completed(first, 2, 1)).await, Settled::Stepped);
    assert_eq!(
        harness.settle(completed(first, 3, 1)).await,
        Settled::Finished { ok: true }
    );
    assert_eq!(
        harness.names(run).await,
        ["x@0 completed completed[answer2] completed[answer1] completed[answer3] completed[answer4]"],
        "each item has its own number"
    );
    assert!(!harness.store().has_unfinished(run).await.expect("reads"));
}

pub(crate) async fn a_fork_hands_its_lease_to_one_task_and_frees_the_others(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness
        .read(run, &[graph(&[None, Some(&[0]), Some(&[0]), Some(&[0])])])
        .await;
    let root = harness.claim_one(run).await;
    assert_eq!(
        harness.settle(completed(root.lease, 0, 0)).await,
        Settled::Stepped
    );
    let others = harness.claim(run, 9).await;
    let numbers: Vec<TaskNo> = others.iter().map(|queue| queue.task).collect();
    assert_eq!(numbers, [TaskNo(2), TaskNo(3)]);
    // The task that settles last ends the queue, whatever its number is.
    assert_eq!(
        harness.settle(completed(others[1].lease, 3, 0)).await,
        Settled::Yielded
    );
    assert_eq!(
        harness.settle(completed(others[0].lease, 2, 0)).await,
        Settled::Yielded
    );
    assert_eq!(
        harness.settle(completed(root.lease, 1, 0)).await,
        Settled::Finished { ok: true }
    );
}

pub(crate) async fn a_crash_repeats_only_the_tasks_that_are_not_settled(harness: &mut Harness) {
    let (run, [first, _]) = begun(harness, diamond()).await;
    assert_eq!(harness.settle(completed(first, 0, 1)).await, Settled::Yielded);
    if !harness.crash().await {
        return;
    }
    let again = harness.claim_one(run).await;
    assert_eq!(again.task, TaskNo(1));
    assert_eq!(
        harness.settle(completed(again.lease, 1, 1)).await,
        Settled::Stepped
    );
}

pub(crate) async fn a_failed_task_lets_the_tasks_at_its_side_end(harness: &mut Harness) {
    let (run, [first, second]) = begun(harness, diamond()).await;
    assert_eq!(
        harness.settle(failed(first, 0, Class::Schema)).await,
        Settled::Yielded
    );
    assert!(harness.claim(run, 9).await.is_empty(), "nothing behind it begins");
    assert!(harness.finished(run).await.is_empty());
    let side = completed(second, 1, 1).on_failure(OnFailure::Fail);
    assert_eq!(harness.settle(side).await, Settled::Finished { ok: false });
    assert_eq!(
        harness.names(run).await,
        ["x@0 failed failed[] completed[answer1] skipped[] skipped[]"]
    );
    let row = harness.finished(run).await.remove(0);
    assert_eq!(row.failure.map(|failure| failure.class), Some(Class::Schema));
    // A retry runs the failed task and the tasks behind it.
    assert_eq!(harness.retry(run).await, 1);
    let again = harness.claim_one(run).await;
    assert_eq!(again.task, TaskNo(0));
    assert_eq!(
        harness.settle(completed(again.lease, 0, 1)).await,
        Settled::Moved(TaskNo(2))
    );
}

pub(crate) async fn a_failure_that_is_settled_last_ends_the_queue(harness: &mut Harness) {
    let (run, [first, second]) = begun(harness, diamond()).await;
    assert_eq!(harness.settle(completed(second, 1, 1)).await, Settled::Yielded);
    assert_eq!(
        harness.settle(failed(first, 0, Class::Schema)).await,
        Settled::Finished { ok: false }
    );
    assert_eq!(
        harness.names(run).await,
        ["x@0 failed failed[] completed[answer1] skipped[] skipped[]"]
    );
}

pub(crate) async fn a_graph_goes_on_behind_a_failed_task(harness: &mut Harness) {
    let (run, [first, second]) = begun(harness, diamond()).await;
    assert_eq!(
        harness.settle(goes_on(failed(first, 0, Class::Schema))).await,
        Settled::Yielded
    );
    assert_eq!(harness.settle(completed(second, 1, 1)).await, Settled::Stepped);
    assert_eq!(harness.settle(completed(second, 2, 0)).await, Settled::Stepped);
    assert_eq!(
        harness.settle(completed(second, 3, 0)).await,
        Settled::Finished { ok: false }
    );
    assert_eq!(
        harness.names(run).await,
        ["x@0 partial failed[] completed[answer1] completed[] completed[]"]
    );
}

pub(crate) async fn a_skipped_task_lets_its_queue_go_on(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness
        .read(run, &[request("x").tasks(3), request("y").tasks(1)])
        .await;
    let claimed = harness.claim(run, 9).await;
    let (x, y) = (claimed[0].lease, claimed[1].lease);
    assert_eq!(harness.settle(Settlement::skipped(x, 0)).await, Settled::Stepped);
    assert_eq!(harness.settle(completed(x, 1, 1)).await, Settled::Stepped);
    assert_eq!(
        harness.settle(Settlement::skipped(x, 2)).await,
        Settled::Finished { ok: true }
    );
    assert_eq!(
        harness.settle(Settlement::skipped(y, 0)).await,
        Settled::Finished { ok: true },
        "a request of which nothing was due"
    );
    assert_eq!(
        harness.names(run).await,
        [
            "x@0 completed skipped[] completed[answer1] skipped[]",
            "y@1 completed skipped[]"
        ]
    );
    assert_eq!(
        harness.settle(Settlement::skipped(x, 0)).await,
        Settled::LostLease,
        "it is settled once"
    );
    assert_eq!(harness.retry(run).await, 0);
}

pub(crate) async fn a_pause_waits_for_the_tasks_at_its_side(harness: &mut Harness) {
    let plan = ["insight", "facts", "profile", "answer"];
    let draft = request("x").plan(&plan).until("insight");
    let draft = draft.needs(&[Some(&[]), Some(&[]), Some(&[0, 1]), None]);
    let (run, [first, second]) = begun(harness, draft.clone()).await;
    let pause = Settlement::completed(
        first,
        0,
        nova3::domain::outcome::Product::Items(vec![]),
        Then::Pause,
        crate::store::harness::making(1),
        vec![],
    );
    assert_eq!(harness.settle(pause).await, Settled::Yielded);
    assert!(harness.claim(run, 9).await.is_empty());
    assert_eq!(
        harness.settle(completed(second, 1, 0)).await,
        Settled::Finished { ok: true }
    );
    assert_eq!(
        harness.names(run).await,
        ["x@0 paused completed[] completed[] pending[] pending[]"]
    );
    // The same command pauses again; without the flag the queue goes on.
    harness.read(run, std::slice::from_ref(&draft)).await;
    assert!(harness.claim(run, 9).await.is_empty());
    harness.read(run, &[draft.until("answer")]).await;
    let next = harness.claim_one(run).await;
    assert_eq!(next.task, TaskNo(2));
    assert_eq!(
        harness.settle(completed(next.lease, 2, 0)).await,
        Settled::Stepped
    );
    assert_eq!(
        harness.settle(completed(next.lease, 3, 0)).await,
        Settled::Finished { ok: true }
    );
}

pub(crate) async fn a_later_request_takes_over_what_is_not_settled(harness: &mut Harness) {
    let plan = ["insight", "facts", "profile", "answer"];
    let needs: [Option<&[usize]>; 4] = [Some(&[]), Some(&[0]), Some(&[]), None];
    let paused = request("p")
        .session("s")
        .plan(&plan)
        .until("insight")
        .needs(&needs);
    let run = harness.run("a").await;
    harness
        .read(run, &[paused, request("c").session("s").unplanned()])
        .await;
    let claimed = harness.claim(run, 9).await;
    harness.pause(&claimed[0]).await;
    // The task at the side of the pause has a lease of its own, and so has the one behind it.
    assert_eq!(
        harness.settle(completed(claimed[1].lease, 2, 0)).await,
        Settled::Stepped
    );
    assert_eq!(
        harness.settle(completed(claimed[1].lease, 3, 0)).await,
        Settled::Finished { ok: true }
    );
    let next = harness.claim_one(run).await;
    assert_eq!(
        harness.take_over(&next).await,
        nova3::store::TakeOver::Taken(tasks(&["facts"]))
    );
}

pub(crate) async fn a_changed_graph_replaces_one_that_has_not_begun(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[diamond()]).await;
    harness.read(run, &[graph(&[None, None, None, None])]).await;
    assert_eq!(harness.claim(run, 9).await.len(), 1, "a chain has one first task");
}

pub(crate) async fn a_session_goes_on_behind_a_graph(harness: &mut Harness) {
    let run = harness.run("a").await;
    let first = request("x")
        .session("s")
        .tasks(3)
        .needs(&[Some(&[]), Some(&[]), Some(&[])]);
    harness.read(run, &[first, request("y").session("s")]).await;
    let claimed = harness.claim(run, 9).await;
    assert_eq!(claimed.len(), 3);
    for place in [2, 1] {
        let settled = harness.settle(completed(claimed[place].lease, place, 1)).await;
        assert_eq!(settled, Settled::Yielded);
        assert!(harness.claim(run, 9).await.is_empty(), "the session is busy");
    }
    assert_eq!(
        harness.settle(completed(claimed[0].lease, 0, 1)).await,
        Settled::Finished { ok: true }
    );
    assert_eq!(crate::store::harness::id(&harness.claim_one(run).await), "y");
}
