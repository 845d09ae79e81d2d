//! Lines that leave the input, and lines that a reading has not come to yet.

use nova3::domain::tally::Counts;
use nova3::store::{AddOutcome, Order, Settled};

use crate::bed::{Bed, ids, request, show};

pub(crate) async fn only_seen_lines_are_claimed_while_reading(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(run, &[request("x"), request("y")]).await;
    let epoch = bed.begin(run).await;
    assert!(bed.claim(run, 9).await.is_empty());
    bed.add(run, epoch, &[request("y")]).await;
    assert_eq!(ids(&bed.claim(run, 9).await), ["y"]);
    assert!(bed.store().has_unfinished(run).await.expect("reads"));
    bed.end(run, epoch, 1).await;
    assert!(bed.claim(run, 9).await.is_empty(), "`x` is gone");
}

pub(crate) async fn removed_lines_are_kept_apart_and_come_back(bed: &mut Bed) {
    let run = bed.run("a").await;
    let input = [request("x"), request("y"), request("z")];
    bed.read(run, &input).await;
    let queues = bed.claim(run, 2).await;
    bed.done(&queues[0]).await;
    bed.done(&queues[1]).await;
    let (x, y) = (
        "x@0 completed completed[answer1]",
        "y@1 completed completed[answer1]",
    );
    assert_eq!(bed.names(run).await, [x, y]);

    let before = bed.lines_epoch(run).await;
    let epoch = bed.begin(run).await;
    bed.add(run, epoch, &input[..1]).await;
    assert_eq!(
        bed.names(run).await,
        [x, y],
        "a reading that has not ended takes nothing away"
    );
    assert_eq!(bed.lines_epoch(run).await, before);
    bed.end(run, epoch, 1).await;
    let shorter = bed.lines_epoch(run).await;
    assert!(shorter > before, "`y` must leave the file");
    assert_eq!(bed.names(run).await, [x]);
    let all: Vec<_> = bed
        .pages(run, Order::Completion, Some(1))
        .await
        .iter()
        .map(show)
        .collect();
    assert_eq!(all, [x, y], "the first reading saw `y`");
    let since_then = bed.pages(run, Order::Completion, Some(epoch.0)).await;
    assert_eq!(since_then.iter().map(show).collect::<Vec<_>>(), [x]);
    let counts = bed.store().counts(run).await.expect("counts");
    assert_eq!(
        counts,
        Counts {
            total: 1,
            done: 1,
            ..Counts::default()
        }
    );
    assert!(!bed.store().has_unfinished(run).await.expect("reads"));

    let outcomes = bed.read(run, &input).await;
    assert!(matches!(
        outcomes[..],
        [
            AddOutcome::Finished(_),
            AddOutcome::Finished(_),
            AddOutcome::Waiting(_)
        ]
    ));
    assert!(
        bed.lines_epoch(run).await > shorter,
        "`y` must come into the file again"
    );
    assert_eq!(bed.names(run).await, [x, y]);
    assert_eq!(bed.drain(run).await, ["z"]);
}

pub(crate) async fn a_removed_line_in_flight_holds_nobody_up(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(run, &[request("x").session("s"), request("y").session("s")])
        .await;
    let gone = bed.claim_one(run).await;
    bed.read(run, &[request("y").session("s")]).await;
    assert!(bed.claim(run, 9).await.is_empty(), "the session is at work");
    bed.store()
        .release(vec![nova3::store::Left::untouched(gone.lease)])
        .await
        .expect("releases");
    assert_eq!(bed.drain(run).await, ["y"]);

    bed.read(run, &[request("x").session("s"), request("z").session("s")])
        .await;
    let gone = bed.claim_one(run).await;
    bed.read(run, &[request("z").session("s")]).await;
    if bed.crash().await {
        assert_eq!(bed.done(&gone).await, Settled::LostLease);
    } else {
        assert_eq!(bed.done(&gone).await, Settled::Finished { ok: true });
    }
    assert_eq!(bed.drain(run).await, ["z"]);
}

pub(crate) async fn a_removed_head_lets_its_session_go_on(bed: &mut Bed) {
    let run = bed.run("a").await;
    let (x, y, z) = (
        request("x").session("s"),
        request("y").session("s"),
        request("z").session("s"),
    );
    bed.read(run, &[x.clone(), y.clone(), z.clone()]).await;
    bed.read(run, &[z.clone(), y.clone()]).await;
    let y_at_work = bed.claim_one(run).await;
    assert_eq!(
        ids(std::slice::from_ref(&y_at_work)),
        ["y"],
        "arrival counts, not the place in the file"
    );
    bed.store()
        .release(vec![nova3::store::Left::untouched(y_at_work.lease)])
        .await
        .expect("releases");
    bed.read(run, &[y, z, x]).await;
    assert_eq!(bed.drain(run).await, ["x", "y", "z"]);
}
