//! Dropping a run.

use nova3::store::Settled;

use crate::fleet::harness::{Lock, Sql, claim, leases, workers, wrongs};
use crate::store::harness::{Harness, request};

/// Drops the run and returns the database's error. Empty if the run is gone with all its rows.
async fn drop_run(url: &str, name: &str) -> String {
    loop {
        match drop_some(url, name, 1).await {
            Ok(true) => {}
            Ok(false) => return String::new(),
            Err(refused) => return refused,
        }
    }
}

/// Does one step of dropping. Returns whether rows of the run are left.
async fn drop_some(url: &str, name: &str, queues: usize) -> Result<bool, String> {
    let mut connection = crate::store::harness::database(url)
        .connect()
        .await
        .expect("connects");
    let sql = format!("SELECT nova3_drop_run('{name}', {queues})");
    let dropped = connection.row(&sql, &[]).await;
    dropped.map(|row| row.get(0)).map_err(|fault| fault.reason)
}

/// How many rows of the first run are left, including its row in `nova3_dropped`.
const LEFT: &str = "SELECT (SELECT count(*) FROM nova3_queues WHERE run_id = 1)
    + (SELECT count(*) FROM nova3_requests WHERE run_id = 1) + (SELECT count(*) FROM nova3_tasks WHERE run_id = 1)
    + (SELECT count(*) FROM nova3_plans WHERE run_id = 1) + (SELECT count(*) FROM nova3_attempts WHERE run_id = 1)
    + (SELECT count(*) FROM nova3_events WHERE run_id = 1) + (SELECT count(*) FROM nova3_rounds WHERE queue_id >> 36 = 1)
    + (SELECT count(*) FROM nova3_session_leases WHERE queue_id >> 36 = 1) + (SELECT count(*) FROM nova3_dropped)";

async fn work(harness: &Harness, name: &str) -> nova3::store::RunId {
    let run = harness.run(name).await;
    let input = [
        request("x").session("s"),
        request("y"),
        request("z").session(name),
    ];
    harness.read(run, &input).await;
    run
}

#[tokio::test]
async fn a_dropped_run_takes_nothing_else_along() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let gone = work(&first, "gone").await;
    first.drain(gone).await;
    let kept = work(&first, "kept").await;
    first.drain(kept).await;
    assert_eq!(drop_run(&url, "gone").await, "");
    assert_eq!(sql.number(LEFT).await, 0);
    assert!(
        second
            .store()
            .find_run(Some("gone"))
            .await
            .expect("reads")
            .is_none()
    );
    assert_eq!(second.finished(kept).await.len(), 3);
    assert_eq!(sql.number("SELECT count(*) FROM nova3_items").await, 4);
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());

    let again = work(&second, "gone").await;
    assert_ne!(again, gone);
    second.drain(again).await;
    let x = second.finished(again).await.remove(0);
    assert!(
        crate::store::harness::show(&x).contains("answer3"),
        "numbers go on where they were"
    );
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_run_is_not_dropped_while_somebody_works_on_it() {
    let (url, [first, second]) = workers::<2>().await;
    let run = work(&first, "a").await;
    let queues = claim(&first, "p", run, 1).await;
    let refused = drop_run(&url, "a").await;
    assert!(refused.contains("is being worked on"), "{refused}");
    assert_eq!(first.done(&queues[0]).await, Settled::Finished { ok: true });
    let queues = claim(&first, "dead", run, 1).await;
    Sql::at(&url).await.expire(&leases(&queues)).await;
    assert_eq!(drop_run(&url, "a").await, "");
    assert!(drop_run(&url, "a").await.contains("there is no run"));

    // A process that still uses the run's number gets an answer and does not wait.
    assert_eq!(first.done(&queues[0]).await, Settled::LostLease);
    assert!(claim(&first, "p", run, 9).await.is_empty());
    assert!(second.store().has_unfinished(run).await.is_err());
    assert!(second.store().counts(run).await.is_err());
    assert!(second.store().begin_ingest(run).await.is_err());
}

#[tokio::test]
async fn a_run_is_gone_with_the_first_step_and_its_rows_with_the_last() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let run = work(&first, "gone").await;
    first.pause(&claim(&first, "p", run, 1).await[0]).await;
    let dead = claim(&first, "dead", run, 1).await.remove(0);
    sql.expire(&[dead.lease]).await;
    let all = sql.number(LEFT).await;
    assert_eq!(drop_some(&url, "gone", 1).await, Ok(true));

    let store = second.store();
    assert!(store.find_run(Some("gone")).await.expect("reads").is_none());
    assert!(store.counts(run).await.is_err());
    assert!(claim(&second, "p", run, 9).await.is_empty());
    assert_eq!(first.done(&dead).await, Settled::LostLease);
    assert!(second.retry(run).await == 0 && store.begin_ingest(run).await.is_err());
    assert_eq!(store.list_sessions(9).await.expect("reads")[0].rounds, 0);
    // A new run of that name is another run, also during the remaining steps.
    let again = work(&second, "gone").await;
    assert_ne!(again, run);
    let left = sql.number(LEFT).await;
    assert!(0 < left && left < all, "{left} of {all} rows");
    let mut steps = 0;
    while drop_some(&url, "gone", 1).await.expect("goes on") {
        steps += 1;
        assert!(steps < 9, "it comes to an end");
    }
    assert_eq!(sql.number(LEFT).await, 0);
    assert_eq!(second.drain(again).await.len(), 3);
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
}

#[tokio::test]
async fn dropping_waits_for_nobody_of_another_run() {
    let (url, [first, second]) = workers::<2>().await;
    let gone = work(&first, "gone").await;
    first.drain(gone).await;
    let kept = work(&second, "kept").await;
    let mut hold = Lock::of(
        &url,
        &format!("SELECT 1 FROM nova3_queues WHERE run_id = {} FOR UPDATE", kept.0),
    )
    .await;
    assert_eq!(drop_run(&url, "gone").await, "");
    assert_eq!(hold.waiting().await, 0);
    let mut dropping = Lock::of(&url, "SELECT 1").await;
    hold.commit().await;
    let again = work(&first, "again").await;
    first.drain(again).await;
    dropping.and("SELECT nova3_drop_run('again', 2)").await;
    assert_eq!(second.drain(kept).await.len(), 3);
    assert_eq!(dropping.waiting().await, 0);
    dropping.commit().await;
}
