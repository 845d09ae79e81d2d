//! The queries of the operations page and of the autoscaler, by a role with minimal rights.

use nova3::store::{Lease, RunId};

use crate::fleet::harness::{Sql, claim, workers};
use crate::store::harness::request;

const PAGE: &str = include_str!("../../docs/operations.md");
const SCALING: &str = include_str!("../../deploy/kubernetes/keda/worker-scale.yaml");

/// Returns the statement of the page below this comment.
fn asks(what: &str) -> &'static str {
    let block = PAGE
        .split_once("```sql\n")
        .and_then(|(_, rest)| rest.split_once("```"));
    let (block, _) = block.expect("the page has its block of SQL");
    let found = block.split_once(&format!("-- {what}\n"));
    let (_, rest) = found.unwrap_or_else(|| panic!("the page does not ask for `{what}`"));
    rest.split_once(';').expect("a statement ends").0
}

/// Returns the query of the autoscaler.
fn scales() -> String {
    let (_, rest) = SCALING.split_once("query: |\n").expect("it has a query");
    let indent = rest.len() - rest.trim_start_matches(' ').len();
    let lines = rest
        .lines()
        .take_while(|line| line.len() > indent && line.starts_with(&" ".repeat(indent)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A session of a role that has the rights which the page grants.
async fn watcher(url: &str) -> Sql {
    let (_, grant) = PAGE.split_once("`GRANT ").expect("the page says what is needed");
    let (grant, _) = grant.split_once('`').expect("it ends");
    let mut sql = Sql::at(url).await;
    sql.run(&format!(
        "DO $$ BEGIN
           PERFORM pg_advisory_xact_lock(20261125);
           IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'nova3_watch') THEN CREATE ROLE nova3_watch; END IF;
           EXECUTE format('GRANT USAGE ON SCHEMA %I TO nova3_watch', current_schema());
         END $$;
         GRANT {grant};
         SET ROLE nova3_watch"
    ))
    .await;
    sql
}

async fn one_leased_of_three(url: &str, harness: &crate::store::harness::Harness) -> (RunId, Lease) {
    let run = harness.run("a").await;
    let epoch = harness.begin(run).await;
    harness
        .add(run, epoch, &[request("x"), request("y"), request("z")])
        .await;
    let lease = claim(harness, "p", run, 1).await.remove(0).lease;
    // A line of an earlier reading, which needs no worker.
    Sql::at(url)
        .await
        .run("UPDATE nova3_queues SET ingest = ingest - 1 WHERE custom_id = 'z'")
        .await;
    (run, lease)
}

#[tokio::test]
async fn the_autoscaler_counts_what_can_be_worked_on_and_what_is_in_hand() {
    let (url, [harness]) = workers::<1>().await;
    one_leased_of_three(&url, &harness).await;
    assert_eq!(watcher(&url).await.number(&scales()).await, 2);
}

#[tokio::test]
async fn alerts_are_silent_at_rest_and_speak_in_trouble() {
    let (url, [harness]) = workers::<1>().await;
    let (_, lease) = one_leased_of_three(&url, &harness).await;
    let mut sql = watcher(&url).await;
    assert_eq!(sql.number(asks("expired leases")).await, 0);
    Sql::at(&url).await.expire(&[lease]).await;
    assert_eq!(sql.number(asks("expired leases")).await, 1);
    // No worker has joined.
    assert_eq!(sql.text(asks("no worker")).await, "a");
    let joined = "INSERT INTO nova3_workers (worker_id, run_id, host, pid, version, joined_at, last_seen)
        SELECT 'p', run_id, 'h', 1, '1', nova3_now(), nova3_now() FROM nova3_runs";
    Sql::at(&url).await.run(joined).await;
    assert!(sql.rows(asks("no worker")).await.is_empty());
    // The answers depend on the other users of the server.
    sql.rows(asks("old snapshot")).await;
    sql.rows(asks("dead rows")).await;
}
