//! Queues that continue behind a failed task and end as `partial`.

use nova3::domain::conditions::OnFailure;
use nova3::domain::failure::{Class, Failure};
use nova3::domain::state::Status;
use nova3::store::{Failures, Settled, Settlement, Then};

use crate::store::harness::{Harness, bad, completed, failed, items, making, request};

fn goes_on(settlement: Settlement) -> Settlement {
    settlement.on_failure(OnFailure::Continue)
}

pub(crate) async fn a_queue_goes_on_behind_a_failed_task(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness
        .read(run, &[request("x").tasks(3), request("y").tasks(2)])
        .await;
    let queues = harness.claim(run, 9).await;
    let (x, y) = (queues[0].lease, queues[1].lease);
    assert_eq!(
        harness.settle(goes_on(failed(x, 0, Class::Server))).await,
        Settled::Stepped
    );
    assert_eq!(harness.settle(completed(x, 1, 1)).await, Settled::Stepped);
    let end = harness.settle(goes_on(failed(x, 2, Class::Timeout))).await;
    assert_eq!(end, Settled::Finished { ok: false });
    assert_eq!(
        harness.settle(goes_on(failed(y, 0, Class::Server))).await,
        Settled::Stepped
    );
    assert_eq!(
        harness.settle(goes_on(failed(y, 1, Class::Server))).await,
        Settled::Finished { ok: false },
        "nothing of it is good"
    );
    assert_eq!(
        harness.names(run).await,
        [
            "x@0 partial failed[] completed[answer1] failed[]",
            "y@1 failed failed[] failed[]"
        ]
    );
    let row = harness.finished(run).await.remove(0);
    let failure = row.failure.expect("the first one");
    assert_eq!((failure.class, row.status), (Class::Server, Status::Partial));
    let counts = harness.store().counts(run).await.expect("counts");
    assert_eq!(
        (counts.total, counts.done, counts.partial, counts.failed),
        (2, 1, 1, 1)
    );
    let told = [
        "x/3 planned answer,answer,answer",
        "x/3 failed task001 server",
        "x/3 task002[answer1]",
        "x/3 failed task003 timeout",
        "x/3 partial",
        "y/2 planned answer,answer",
        "y/2 failed task001 server",
        "y/2 failed task002 server",
        "y/2 failed",
    ];
    assert_eq!(harness.events(run, true).await, told);
}

pub(crate) async fn a_retry_of_what_ended_in_part_asks_only_what_failed(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").session("s").tasks(3)]).await;
    let x = harness.claim_one(run).await.lease;
    harness.settle(completed(x, 0, 1)).await;
    harness.settle(goes_on(failed(x, 1, Class::Server))).await;
    harness.settle(completed(x, 2, 1)).await;
    assert_eq!(
        harness.names(run).await,
        ["x@0 partial completed[answer1] failed[] completed[answer2]"]
    );
    let only = |class| Failures {
        classes: vec![class],
        ids: vec![],
    };
    let retry = async |class| harness.store().retry(run, &only(class)).await.expect("retries");
    assert_eq!(retry(Class::Timeout).await, 0);
    assert_eq!(retry(Class::Server).await, 1);
    let again = harness.claim_one(run).await;
    assert_eq!(again.current_task, 1);
    assert_eq!(harness.done(&again).await, Settled::Finished { ok: true });
    assert_eq!(
        harness.names(run).await,
        ["x@0 completed completed[answer1] completed[answer3] completed[answer2]"]
    );
}

pub(crate) async fn a_join_without_a_part_ends_its_queue_in_part(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x")]).await;
    let x = harness.claim_one(run).await.lease;
    let flaw = Failure::new(Class::Server, "a part failed");
    let joined = Settlement::completed(x, 0, items(1), Then::GoOn, making(0), vec![]);
    assert_eq!(
        harness.settle(joined.in_part(flaw)).await,
        Settled::Finished { ok: false }
    );
    assert_eq!(harness.names(run).await, ["x@0 partial completed[answer1]"]);
    let row = harness.finished(run).await.remove(0);
    assert_eq!(
        row.failure.map(|failure| failure.message).as_deref(),
        Some("a part failed")
    );
}

pub(crate) async fn failures_are_counted_by_class_with_the_first_as_an_example(harness: &mut Harness) {
    let run = harness.run("a").await;
    let none = harness.store().failed_classes(run).await.expect("failures");
    assert_eq!(none, Vec::new());
    let input = [
        request("good"),
        request("slow"),
        request("part").tasks(2),
        request("slower"),
        bad("{"),
    ];
    harness.read(run, &input).await;
    let queues = harness.claim(run, 9).await;
    harness.done(&queues[0]).await;
    harness.fail(&queues[1], Class::Timeout).await;
    let part = queues[2].lease;
    harness.settle(goes_on(failed(part, 0, Class::Server))).await;
    harness.settle(completed(part, 1, 1)).await;
    harness.fail(&queues[3], Class::Timeout).await;
    let classes = async || {
        let found = harness.store().failed_classes(run).await.expect("failures");
        let shown = found.iter().map(|failed| {
            let name = failed.custom_id.as_deref().unwrap_or("-");
            let line = failed
                .line
                .map_or_else(String::new, |line| format!(" line {line}"));
            assert!(!failed.message.is_empty(), "{failed:?}");
            format!("{} {} {name}{line}", failed.requests, failed.class.as_str())
        });
        let mut shown: Vec<String> = shown.collect();
        // Classes with equally many requests follow in the order of their first one, which the engines number differently.
        shown[1..].sort();
        shown
    };
    assert_eq!(
        classes().await,
        ["2 timeout slow", "1 bad_request - line 9", "1 server part"]
    );
    harness.read(run, &[request("good"), request("slower")]).await;
    let left = harness.store().failed_classes(run).await.expect("failures");
    assert_eq!(left.len(), 1, "removed lines do not count: {left:?}");
    assert_eq!(
        (left[0].requests, left[0].custom_id.as_deref()),
        (1, Some("slower"))
    );
}
