//! The ledger as an estimate reads it.

use nova3::domain::failure::Class;
use nova3::domain::task::TaskNo;
use nova3::domain::usage::TextSizes;
use nova3::store::{RecentCall, Settlement, Then};

use crate::store::harness::{Harness, attempt, items, making, planned, request};

async fn calls(harness: &Harness, limit: usize) -> Vec<RecentCall> {
    harness.store().recent_calls(limit).await.expect("reads")
}

/// A call in short form: its task, its action, whether it was used, and its prompt's size.
fn show(call: &RecentCall) -> String {
    let size = call
        .sizes
        .prompt
        .map_or_else(|| "-".to_owned(), |size| size.to_string());
    format!("{} {} {} {size}", call.task, call.action, call.used)
}

pub(crate) async fn the_newest_calls_come_first_with_their_tasks(harness: &mut Harness) {
    assert_eq!(calls(harness, 10).await, []);
    let run = harness.run("a").await;
    harness.read(run, &[request("x"), request("y").unplanned()]).await;
    let mut queues = harness.claim(run, 2).await;
    let y = queues.pop().expect("two");
    let x = queues.pop().expect("two");
    let mut sized = making(100);
    sized.sizes = TextSizes {
        prompt: Some(70),
        result: Some(30),
    };
    let attempts = vec![attempt(Some(Class::Schema), 10), attempt(None, 100)];
    let settlement = Settlement::completed(x.lease, 0, items(1), Then::GoOn, sized, attempts);
    harness.settle(settlement).await;
    let plan = harness
        .store()
        .settle_plan(planned(y.lease, &["answer", "answer"]))
        .await;
    plan.expect("settles");

    let found = calls(harness, 10).await;
    let shown: Vec<String> = found.iter().map(show).collect();
    assert_eq!(
        shown,
        [
            "plan supervisor true -",
            "task001 answer true 70",
            "task001 answer false 70"
        ]
    );
    assert_eq!(found[0].tasks, Some(2), "the number of planned tasks");
    let call = &found[1];
    assert_eq!((call.task, call.queue_id), (TaskNo::planned(0), x.lease.queue_id));
    assert_eq!(
        (call.route.as_str(), call.model.as_str(), call.duration_ms),
        ("primary", "m", 20)
    );
    assert_eq!(
        (call.usage, call.sizes.result),
        (attempt(None, 0).usage, Some(30))
    );
    let newest = calls(harness, 1).await;
    assert_eq!(newest.len(), 1, "no more than asked for");
}
