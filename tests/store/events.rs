//! The log of what was settled: everything once, in the order of settling, only ever added to.

use nova3::domain::failure::Class;
use nova3::store::{RunId, Settled, Then};

use crate::bed::{Bed, bad, batch, completed, planless, planned, request, tell};

pub(crate) async fn everything_settled_is_told_in_its_order(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(
        run,
        &[request("x").plan(&["insight", "facts"]), request("y").unplanned()],
    )
    .await;
    assert!(bed.events(run, false).await.is_empty());
    let queues = bed.claim(run, 9).await;
    bed.make(&queues[0], 0, Then::GoOn).await;
    bed.settle_plan(planned(queues[1].lease, &["insight", "answer"]))
        .await;
    bed.settle(completed(queues[1].lease, 0, 2)).await;
    bed.make(&queues[0], 1, Then::GoOn).await;
    bed.settle(completed(queues[1].lease, 1, 0)).await;
    assert_eq!(
        bed.settle(completed(queues[1].lease, 1, 1)).await,
        Settled::LostLease
    );
    let expected = [
        "x/2 planned insight,facts",
        "x/2 task001[insight1]",
        "y/2 planned insight,answer",
        "y/2 task001[answer1,answer2]",
        "x/2 task002[facts1]",
        "x/2 completed",
        "y/2 task002[]",
        "y/2 completed",
    ];
    assert_eq!(bed.events(run, false).await, expected);
    bed.crash().await;
    assert_eq!(bed.events(run, true).await, expected);
    let other = bed.run("b").await;
    assert!(bed.events(other, false).await.is_empty());
}

pub(crate) async fn a_plan_is_told_once(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(run, &[request("x").tasks(2), request("y").unplanned()])
        .await;
    let queues = bed.claim(run, 9).await;
    bed.fail(&queues[0], Class::Server).await;
    bed.settle_plan(planless(queues[1].lease, Class::Schema)).await;
    let before = bed.events(run, false).await;
    bed.retry(run).await;
    let queues = bed.claim(run, 9).await;
    bed.settle_plan(planned(queues[1].lease, &["insight"])).await;
    bed.done(&queues[1]).await;
    bed.store()
        .release(vec![nova3::store::Left::untouched(queues[0].lease)])
        .await
        .expect("releases");
    bed.crash().await;
    bed.drain(run).await;
    let expected = [
        "x/2 planned answer,answer",
        "x/2 failed task001 server",
        "x/2 failed",
        "y/0 failed - schema",
        "y/0 failed",
        "y/1 planned insight",
        "y/1 task001[answer1]",
        "y/1 completed",
        "x/2 task001[answer1]",
        "x/2 task002[answer2]",
        "x/2 completed",
    ];
    let after = bed.events(run, false).await;
    assert_eq!(after, expected);
    assert_eq!(before, expected[..before.len()], "what was told stays told");
}

pub(crate) async fn pauses_and_what_goes_on_are_told(bed: &mut Bed) {
    let run = bed.run("a").await;
    let p = request("p").session("s").plan(&["insight", "profile", "facts"]);
    let c = request("c").session("s").unplanned();
    let line = request("x").tasks(2);
    bed.read(run, &[p.clone().each(), c.clone(), line.clone().each()])
        .await;
    for queue in bed.claim(run, 9).await {
        bed.pause(&queue).await;
    }
    bed.read(run, &[p.each(), c, line]).await;
    for queue in bed.claim(run, 9).await {
        if queue.planned {
            bed.done(&queue).await;
        } else {
            bed.take_over(&queue).await;
        }
    }
    let mut expected = vec![
        "p/3 planned insight,profile,facts",
        "p/3 task001[insight1]",
        "p/3 paused task001 profile",
        "x/2 planned answer,answer",
        "x/2 task001[answer1]",
        "x/2 paused task001 answer",
        "c/2 planned profile,facts",
        "x/2 task002[answer2]",
        "x/2 completed",
    ];
    let told = bed.events(run, false).await;
    assert_eq!(told[..6], expected[..6]);
    expected.sort_unstable();
    let mut told = told;
    told.sort_unstable();
    assert_eq!(told, expected);
}

