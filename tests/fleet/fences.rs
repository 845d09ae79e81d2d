//! The fence of a lease: it only grows, it is never given twice, and a stale owner changes nothing but the ledger.

use std::collections::HashSet;

use futures::future::join_all;
use nova3::domain::failure::Class;
use nova3::domain::usage::Cost;
use nova3::store::{Claimed, Hold, Lease, ReleasedLease, Settled, TakeOver};

use crate::fleet::harness::{Sql, call, claim, join, leases, owner, reserve, tend, workers, wrongs};
use crate::store::harness::{Harness, LEASE_MS, attempt, completed, failed, planned, request};

/// A digest of all rows except the ledger and its sums.
const ALL_BUT_THE_LEDGER: &str = "SELECT md5(string_agg(x.row, chr(10) ORDER BY x.row)) FROM (
    SELECT q::text AS row FROM nova3_queues q UNION ALL SELECT t::text FROM nova3_tasks t
    UNION ALL SELECT p::text FROM nova3_plans p UNION ALL SELECT e::text FROM nova3_events e
    UNION ALL SELECT i::text FROM nova3_items i UNION ALL SELECT c::text FROM nova3_counters c
    UNION ALL SELECT r::text FROM nova3_rounds r UNION ALL SELECT r::text FROM nova3_reservations r
    UNION ALL SELECT l::text FROM nova3_session_leases l UNION ALL SELECT s::text FROM nova3_sessions s
    UNION ALL SELECT next_finish_no || ' ' || next_event_no || ' ' || reserved FROM nova3_tallies) x";

async fn only(harness: &Harness, name: &str, run: nova3::store::RunId) -> Claimed {
    let mut claimed = claim(harness, name, run, 9).await;
    assert_eq!(claimed.len(), 1);
    claimed.remove(0)
}

#[tokio::test]
async fn the_fence_grows_with_each_claim_whatever_took_the_lease_away() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let run = first.run("a").await;
    first.read(run, &[request("x").query("old").session("s")]).await;
    let mut fences = Vec::new();
    let mut fence = async |sql: &mut Sql, of: &str| {
        let now = sql.number("SELECT max(fence) FROM nova3_queues").await;
        fences.push((of.to_owned(), now));
    };
    let queue = only(&first, "p", run).await;
    fence(&mut sql, "claim").await;
    first.release(&queue).await;
    let queue = only(&second, "q", run).await;
    fence(&mut sql, "another claim").await;
    sql.expire(&[queue.lease]).await;
    tend(first.store(), "p").await;
    let queue = only(&first, "p", run).await;
    fence(&mut sql, "reclaim").await;
    second.read(run, &[request("x").query("new").session("s")]).await;
    assert_eq!(first.done(&queue).await, Settled::LostLease);
    second.read(run, &[request("x").query("old").session("s")]).await;
    only(&second, "q", run).await;
    fence(&mut sql, "claim of what was superseded").await;
    assert!(fences.is_sorted_by(|a, b| a.1 < b.1), "{fences:?}");
}

#[tokio::test]
async fn a_stale_owner_changes_nothing_but_the_ledger() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let run = first.run("a").await;
    let paused = request("paused")
        .session("s")
        .plan(&["insight", "answer"])
        .until("insight");
    first.read(run, std::slice::from_ref(&paused)).await;
    first.pause(&only(&first, "p", run).await).await;
    let input = [
        paused,
        request("x").tasks(2),
        request("plan").unplanned(),
        request("s").session("s").unplanned(),
    ];
    first.read(run, &input).await;
    join(first.store(), "p", run).await;
    let stale = claim(&first, "p", run, 9).await;
    assert_eq!(stale.len(), 3);
    sql.expire(&leases(&stale)).await;
    tend(second.store(), "q").await;
    let fresh = claim(&second, "q", run, 9).await;
    assert_eq!(fresh.len(), 3);
    assert!(reserve(second.store(), run, &call(fresh[0].lease, 0, 70), 1000).await);
    let before = sql.text(ALL_BUT_THE_LEDGER).await;

    let store = first.store();
    assert_eq!(
        first.settle(completed(stale[0].lease, 0, 1)).await,
        Settled::LostLease
    );
    assert_eq!(
        first.settle(failed(stale[0].lease, 0, Class::Server)).await,
        Settled::LostLease
    );
    let plan = planned(stale[1].lease, &["answer"]);
    assert_eq!(first.settle_plan(plan).await, Settled::LostLease);
    assert_eq!(first.take_over(&stale[2]).await, TakeOver::LostLease);
    let lost = store
        .renew(&owner("p"), &leases(&stale), 2 * LEASE_MS)
        .await
        .expect("renews");
    assert_eq!(lost, leases(&stale));
    let late = call(stale[0].lease, 0, 5);
    let refused = store.reserve(run, &late, Cost(1000)).await.expect("reserves");
    assert_eq!(refused, Hold::LostLease);
    let left = ReleasedLease {
        task: nova3::domain::task::TaskNo::planned(0),
        attempts: vec![attempt(None, 9)],
        ..ReleasedLease::untouched(stale[0].lease)
    };
    store.release(vec![left]).await.expect("releases");

    assert_eq!(sql.text(ALL_BUT_THE_LEDGER).await, before);
    let summary = store.summary(run).await.expect("reads");
    assert_eq!(
        (summary.attempts, summary.reserved),
        (5, Cost(70)),
        "all that was called is paid"
    );
    assert_eq!(second.done(&fresh[0]).await, Settled::Stepped);
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
}

#[tokio::test]
async fn no_two_owners_ever_have_the_same_fence() {
    let (url, beds) = workers::<4>().await;
    let run = beds[0].run("a").await;
    let input: Vec<_> = (0..12).map(|number| request(&format!("r{number}"))).collect();
    beds[0].read(run, &input).await;
    let names = ["p0", "p1", "p2", "p3"];
    // Each worker claims, loses and releases in its own way, all at the same time.
    let rounds = join_all(
        beds.iter()
            .zip(names)
            .enumerate()
            .map(async |(way, (harness, name))| {
                let mut sql = Sql::at(&url).await;
                let mut had = Vec::new();
                for _ in 0..12 {
                    let queues = claim(harness, name, run, 4).await;
                    had.extend(leases(&queues));
                    match way % 2 {
                        _ if queues.is_empty() => tokio::task::yield_now().await,
                        0 => {
                            sql.expire(&leases(&queues)).await;
                            tend(harness.store(), name).await;
                        }
                        _ => {
                            let left = queues
                                .iter()
                                .map(|queue| ReleasedLease::untouched(queue.lease))
                                .collect();
                            harness.store().release(left).await.expect("releases");
                        }
                    }
                }
                had
            }),
    )
    .await;
    let all: Vec<Lease> = rounds.concat();
    let different: HashSet<(i64, i64)> = all.iter().map(|lease| (lease.queue_id, lease.fence)).collect();
    assert!(all.len() > 20 && different.len() == all.len());
}
