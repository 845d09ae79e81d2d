//! Lines that leave the input, and lines that a reading has not reached yet.

use nova3::domain::tally::Counts;
use nova3::store::{AddOutcome, Order, Settled};

use crate::store::harness::{Harness, ids, request, show};

pub(crate) async fn only_seen_lines_are_claimed_while_reading(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x"), request("y")]).await;
    let epoch = harness.begin(run).await;
    assert!(harness.claim(run, 9).await.is_empty());
    harness.add(run, epoch, &[request("y")]).await;
    assert_eq!(ids(&harness.claim(run, 9).await), ["y"]);
    assert!(harness.store().has_unfinished(run).await.expect("reads"));
    harness.end(run, epoch, 1).await;
    assert!(harness.claim(run, 9).await.is_empty(), "`x` is gone");
}

pub(crate) async fn removed_lines_are_kept_apart_and_come_back(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [request("x"), request("y"), request("z")];
    harness.read(run, &input).await;
    let queues = harness.claim(run, 2).await;
    harness.done(&queues[0]).await;
    harness.done(&queues[1]).await;
    let (x, y) = (
        "x@0 completed completed[answer1]",
        "y@1 completed completed[answer1]",
    );
    assert_eq!(harness.names(run).await, [x, y]);

    let before = harness.lines_epoch(run).await;
    let epoch = harness.begin(run).await;
    harness.add(run, epoch, &input[..1]).await;
    assert_eq!(
        harness.names(run).await,
        [x, y],
        "a reading that has not ended takes nothing away"
    );
    assert_eq!(harness.lines_epoch(run).await, before);
    harness.end(run, epoch, 1).await;
    let shorter = harness.lines_epoch(run).await;
    assert!(shorter > before, "`y` must leave the file");
    assert_eq!(harness.names(run).await, [x]);
    let all: Vec<_> = harness
        .pages(run, Order::Completion, Some(1))
        .await
        .iter()
        .map(show)
        .collect();
    assert_eq!(all, [x, y], "the first reading saw `y`");
    let since_then = harness.pages(run, Order::Completion, Some(epoch.0)).await;
    assert_eq!(since_then.iter().map(show).collect::<Vec<_>>(), [x]);
    let counts = harness.store().counts(run).await.expect("counts");
    assert_eq!(
        counts,
        Counts {
            total: 1,
            done: 1,
            ..Counts::default()
        }
    );
    assert!(!harness.store().has_unfinished(run).await.expect("reads"));

    let outcomes = harness.read(run, &input).await;
    assert!(matches!(
        outcomes[..],
        [
            AddOutcome::Finished(_),
            AddOutcome::Finished(_),
            AddOutcome::Waiting(_)
        ]
    ));
    assert!(
        harness.lines_epoch(run).await > shorter,
        "`y` must come into the file again"
    );
    assert_eq!(harness.names(run).await, [x, y]);
    assert_eq!(harness.drain(run).await, ["z"]);
}

pub(crate) async fn a_removed_line_in_flight_holds_nobody_up(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness
        .read(run, &[request("x").session("s"), request("y").session("s")])
        .await;
    let gone = harness.claim_one(run).await;
    harness.read(run, &[request("y").session("s")]).await;
    assert!(harness.claim(run, 9).await.is_empty(), "the session is at work");
    harness
        .store()
        .release(vec![nova3::store::ReleasedLease::untouched(gone.lease)])
        .await
        .expect("releases");
    assert_eq!(harness.drain(run).await, ["y"]);

    harness
        .read(run, &[request("x").session("s"), request("z").session("s")])
        .await;
    let gone = harness.claim_one(run).await;
    harness.read(run, &[request("z").session("s")]).await;
    if harness.crash().await {
        assert_eq!(harness.done(&gone).await, Settled::LostLease);
    } else {
        assert_eq!(harness.done(&gone).await, Settled::Finished { ok: true });
    }
    assert_eq!(harness.drain(run).await, ["z"]);
}

pub(crate) async fn a_removed_head_lets_its_session_go_on(harness: &mut Harness) {
    let run = harness.run("a").await;
    let (x, y, z) = (
        request("x").session("s"),
        request("y").session("s"),
        request("z").session("s"),
    );
    harness.read(run, &[x.clone(), y.clone(), z.clone()]).await;
    harness.read(run, &[z.clone(), y.clone()]).await;
    let y_at_work = harness.claim_one(run).await;
    assert_eq!(
        ids(std::slice::from_ref(&y_at_work)),
        ["y"],
        "arrival counts, not the place in the file"
    );
    harness
        .store()
        .release(vec![nova3::store::ReleasedLease::untouched(y_at_work.lease)])
        .await
        .expect("releases");
    harness.read(run, &[y, z, x]).await;
    assert_eq!(harness.drain(run).await, ["x", "y", "z"]);
}
