//! Taking a run away.

use nova3::store::Settled;

use crate::fleet::harness::{Sql, claim, leases, workers, wrongs};
use crate::store::harness::{Harness, request};

/// What the database says to dropping that run; empty if it is gone.
async fn drop_run(url: &str, name: &str) -> String {
    let mut connection = crate::store::harness::database(url)
        .connect()
        .await
        .expect("connects");
    let dropped = connection
        .batch(&format!("SELECT nova3_drop_run('{name}')"))
        .await;
    dropped.err().map(|fault| fault.reason).unwrap_or_default()
}

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
    let left = "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname ~ '_1$'";
    assert_eq!(sql.number(left).await, 0, "its partitions are gone");
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

    // Whoever still knows its number is told, and waits for nothing.
    assert_eq!(first.done(&queues[0]).await, Settled::LostLease);
    assert!(claim(&first, "p", run, 9).await.is_empty());
    assert!(second.store().has_unfinished(run).await.is_err());
    assert!(second.store().counts(run).await.is_err());
    assert!(second.store().begin_ingest(run).await.is_err());
}
