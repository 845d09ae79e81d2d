//! One queue of a session at a time, in order of arrival, with items that are numbered through.

use nova3::domain::failure::Class;
use nova3::store::{SessionCounts, Settled};

use crate::bed::{Bed, completed, failed, ids, request};

pub(crate) async fn one_at_a_time_in_order_of_arrival(bed: &mut Bed) {
    let run = bed.run("a").await;
    let input = [
        request("s1").session("s"),
        request("s2").session("s"),
        request("t1").session("t"),
        request("s3").session("s").tasks(2),
        request("u1").user("u").session("s"),
    ];
    bed.read(run, &input).await;
    let heads = bed.claim(run, 9).await;
    assert_eq!(
        ids(&heads),
        ["s1", "t1", "u1"],
        "the session of another user is another one"
    );
    assert!(bed.claim(run, 9).await.is_empty());
    bed.fail(&heads[0], Class::Server).await;
    let second = bed.claim_one(run).await;
    bed.store()
        .release(vec![nova3::store::Left::untouched(second.lease)])
        .await
        .expect("releases");
    let second = bed.claim_one(run).await;
    assert_eq!(ids(std::slice::from_ref(&second)), ["s2"]);
    bed.done(&second).await;
    let third = bed.claim_one(run).await;
    assert_eq!(bed.settle(completed(third.lease, 0, 1)).await, Settled::Stepped);
    assert!(bed.claim(run, 9).await.is_empty());
    let of = |user: &str, session: &str, total, done, failed| SessionCounts {
        user_id: user.to_owned(),
        session_id: session.to_owned(),
        total,
        done,
        failed,
        paused: 0,
        continued: 0,
    };
    bed.done(&heads[1]).await;
    let expected = [
        of("default", "s", 3, 1, 1),
        of("u", "s", 1, 0, 0),
        of("default", "t", 1, 1, 0),
    ];
    assert_eq!(bed.store().sessions(run, 9).await.expect("reads"), expected);
    assert_eq!(bed.store().sessions(run, 1).await.expect("reads"), expected[..1]);
}

pub(crate) async fn an_edit_keeps_its_place(bed: &mut Bed) {
    let run = bed.run("a").await;
    let (y, z) = (request("y").session("s"), request("z").session("s"));
    bed.read(run, &[request("x").session("s"), y.clone(), z.clone()])
        .await;
    let edited = request("x").session("s").query("else");
    bed.read(run, &[edited, y, z]).await;
    assert_eq!(bed.drain(run).await, ["x", "y", "z"]);
}

pub(crate) async fn an_edit_that_leaves_a_session_lets_it_go_on(bed: &mut Bed) {
    let run = bed.run("a").await;
    let y = request("y").session("s");
    bed.read(run, &[request("x").session("s"), y.clone()]).await;
    let epoch = bed.begin(run).await;
    bed.add(run, epoch, &[request("w"), y]).await;
    bed.add(run, epoch, &[request("x").session("t")]).await;
    assert_eq!(
        ids(&bed.claim(run, 9).await),
        ["x", "y", "w"],
        "before the reading has ended"
    );
}

pub(crate) async fn two_runs_share_a_session(bed: &mut Bed) {
    let (a, b) = (bed.run("a").await, bed.run("b").await);
    bed.read(a, &[request("a1").session("s"), request("a2").session("s")])
        .await;
    bed.read(b, &[request("b1").session("s"), request("b2")]).await;
    // The unfinished queues of a run that nobody works on hold nobody up.
    let queues = bed.claim(b, 9).await;
    assert_eq!(ids(&queues), ["b1", "b2"]);
    assert!(
        bed.claim(a, 9).await.is_empty(),
        "the session is at work in the other run"
    );
    bed.done(&queues[0]).await;
    assert_eq!(bed.drain(a).await, ["a1", "a2"]);
}

pub(crate) async fn items_are_numbered_without_a_gap(bed: &mut Bed) {
    let (a, b) = (bed.run("a").await, bed.run("b").await);
    bed.read(
        a,
        &[request("a1").session("s").tasks(2), request("a2").session("s")],
    )
    .await;
    bed.read(b, &[request("b1").session("s"), request("b2").session("t")])
        .await;
    let queue = bed.claim_one(a).await;
    bed.settle(completed(queue.lease, 0, 2)).await;
    bed.store()
        .release(vec![nova3::store::Left::untouched(queue.lease)])
        .await
        .expect("releases");
    assert_eq!(bed.settle(completed(queue.lease, 1, 5)).await, Settled::LostLease);
    bed.crash().await;
    let queue = bed.claim_one(a).await;
    bed.settle(completed(queue.lease, 1, 1)).await;
    let queue = bed.claim_one(a).await;
    bed.settle(failed(queue.lease, 0, Class::Server)).await;
    bed.drain(b).await;
    bed.retry(a).await;
    bed.drain(a).await;
    assert_eq!(
        bed.names(a).await,
        [
            "a1@0 completed completed[answer1,answer2] completed[answer3]",
            "a2@1 completed completed[answer5]"
        ]
    );
    assert_eq!(
        bed.names(b).await,
        [
            "b1@0 completed completed[answer4]",
            "b2@1 completed completed[answer1]"
        ]
    );
}

pub(crate) async fn a_request_alone_counts_from_one(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(run, &[request("x").tasks(2), request("y")]).await;
    bed.drain(run).await;
    assert_eq!(
        bed.names(run).await,
        [
            "x@0 completed completed[answer1] completed[answer2]",
            "y@1 completed completed[answer1]"
        ]
    );
}
