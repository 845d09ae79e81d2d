//! The event log: each settlement once, in the order of settling. Rows are only added.

use nova3::domain::failure::Class;
use nova3::store::{RunId, Settled, Then};

use crate::store::harness::{Harness, bad, batch, completed, planless, planned, request, tell};

pub(crate) async fn everything_settled_is_told_in_its_order(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness
        .read(
            run,
            &[request("x").plan(&["insight", "facts"]), request("y").unplanned()],
        )
        .await;
    assert!(harness.events(run, false).await.is_empty());
    let queues = harness.claim(run, 9).await;
    harness.make(&queues[0], 0, Then::GoOn).await;
    harness
        .settle_plan(planned(queues[1].lease, &["insight", "answer"]))
        .await;
    harness.settle(completed(queues[1].lease, 0, 2)).await;
    harness.make(&queues[0], 1, Then::GoOn).await;
    harness.settle(completed(queues[1].lease, 1, 0)).await;
    assert_eq!(
        harness.settle(completed(queues[1].lease, 1, 1)).await,
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
    assert_eq!(harness.events(run, false).await, expected);
    harness.crash().await;
    assert_eq!(harness.events(run, true).await, expected);
    let other = harness.run("b").await;
    assert!(harness.events(other, false).await.is_empty());
}

pub(crate) async fn a_plan_is_told_once(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness
        .read(run, &[request("x").tasks(2), request("y").unplanned()])
        .await;
    let queues = harness.claim(run, 9).await;
    harness.fail(&queues[0], Class::Server).await;
    harness
        .settle_plan(planless(queues[1].lease, Class::Schema))
        .await;
    let before = harness.events(run, false).await;
    harness.retry(run).await;
    let queues = harness.claim(run, 9).await;
    harness.settle_plan(planned(queues[1].lease, &["insight"])).await;
    harness.done(&queues[1]).await;
    harness
        .store()
        .release(vec![nova3::store::ReleasedLease::untouched(queues[0].lease)])
        .await
        .expect("releases");
    harness.crash().await;
    harness.drain(run).await;
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
    let after = harness.events(run, false).await;
    assert_eq!(after, expected);
    assert_eq!(before, expected[..before.len()], "what was told stays told");
}

pub(crate) async fn pauses_and_what_goes_on_are_told(harness: &mut Harness) {
    let run = harness.run("a").await;
    let p = request("p").session("s").plan(&["insight", "profile", "facts"]);
    let c = request("c").session("s").unplanned();
    let line = request("x").tasks(2);
    harness
        .read(run, &[p.clone().each(), c.clone(), line.clone().each()])
        .await;
    for queue in harness.claim(run, 9).await {
        harness.pause(&queue).await;
    }
    harness.read(run, &[p.each(), c, line]).await;
    for queue in harness.claim(run, 9).await {
        if queue.planned {
            harness.done(&queue).await;
        } else {
            harness.take_over(&queue).await;
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
    let told = harness.events(run, false).await;
    assert_eq!(told[..6], expected[..6]);
    expected.sort_unstable();
    let mut told = told;
    told.sort_unstable();
    assert_eq!(told, expected);
}

pub(crate) async fn what_is_no_longer_true_is_not_present(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [request("x"), request("y").tasks(2), request("z")];
    harness.read(run, &input).await;
    for queue in harness.claim(run, 9).await {
        harness.done(&queue).await;
    }
    let all = harness.events(run, false).await;
    let of = |name: &str| -> Vec<String> {
        let of = |event: &&String| event.starts_with(name);
        all.iter().filter(of).cloned().collect()
    };
    let epoch = harness.begin(run).await;
    harness
        .add(run, epoch, &[request("y").query("else"), request("z")])
        .await;
    assert_eq!(
        harness.events(run, true).await,
        [of("x"), of("z")].concat(),
        "`x` may still come"
    );
    harness.end(run, epoch, 2).await;
    assert_eq!(harness.events(run, true).await, of("z"));
    assert_eq!(harness.events(run, false).await, all);
    let epoch = harness.begin(run).await;
    assert_eq!(harness.events(run, true).await, of("z"), "still unknown");
    harness.end(run, epoch, 0).await;
    assert!(harness.events(run, true).await.is_empty());
    harness.read(run, &input).await;
    assert_eq!(harness.events(run, true).await, all);
}

pub(crate) async fn only_failures_are_told_of_what_has_no_tasks(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness
        .read(
            run,
            &[batch("x"), bad("{"), request("y"), request("y"), batch("z")],
        )
        .await;
    let queues = harness.claim(run, 9).await;
    harness.done(&queues[0]).await;
    harness.done(&queues[1]).await;
    harness.fail(&queues[2], Class::Server).await;
    let expected = [
        "-/0 failed - bad_request",
        "-/0 failed",
        "-/0 failed - bad_request",
        "-/0 failed",
        "y/1 planned answer",
        "y/1 task001[answer1]",
        "y/1 completed",
    ];
    assert_eq!(harness.events(run, true).await, expected);
    harness.read(run, &[batch("x"), bad("{"), request("y")]).await;
    assert_eq!(
        harness.events(run, true).await.len(),
        5,
        "a bad line is told once"
    );
}

/// Returns the events of these queues up to that number.
async fn of(harness: &Harness, run: RunId, queues: &[i64], up_to: i64) -> Vec<String> {
    let page = harness.store().events_of(run, queues.to_vec(), up_to).await;
    page.expect("reads").rows.iter().map(tell).collect()
}

pub(crate) async fn single_queues_are_told_of(harness: &mut Harness) {
    let (run, other) = (harness.run("a").await, harness.run("b").await);
    harness.read(run, &[request("x").tasks(2), request("y")]).await;
    let queues = harness.claim(run, 9).await;
    let [x, y] = [queues[0].lease.queue_id, queues[1].lease.queue_id];
    harness.done(&queues[0]).await;
    harness.done(&queues[1]).await;
    let until = harness.store().find_run(Some("a")).await.expect("reads");
    let until = until.expect("it is there").events;
    harness.settle(completed(queues[0].lease, 1, 1)).await;
    let first = ["x/2 planned answer,answer", "x/2 task001[answer1]"];
    let second = ["y/1 planned answer", "y/1 task001[answer1]", "y/1 completed"];
    let last = ["x/2 task002[answer2]", "x/2 completed"];
    assert_eq!(
        of(harness, run, &[y, x], until).await,
        [&second[..], &first].concat()
    );
    assert_eq!(of(harness, run, &[x], i64::MAX).await, [first, last].concat());
    assert!(of(harness, run, &[x], 0).await.is_empty());
    assert!(of(harness, other, &[x, y], i64::MAX).await.is_empty());
}