pub(crate) async fn what_is_no_longer_true_is_not_present(bed: &mut Bed) {
    let run = bed.run("a").await;
    let input = [request("x"), request("y").tasks(2), request("z")];
    bed.read(run, &input).await;
    for queue in bed.claim(run, 9).await {
        bed.done(&queue).await;
    }
    let all = bed.events(run, false).await;
    let of = |name: &str| -> Vec<String> {
        let of = |event: &&String| event.starts_with(name);
        all.iter().filter(of).cloned().collect()
    };
    let epoch = bed.begin(run).await;
    bed.add(run, epoch, &[request("y").query("else"), request("z")])
        .await;
    assert_eq!(
        bed.events(run, true).await,
        [of("x"), of("z")].concat(),
        "`x` may still come"
    );
    bed.end(run, epoch, 2).await;
    assert_eq!(bed.events(run, true).await, of("z"));
    assert_eq!(bed.events(run, false).await, all);
    let epoch = bed.begin(run).await;
    assert_eq!(bed.events(run, true).await, of("z"), "nobody knows yet");
    bed.end(run, epoch, 0).await;
    assert!(bed.events(run, true).await.is_empty());
    bed.read(run, &input).await;
    assert_eq!(bed.events(run, true).await, all);
}

pub(crate) async fn only_failures_are_told_of_what_has_no_tasks(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(
        run,
        &[batch("x"), bad("{"), request("y"), request("y"), batch("z")],
    )
    .await;
    let queues = bed.claim(run, 9).await;
    bed.done(&queues[0]).await;
    bed.done(&queues[1]).await;
    bed.fail(&queues[2], Class::Server).await;
    let expected = [
        "-/0 failed - bad_request",
        "-/0 failed",
        "-/0 failed - bad_request",
        "-/0 failed",
        "y/1 planned answer",
        "y/1 task001[answer1]",
        "y/1 completed",
    ];
    assert_eq!(bed.events(run, true).await, expected);
    bed.read(run, &[batch("x"), bad("{"), request("y")]).await;
    assert_eq!(bed.events(run, true).await.len(), 5, "a bad line is told once");
}

/// What is told of these queues by then.
async fn of(bed: &Bed, run: RunId, queues: &[i64], up_to: i64) -> Vec<String> {
    let page = bed.store().events_of(run, queues.to_vec(), up_to).await;
    page.expect("reads").rows.iter().map(tell).collect()
}

pub(crate) async fn single_queues_are_told_of(bed: &mut Bed) {
    let (run, other) = (bed.run("a").await, bed.run("b").await);
    bed.read(run, &[request("x").tasks(2), request("y")]).await;
    let queues = bed.claim(run, 9).await;
    let [x, y] = [queues[0].lease.queue_id, queues[1].lease.queue_id];
    bed.done(&queues[0]).await;
    bed.done(&queues[1]).await;
    let until = bed.store().find_run(Some("a")).await.expect("reads");
    let until = until.expect("it is there").events;
    bed.settle(completed(queues[0].lease, 1, 1)).await;
    let first = ["x/2 planned answer,answer", "x/2 task001[answer1]"];
    let second = ["y/1 planned answer", "y/1 task001[answer1]", "y/1 completed"];
    let last = ["x/2 task002[answer2]", "x/2 completed"];
    assert_eq!(of(bed, run, &[y, x], until).await, [&second[..], &first].concat());
    assert_eq!(of(bed, run, &[x], i64::MAX).await, [first, last].concat());
    assert!(of(bed, run, &[x], 0).await.is_empty());
    assert!(of(bed, other, &[x, y], i64::MAX).await.is_empty());
}
