//! Failed requests that are retried.

use std::time::Duration;

use nova3::domain::failure::{Class, Failure};
use nova3::domain::outcome::Product;
use nova3::domain::usage::Cost;
use nova3::store::sqlite::SqliteStore;
use nova3::store::{Changes, Claimable, Failures, Ingest, Leases, Runs, Settlement, Tasks};
use serde_json::value::RawValue;

use crate::store::harness::{self, Harness, bad, batch, completed, failed, ids, request};

pub(crate) async fn by_class_and_by_id(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness
        .read(run, &[request("x"), request("y"), request("z"), request("done")])
        .await;
    let queues = harness.claim(run, 9).await;
    for (queue, class) in queues.iter().zip([Class::Server, Class::Timeout, Class::Server]) {
        harness.fail(queue, class).await;
    }
    harness.done(&queues[3]).await;
    let retry = async |classes: &[Class], names: &[&str]| {
        let which = Failures {
            classes: classes.to_vec(),
            ids: names.iter().map(|id| (*id).to_owned()).collect(),
        };
        let count = harness.store().retry(run, &which).await.expect("retries");
        let queues = harness.claim(run, 9).await;
        assert_eq!(queues.len() as u64, count);
        for queue in &queues {
            let class = if ids(std::slice::from_ref(queue)) == ["y"] {
                Class::Timeout
            } else {
                Class::Server
            };
            harness.fail(queue, class).await;
        }
        ids(&queues)
    };
    assert!(retry(&[Class::Schema], &[]).await.is_empty());
    assert_eq!(retry(&[Class::Server], &[]).await, ["x", "z"]);
    assert_eq!(
        retry(&[Class::Server, Class::Timeout], &[]).await,
        ["x", "y", "z"]
    );
    assert_eq!(retry(&[], &["z", "done", "unknown"]).await, ["z"]);
    assert!(retry(&[Class::Timeout], &["z"]).await.is_empty());
    let epoch = harness.lines_epoch(run).await;
    assert_eq!(retry(&[], &[]).await, ["x", "y", "z"]);
    assert!(harness.lines_epoch(run).await > epoch);
    assert_eq!(harness.finished(run).await.len(), 4, "each once");
}

pub(crate) async fn bad_lines_are_not_retried(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[bad("{"), request("x"), request("x")]).await;
    let epoch = harness.lines_epoch(run).await;
    assert_eq!(harness.retry(run).await, 0);
    assert_eq!(harness.lines_epoch(run).await, epoch);
    assert_eq!(harness.names(run).await, ["-@0 failed", "-@2 failed"]);
    harness.fail(&harness.claim_one(run).await, Class::Server).await;
    harness.read(run, &[bad("{")]).await;
    assert_eq!(harness.retry(run).await, 0, "a removed line is not retried");
}

pub(crate) async fn what_a_failure_cost_is_waste_of_the_next(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x")]).await;
    for _ in 0..2 {
        let queue = harness.claim_one(run).await;
        harness.fail(&queue, Class::Server).await;
        assert_eq!(harness.retry(run).await, 1);
        assert!(harness.finished(run).await.is_empty());
        harness.crash().await;
    }
    harness.drain(run).await;
    let row = harness.finished(run).await.remove(0);
    let making = row.tasks[0].making.as_ref().expect("it was made");
    assert_eq!(
        (making.attempts, making.cost, making.wasted),
        (3, Some(Cost(100)), Cost(80))
    );
    assert_eq!(row.failure, None);
    let summary = harness.store().summary(run).await.expect("reads");
    assert_eq!((summary.cost, summary.wasted), (Cost(180), Cost(80)));
}

pub(crate) async fn completed_tasks_are_not_done_again(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").tasks(3)]).await;
    let queue = harness.claim_one(run).await;
    harness.settle(completed(queue.lease, 0, 1)).await;
    harness.settle(failed(queue.lease, 1, Class::Server)).await;
    harness.retry(run).await;
    assert_eq!(
        harness
            .claim(run, 9)
            .await
            .iter()
            .map(|queue| queue.current_task)
            .collect::<Vec<_>>(),
        [1]
    );
    if harness.crash().await {
        harness.drain(run).await;
        assert_eq!(
            harness.names(run).await,
            ["x@0 completed completed[answer1] completed[answer2] completed[answer3]"]
        );
    }
}

pub(crate) async fn a_retried_request_takes_its_place_again(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [
        request("x").session("s"),
        request("y").session("s"),
        request("z").session("s"),
    ];
    harness.read(run, &input).await;
    harness.fail(&harness.claim_one(run).await, Class::Server).await;
    assert_eq!(harness.retry(run).await, 1);
    let x = harness.claim_one(run).await;
    assert_eq!(
        ids(std::slice::from_ref(&x)),
        ["x"],
        "`y` was ready and steps back"
    );
    harness.fail(&x, Class::Server).await;
    let y = harness.claim_one(run).await;
    assert_eq!(harness.retry(run).await, 1);
    assert!(
        harness.claim(run, 9).await.is_empty(),
        "`y` is at work and stays so"
    );
    harness.done(&y).await;
    assert_eq!(harness.drain(run).await, ["x", "z"]);
}

#[test]
fn a_retry_overwrites_no_outcome() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nova3.db");
    let store = SqliteStore::open(&path, Duration::ZERO, "a test").expect("opens");
    harness::block_on(async {
        let run = store.open_run(&harness::opening("a")).await.expect("opens").id;
        let epoch = store.begin_ingest(run).await.expect("begins");
        let lines = harness::lines(&[batch("x")]);
        store
            .add(run, epoch, lines, Changes::Replace)
            .await
            .expect("adds");
        store
            .end_ingest(run, epoch, &harness::mark(1))
            .await
            .expect("ends");
        for outcome in ["first", "second"] {
            let claims = store.claim(run, &harness::owner(), Claimable::All, 1, 1000).await;
            let lease = claims.expect("claims").queues[0].lease;
            let raw = RawValue::from_string(format!("{{\"body\":\"{outcome}\"}}")).expect("it is JSON");
            let failure = Failure::new(Class::Server, outcome);
            let calls = vec![harness::attempt(Some(Class::Server), 1)];
            let response = Some(Product::Response(raw));
            let failed = Settlement::failed(lease, 0, failure, response, harness::making(0), calls);
            store.settle(failed).await.expect("settles");
            store.retry(run, &Failures::default()).await.expect("retries");
        }
    });
    drop(store);
    let store = rusqlite::Connection::open(&path).expect("opens");
    let rows = |sql: &str| -> Vec<String> {
        let mut query = store.prepare(sql).expect("it fits the schema");
        let rows = query.query_map([], |row| row.get(0)).expect("reads");
        rows.collect::<Result<_, _>>().expect("reads")
    };
    assert_eq!(
        rows("SELECT version || ' ' || result FROM nova3_task_versions ORDER BY version"),
        ["1 {\"body\":\"first\"}", "2 {\"body\":\"second\"}"]
    );
    assert_eq!(rows("SELECT version || '' FROM nova3_tasks"), ["3"]);
    assert_eq!(
        rows("SELECT version || '' FROM nova3_attempts ORDER BY attempt_id"),
        ["1", "2"]
    );
}
