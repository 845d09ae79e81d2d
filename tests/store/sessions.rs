//! One queue of a session at a time, in order of arrival, with items that are numbered across queues.

use nova3::domain::failure::Class;
use nova3::store::{SessionCounts, Settled};

use crate::store::harness::{Harness, completed, failed, ids, request};

pub(crate) async fn one_at_a_time_in_order_of_arrival(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [
        request("s1").session("s"),
        request("s2").session("s"),
        request("t1").session("t"),
        request("s3").session("s").tasks(2),
        request("u1").user("u").session("s"),
    ];
    harness.read(run, &input).await;
    let heads = harness.claim(run, 9).await;
    assert_eq!(
        ids(&heads),
        ["s1", "t1", "u1"],
        "the session of another user is another one"
    );
    assert!(harness.claim(run, 9).await.is_empty());
    harness.fail(&heads[0], Class::Server).await;
    let second = harness.claim_one(run).await;
    harness
        .store()
        .release(vec![nova3::store::ReleasedLease::untouched(second.lease)])
        .await
        .expect("releases");
    let second = harness.claim_one(run).await;
    assert_eq!(ids(std::slice::from_ref(&second)), ["s2"]);
    harness.done(&second).await;
    let third = harness.claim_one(run).await;
    assert_eq!(
        harness.settle(completed(third.lease, 0, 1)).await,
        Settled::Stepped
    );
    assert!(harness.claim(run, 9).await.is_empty());
    let of = |user: &str, session: &str, total, done, failed| SessionCounts {
        user_id: user.to_owned(),
        session_id: session.to_owned(),
        total,
        done,
        failed,
        paused: 0,
        continued: 0,
    };
    harness.done(&heads[1]).await;
    let expected = [
        of("default", "s", 3, 1, 1),
        of("u", "s", 1, 0, 0),
        of("default", "t", 1, 1, 0),
    ];
    assert_eq!(harness.store().sessions(run, 9).await.expect("reads"), expected);
    assert_eq!(
        harness.store().sessions(run, 1).await.expect("reads"),
        expected[..1]
    );
}

pub(crate) async fn an_edit_keeps_its_place(harness: &mut Harness) {
    let run = harness.run("a").await;
    let (y, z) = (request("y").session("s"), request("z").session("s"));
    harness
        .read(run, &[request("x").session("s"), y.clone(), z.clone()])
        .await;
    let edited = request("x").session("s").query("else");
    harness.read(run, &[edited, y, z]).await;
    assert_eq!(harness.drain(run).await, ["x", "y", "z"]);
}

pub(crate) async fn an_edit_that_leaves_a_session_lets_it_go_on(harness: &mut Harness) {
    let run = harness.run("a").await;
    let y = request("y").session("s");
    harness.read(run, &[request("x").session("s"), y.clone()]).await;
    let epoch = harness.begin(run).await;
    harness.add(run, epoch, &[request("w"), y]).await;
    harness.add(run, epoch, &[request("x").session("t")]).await;
    assert_eq!(
        ids(&harness.claim(run, 9).await),
        ["x", "y", "w"],
        "before the reading has ended"
    );
}

/// No search for waiting sessions exists: each step leaves a session with a queue that can be claimed, while any queue
/// waits.
pub(crate) async fn a_session_never_waits_for_nothing(harness: &mut Harness) {
    let run = harness.run("a").await;
    let [x, y, z] = ["x", "y", "z"].map(|id| request(id).session("s"));
    harness.read(run, &[x.clone(), y.clone(), z.clone()]).await;
    let head = harness.claim_one(run).await;
    // The first queue ends after a reading has seen one of those behind it.
    let epoch = harness.begin(run).await;
    harness.add(run, epoch, std::slice::from_ref(&z)).await;
    harness.done(&head).await;
    let seen = harness.claim_one(run).await;
    assert_eq!(ids(std::slice::from_ref(&seen)), ["z"]);
    let left = vec![nova3::store::ReleasedLease::untouched(seen.lease)];
    harness.store().release(left).await.expect("releases");
    harness.end(run, epoch, 1).await;
    let seen = harness.claim_one(run).await;
    assert_eq!(
        ids(std::slice::from_ref(&seen)),
        ["z"],
        "after the end of the reading"
    );
    harness.fail(&seen, Class::Server).await;
    assert!(!harness.store().has_unfinished(run).await.expect("reads"));
    // A line that left comes back before one that failed and is retried. Its turn comes while the session is at work
    // elsewhere.
    harness.read(run, &[z.clone(), y.clone()]).await;
    let back = harness.claim_one(run).await;
    assert_eq!(ids(std::slice::from_ref(&back)), ["y"]);
    assert_eq!(harness.retry(run).await, 1);
    let epoch = harness.begin(run).await;
    harness.done(&back).await;
    assert!(harness.claim(run, 9).await.is_empty(), "not seen yet");
    harness.add(run, epoch, &[y, z]).await;
    harness.end(run, epoch, 2).await;
    assert_eq!(harness.drain(run).await, ["z"]);
}

pub(crate) async fn two_runs_share_a_session(harness: &mut Harness) {
    let (a, b) = (harness.run("a").await, harness.run("b").await);
    harness
        .read(a, &[request("a1").session("s"), request("a2").session("s")])
        .await;
    harness
        .read(b, &[request("b1").session("s"), request("b2")])
        .await;
    // The unfinished queues of a run without workers block no other run.
    let queues = harness.claim(b, 9).await;
    assert_eq!(ids(&queues), ["b1", "b2"]);
    assert!(
        harness.claim(a, 9).await.is_empty(),
        "the session is at work in the other run"
    );
    harness.done(&queues[0]).await;
    assert_eq!(harness.drain(a).await, ["a1", "a2"]);
}

pub(crate) async fn items_are_numbered_without_a_gap(harness: &mut Harness) {
    let (a, b) = (harness.run("a").await, harness.run("b").await);
    harness
        .read(
            a,
            &[request("a1").session("s").tasks(2), request("a2").session("s")],
        )
        .await;
    harness
        .read(b, &[request("b1").session("s"), request("b2").session("t")])
        .await;
    let queue = harness.claim_one(a).await;
    harness.settle(completed(queue.lease, 0, 2)).await;
    harness
        .store()
        .release(vec![nova3::store::ReleasedLease::untouched(queue.lease)])
        .await
        .expect("releases");
    assert_eq!(
        harness.settle(completed(queue.lease, 1, 5)).await,
        Settled::LostLease
    );
    harness.crash().await;
    let queue = harness.claim_one(a).await;
    harness.settle(completed(queue.lease, 1, 1)).await;
    let queue = harness.claim_one(a).await;
    harness.settle(failed(queue.lease, 0, Class::Server)).await;
    harness.drain(b).await;
    harness.retry(a).await;
    harness.drain(a).await;
    assert_eq!(
        harness.names(a).await,
        [
            "a1@0 completed completed[answer1,answer2] completed[answer3]",
            "a2@1 completed completed[answer5]"
        ]
    );
    assert_eq!(
        harness.names(b).await,
        [
            "b1@0 completed completed[answer4]",
            "b2@1 completed completed[answer1]"
        ]
    );
}

pub(crate) async fn a_request_alone_counts_from_one(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").tasks(2), request("y")]).await;
    harness.drain(run).await;
    assert_eq!(
        harness.names(run).await,
        [
            "x@0 completed completed[answer1] completed[answer2]",
            "y@1 completed completed[answer1]"
        ]
    );
}
