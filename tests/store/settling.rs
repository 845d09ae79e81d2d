//! A task is settled once, under a valid lease.

use nova3::domain::failure::{Class, Failure};
use nova3::domain::outcome::{Product, TaskRecord};
use nova3::domain::tally::RunSummary;
use nova3::domain::usage::{Cost, Usage};
use nova3::store::{Settled, Settlement, Then};
use serde_json::value::RawValue;

use crate::store::harness::{Harness, attempt, completed, failed, items, making, request};

pub(crate) async fn steps_lead_to_the_end(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").tasks(3)]).await;
    let queue = harness.claim_one(run).await;
    assert_eq!(
        harness.settle(completed(queue.lease, 0, 2)).await,
        Settled::Stepped
    );
    assert_eq!(
        harness.settle(completed(queue.lease, 1, 0)).await,
        Settled::Stepped
    );
    assert!(
        harness.finished(run).await.is_empty(),
        "unfinished results are not shown"
    );
    assert!(harness.store().has_unfinished(run).await.expect("reads"));
    assert_eq!(
        harness.settle(completed(queue.lease, 2, 1)).await,
        Settled::Finished { ok: true }
    );
    assert_eq!(
        harness.names(run).await,
        ["x@0 completed completed[answer1,answer2] completed[] completed[answer3]"]
    );
    assert!(!harness.store().has_unfinished(run).await.expect("reads"));
    let row = harness.finished(run).await.remove(0);
    assert_eq!(
        (row.user_id.as_str(), row.session_id, row.failure),
        ("default", None, None)
    );
    assert!(row.completed_at >= row.created_at);
    let TaskRecord { making, result, .. } = &row.tasks[0];
    assert_eq!(making.as_ref().map(|making| making.cost), Some(Some(Cost(100))));
    let expected = r#"[{"id":"answer1","content":"好"},{"id":"answer2","content":"好"}]"#;
    assert_eq!(result.as_deref().map(RawValue::get), Some(expected));
}

pub(crate) async fn a_failed_task_skips_the_later_ones(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").tasks(4)]).await;
    let queue = harness.claim_one(run).await;
    harness.settle(completed(queue.lease, 0, 1)).await;
    assert_eq!(
        harness.settle(failed(queue.lease, 1, Class::Schema)).await,
        Settled::Finished { ok: false }
    );
    assert_eq!(
        harness.names(run).await,
        ["x@0 failed completed[answer1] failed[] skipped[] skipped[]"]
    );
    let row = harness.finished(run).await.remove(0);
    assert_eq!(row.failure, Some(Failure::new(Class::Schema, "it did not work")));
    assert!(harness.claim(run, 9).await.is_empty(), "failed is final");
}

pub(crate) async fn a_batch_error_keeps_its_response(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x")]).await;
    let queue = harness.claim_one(run).await;
    let text = r#"{"status_code":400,"request_id":"r","body":{"error":1}}"#;
    let response = Product::Response(RawValue::from_string(text.to_owned()).expect("it is JSON"));
    let failure = Failure::new(Class::BadRequest, "no");
    let settlement = Settlement::failed(queue.lease, 0, failure, Some(response), making(0), vec![]);
    assert_eq!(harness.settle(settlement).await, Settled::Finished { ok: false });
    let row = harness.finished(run).await.remove(0);
    assert_eq!(row.tasks[0].result.as_deref().map(RawValue::get), Some(text));
}

pub(crate) async fn a_stale_lease_settles_nothing_but_its_bill(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x")]).await;
    let stale = harness.claim_one(run).await;
    harness
        .store()
        .release(vec![nova3::store::ReleasedLease::untouched(stale.lease)])
        .await
        .expect("releases");
    assert_eq!(harness.done(&stale).await, Settled::LostLease);
    let fresh = harness.claim_one(run).await;
    assert_eq!(harness.done(&stale).await, Settled::LostLease);
    assert_eq!(harness.fail(&stale, Class::Server).await, Settled::LostLease);
    assert!(harness.finished(run).await.is_empty());
    assert_eq!(harness.done(&fresh).await, Settled::Finished { ok: true });
    assert_eq!(harness.names(run).await, ["x@0 completed completed[answer1]"]);
    let summary = harness.store().summary(run).await.expect("reads");
    assert_eq!(
        (summary.attempts, summary.cost, summary.wasted),
        (4, Cost(340), Cost(240))
    );
}

pub(crate) async fn a_superseded_queue_settles_nothing_but_its_bill(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x")]).await;
    let old = harness.claim_one(run).await;
    harness.read(run, &[request("x").query("else")]).await;
    assert_eq!(harness.done(&old).await, Settled::LostLease);
    let summary = harness.store().summary(run).await.expect("reads");
    assert_eq!(
        (summary.cost, summary.wasted, summary.failed_attempts),
        (Cost(100), Cost(100), 0)
    );
    assert!(harness.finished(run).await.is_empty());
}

pub(crate) async fn a_task_is_settled_once(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").tasks(2)]).await;
    let queue = harness.claim_one(run).await;
    assert_eq!(
        harness.settle(completed(queue.lease, 1, 1)).await,
        Settled::LostLease,
        "not its turn"
    );
    assert_eq!(
        harness.settle(completed(queue.lease, 0, 1)).await,
        Settled::Stepped
    );
    assert_eq!(
        harness.settle(completed(queue.lease, 0, 1)).await,
        Settled::LostLease
    );
    assert_eq!(
        harness.settle(completed(queue.lease, 1, 1)).await,
        Settled::Finished { ok: true }
    );
    assert_eq!(
        harness.settle(failed(queue.lease, 1, Class::Server)).await,
        Settled::LostLease
    );
    assert_eq!(
        harness.names(run).await,
        ["x@0 completed completed[answer1] completed[answer2]"]
    );
    let elsewhere = nova3::store::Lease {
        queue_id: 999,
        fence: 1,
    };
    assert_eq!(
        harness.settle(completed(elsewhere, 0, 1)).await,
        Settled::LostLease
    );
}

pub(crate) async fn the_ledger_adds_up(harness: &mut Harness) {
    let run = harness.run("a").await;
    let other = harness.run("b").await;
    harness.read(run, &[request("x"), request("y")]).await;
    let queues = harness.claim(run, 2).await;
    let mut unpriced = attempt(Some(Class::Timeout), 0);
    unpriced.cost = None;
    // The answer that is used is not the last one.
    let attempts = vec![unpriced, attempt(None, 100), attempt(Some(Class::Schema), 7)];
    harness
        .settle(Settlement::completed(
            queues[0].lease,
            0,
            items(1),
            Then::GoOn,
            making(100),
            attempts,
        ))
        .await;
    harness.fail(&queues[1], Class::Server).await;
    let expected = RunSummary {
        attempts: 4,
        failed_attempts: 3,
        usage: Usage {
            input_tokens: 40,
            cached_input_tokens: 16,
            cache_write_tokens: 12,
            output_tokens: 8,
        },
        cost: Cost(147),
        wasted: Cost(47),
        unpriced: 1,
        ..RunSummary::default()
    };
    assert_eq!(harness.store().summary(run).await.expect("reads"), expected);
    assert_eq!(
        harness.store().summary(other).await.expect("reads"),
        RunSummary::default()
    );
    harness.crash().await;
    assert_eq!(harness.store().summary(run).await.expect("reads"), expected);
}
