//! The ledger as estimates and reports read it.

use nova3::domain::failure::Class;
use nova3::domain::outcome::CallEnd;
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

pub(crate) async fn a_page_of_calls_has_whole_requests_in_their_order(harness: &mut Harness) {
    let run = harness.run("a").await;
    let empty = harness.store().calls(run, 0, 10).await.expect("reads");
    assert_eq!((empty.rows, empty.after), (vec![], None));
    harness
        .read(run, &[request("x"), request("y").unplanned(), request("z")])
        .await;
    let queues = harness.claim(run, 3).await;
    let (x, y, z) = (queues[0].lease, queues[1].lease, queues[2].lease);
    let attempts = vec![attempt(Some(Class::Schema), 10), attempt(None, 100)];
    let settlement = Settlement::completed(x, 0, items(1), Then::GoOn, making(100), attempts);
    harness.settle(settlement).await;
    let plan = harness.store().settle_plan(planned(y, &["answer"])).await;
    plan.expect("settles");
    // Another run's calls do not belong to it.
    let other = harness.run("b").await;
    harness.read(other, &[request("x")]).await;
    let of_other = harness.claim(other, 1).await.remove(0);
    harness.done(&of_other).await;

    let first = harness.store().calls(run, 0, 1).await.expect("reads");
    let ends: Vec<_> = first
        .rows
        .iter()
        .map(|call| {
            (
                call.attempt.end,
                call.attempt.used,
                call.attempt.cost.map(|cost| cost.0),
            )
        })
        .collect();
    assert_eq!(
        ends,
        [
            (CallEnd::Failed(Class::Schema), false, Some(10)),
            (CallEnd::Answered, true, Some(100))
        ]
    );
    assert_eq!(first.after, Some(x.queue_id));
    let call = &first.rows[1];
    assert_eq!(
        (call.queue_id, call.task, call.version, call.action.as_str()),
        (x.queue_id, TaskNo::planned(0), 1, "answer")
    );
    assert_eq!(
        call.attempt,
        nova3::domain::outcome::Attempt {
            used: true,
            ..attempt(None, 100)
        }
    );

    let rest = harness.store().calls(run, x.queue_id, 10).await.expect("reads");
    let actions: Vec<&str> = rest.rows.iter().map(|call| call.action.as_str()).collect();
    assert_eq!(actions, ["supervisor"], "the third request has no call yet");
    assert_eq!(
        rest.after,
        Some(z.queue_id),
        "its page ends behind it all the same"
    );
    let end = harness.store().calls(run, z.queue_id, 10).await.expect("reads");
    assert_eq!((end.rows, end.after), (vec![], None));
}
