//! The sizes of results bound pages and groups of settlements, and no result is read to learn its size.

use futures::future::join_all;
use nova3::domain::outcome::Product;
use nova3::store::{Order, Settlement, Then};
use serde_json::value::to_raw_value;

use crate::fleet::harness::{Sql, claim, until, workers};
use crate::fleet::server;
use crate::store::counting::finish_large;
use crate::store::harness::{Harness, attempt, batch, making};

/// Answers of a megabyte each. A page holds two of them.
const ANSWERS: usize = 16;

/// Blocks of stored results that were read so far by connections that have ended.
const READS: &str =
    "SELECT coalesce(sum(toast_blks_hit + toast_blks_read), 0)::bigint FROM pg_statio_user_tables";

const BLOCKS: &str =
    "SELECT sum(pg_relation_size(reltoastrelid) / current_setting('block_size')::bigint)::bigint
  FROM pg_class WHERE relname = 'nova3_tasks' AND reltoastrelid <> 0";

/// Waits until the store's connections have ended and their reads are counted.
async fn ended(sql: &mut Sql) {
    let others =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND backend_type = 'client backend'";
    until("the store's connections have ended", async || {
        sql.number(others).await == 0
    })
    .await;
}

#[tokio::test]
async fn a_page_reads_no_result_that_it_does_not_hold() {
    let url = server::fresh_database(server::shared());
    let mut sql = Sql::at(&url).await;
    let mut harness = Harness::at(&url).await;
    let run = harness.run("a").await;
    let queues = finish_large(&harness, run, ANSWERS).await;
    for part in ["finished", "input", "by id", "events", "events by id"] {
        drop(harness);
        ended(&mut sql).await;
        let before = sql.number(READS).await;
        harness = Harness::at(&url).await;
        let store = harness.store();
        match part {
            "finished" => drop(
                store
                    .finished(run, Order::Completion, None, 0, 512)
                    .await
                    .expect("reads"),
            ),
            "input" => drop(
                store
                    .finished(run, Order::Input, None, -1, 512)
                    .await
                    .expect("reads"),
            ),
            "by id" => drop(store.finished_by_id(run, queues.clone()).await.expect("reads")),
            "events" => drop(store.events(run, true, 0, 512).await.expect("reads")),
            _ => drop(store.events_of(run, queues.clone(), 99).await.expect("reads")),
        }
        drop(harness);
        ended(&mut sql).await;
        // Servers before version 15 count a little later.
        until("what was read is counted", async || {
            sql.number(READS).await > before
        })
        .await;
        let read = sql.number(READS).await - before;
        let all = sql.number(BLOCKS).await;
        assert!(read < all / 2, "{part}: {read} of {all} blocks");
        harness = Harness::at(&url).await;
    }
}

#[tokio::test]
async fn a_group_of_settlements_ends_once_it_holds_enough_bytes() {
    let (url, [harness]) = workers::<1>().await;
    let run = harness.run("a").await;
    let input: Vec<_> = (0..21).map(|n| batch(&format!("r{n}"))).collect();
    harness.read(run, &input).await;
    let queues = claim(&harness, "p", run, 99).await;
    let settle = async |place: usize, bytes: usize| {
        let product = Product::Response(to_raw_value(&"x".repeat(bytes)).expect("JSON"));
        let lease = queues[place].lease;
        let settlement =
            Settlement::completed(lease, 0, product, Then::GoOn, making(1), vec![attempt(None, 1)]);
        harness.store().settle(settlement).await.expect("settles");
    };
    // All of them wait before the first is in flight.
    join_all((0..21).map(|place| settle(place, if place == 0 { 1 } else { 1 << 20 }))).await;
    let mut sql = Sql::at(&url).await;
    let groups = sql.text("SELECT string_agg(n::text, ',') FROM (SELECT count(*) n FROM nova3_tasks GROUP BY xmin ORDER BY min(queue_id)) g");
    assert_eq!(groups.await, "9,8,4");
}
