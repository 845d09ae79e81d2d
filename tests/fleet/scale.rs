//! The rows read and the locks held by a statement do not grow with the number of runs or of waiting queues.

use std::collections::BTreeMap;

use nova3::store::{Claimed, RunId};

use crate::fleet::harness::{Sql, claim, join, workers};
use crate::fleet::wakeups::settlement;
use crate::store::harness::{Draft, Harness, request};

/// For each table and index, how often it was scanned, and how many of its entries were read.
type Read = BTreeMap<String, (i64, i64)>;

/// Returns the reads of the connection so far.
async fn read(sql: &mut Sql) -> Read {
    let rows = sql
        .rows(
            "SELECT c.relname::text, pg_stat_get_xact_numscans(c.oid), pg_stat_get_xact_tuples_returned(c.oid)
             FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('i','r')",
        )
        .await;
    rows.iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))))
        .collect()
}

/// Returns the cost of a transaction's statements: the locks that it holds at its end, and its reads. Equal plans over
/// equally many rows have equal costs.
async fn cost(sql: &mut Sql, statements: &[String]) -> (i64, Read) {
    sql.run("BEGIN").await;
    let before = read(sql).await;
    for statement in statements {
        sql.rows(statement).await;
    }
    let locks = sql
        .number("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()")
        .await;
    let mut after = read(sql).await;
    sql.run("ROLLBACK").await;
    for (name, (scans, rows)) in &mut after {
        let (scans_before, rows_before) = before[name];
        *scans -= scans_before;
        *rows -= rows_before;
    }
    after.retain(|_, (scans, _)| *scans > 0);
    (locks, after)
}

/// A run in which each session has `each` lines, with a queue of the first session leased.
async fn at_work(harness: &Harness, name: &str, sessions: usize, each: usize) -> (RunId, Claimed) {
    let run = harness.run(name).await;
    let mut input: Vec<Draft> = Vec::new();
    for place in 0..each {
        input
            .extend((0..sessions).map(|session| {
                request(&format!("s{session}-{place}")).session(&format!("{name}-{session}"))
            }));
    }
    input.extend((0..4).map(|free| request(&format!("free{free}"))));
    input.push(request("unplanned").unplanned());
    harness.read(run, &input).await;
    let first = claim(harness, "p", run, 1).await.remove(0);
    assert!(first.request.session.is_some());
    (run, first)
}

/// The statements of a run's workers: claims, the heartbeat, the end of a queue that unblocks another.
fn work(run: RunId, first: &Claimed) -> Vec<String> {
    let (run_id, queue, fence) = (run.0, first.lease.queue_id, first.lease.fence);
    vec![
        format!("SELECT nova3_is_open({run_id})"),
        format!("SELECT nova3_claim({run_id}, 'q', 'all', 2, 60000, 11)"),
        format!("SELECT nova3_claim({run_id}, 'r', 'unplanned', 2, 60000, 12)"),
        format!("SELECT nova3_claim({run_id}, 's', 'quarantined', 2, 60000, 13)"),
        format!("SELECT nova3_renew({run_id}, 'p', ARRAY[{queue}::bigint], ARRAY[{fence}::bigint], 60000)"),
        "UPDATE nova3_workers SET last_seen = nova3_now() WHERE worker_id = 'p'".to_owned(),
        "SELECT nova3_reap(60000, 500)".to_owned(),
        settlement(run, first, "go_on"),
    ]
}

/// Checks that the work has the same cost as then: the same scans, no more locks, and no more rows except row versions
/// of the same queues that no vacuum has removed yet.
async fn costs_the_same(sql: &mut Sql, work: &[String], then: &(i64, Read), when: &str) {
    let now = cost(sql, work).await;
    assert!(now.0 <= then.0, "{when}: {} locks, {} before", now.0, then.0);
    let scans = |read: &Read| -> Vec<(String, i64)> {
        read.iter()
            .map(|(name, (scans, _))| (name.clone(), *scans))
            .collect()
    };
    assert_eq!(scans(&now.1), scans(&then.1), "{when}");
    for (name, (_, rows)) in &now.1 {
        let before = then.1[name].1;
        assert!(
            *rows <= before + 20,
            "{when}: {rows} rows by {name}, {before} before"
        );
    }
}

#[tokio::test]
async fn with_two_hundred_runs_work_costs_what_it_costs_with_one() {
    let (url, [harness]) = workers::<1>().await;
    join(harness.store(), "p", harness.run("joined").await).await;
    let (run, first) = at_work(&harness, "alone", 2, 3).await;
    let mut old = Sql::at(&url).await;
    let alone = cost(&mut old, &work(run, &first)).await;
    assert!(alone.1.contains_key("nova3_queues_ready"), "{alone:?}");
    assert!(
        !alone.1.contains_key("nova3_queues"),
        "no table is read: {alone:?}"
    );
    harness.done(&first).await;
    for number in 0..200 {
        let other = harness.run(&format!("other{number}")).await;
        harness
            .read(other, &[request("x").session("x"), request("y").session("x")])
            .await;
    }
    let (run, first) = at_work(&harness, "among", 2, 3).await;
    costs_the_same(&mut old, &work(run, &first), &alone, "planned when there was one").await;
    harness.done(&first).await;
    let (run, first) = at_work(&harness, "again", 2, 3).await;
    costs_the_same(
        &mut Sql::at(&url).await,
        &work(run, &first),
        &alone,
        "planned among many",
    )
    .await;
}

#[tokio::test]
async fn what_waits_in_a_session_costs_nobody_anything() {
    let (url, [harness]) = workers::<1>().await;
    join(harness.store(), "p", harness.run("joined").await).await;
    let (run, first) = at_work(&harness, "few", 3, 2).await;
    let mut old = Sql::at(&url).await;
    let few = cost(&mut old, &work(run, &first)).await;
    harness.done(&first).await;
    let (run, first) = at_work(&harness, "many", 3, 500).await;
    costs_the_same(&mut old, &work(run, &first), &few, "planned when few waited").await;
    harness.done(&first).await;
    let (run, first) = at_work(&harness, "again", 3, 500).await;
    costs_the_same(
        &mut Sql::at(&url).await,
        &work(run, &first),
        &few,
        "planned when many waited",
    )
    .await;
}
