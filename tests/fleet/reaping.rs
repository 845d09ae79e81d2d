//! Expired leases: each is taken away once, never from a living owner, and a crash is recorded for the right one.

use futures::future::join_all;
use nova3::store::{Claimable, Claimed, RunConstraints, RunId, RunOpening, Settled, WorkerProgress};

use crate::fleet::harness::{
    Lock, Sql, call, claim, join, leases, owner, reserve, tend, until, workers, wrongs,
};
use crate::store::harness::{Harness, LEASE_MS, ids, opening, request};

async fn crashes(sql: &mut Sql, of: &str) -> i64 {
    sql.number(&format!(
        "SELECT max(t.crashes) FROM nova3_tasks t JOIN nova3_queues q USING (queue_id) WHERE q.custom_id = '{of}'"
    ))
    .await
}

/// Makes the worker's last heartbeat very old.
async fn silence(sql: &mut Sql, name: &str) {
    sql.run(&format!(
        "UPDATE nova3_workers SET last_seen = 0 WHERE worker_id = '{name}'"
    ))
    .await;
}

/// A run of one request, claimed by `p`, whose lease has expired.
async fn run_out(harness: &Harness, sql: &mut Sql) -> (RunId, Claimed) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x")]).await;
    join(harness.store(), "p", run).await;
    let queue = claim(harness, "p", run, 1).await.remove(0);
    sql.expire(&[queue.lease]).await;
    (run, queue)
}

#[tokio::test]
async fn only_what_ran_out_is_taken_away_and_no_attempt_is_charged() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let run = first.run("a").await;
    first.read(run, &[request("x"), request("y")]).await;
    let queues = claim(&first, "p", run, 2).await;
    sql.expire(&leases(&queues[..1])).await;
    tend(second.store(), "q").await;
    let states = sql
        .text("SELECT string_agg(q.custom_id || ' ' || t.status || ' ' || t.attempt, ', ' ORDER BY q.seq) FROM nova3_queues q JOIN nova3_tasks t USING (queue_id)")
        .await;
    assert_eq!(states, "x ready 0, y leased 1");
    assert_eq!(first.done(&queues[0]).await, Settled::LostLease);
    assert_eq!(first.done(&queues[1]).await, Settled::Finished { ok: true });
    let again = claim(&second, "q", run, 9).await;
    assert!(again[0].lease.fence > queues[0].lease.fence);
}

#[tokio::test]
async fn what_is_renewed_meanwhile_is_kept() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let (run, queue) = run_out(&first, &mut sql).await;
    // The renewal is in flight, and the reaper sees an expired lease.
    let renewal = format!(
        "SELECT nova3_renew({}, 'p', ARRAY[{}::bigint], ARRAY[{}::bigint], {LEASE_MS})",
        run.0, queue.lease.queue_id, queue.lease.fence
    );
    let mut hold = Lock::of(&url, &renewal).await;
    // The renewal succeeds whether the reaper skips the lease or waits for it.
    let reaped = std::cell::Cell::new(false);
    let reap = async {
        tend(second.store(), "q").await;
        reaped.set(true);
    };
    tokio::join!(reap, async {
        until("the reaper", async || reaped.get() || hold.waiting().await > 0).await;
        hold.commit().await;
    });
    assert_eq!(first.done(&queue).await, Settled::Finished { ok: true });
}

#[tokio::test]
async fn many_reapers_take_each_lease_once() {
    let (url, beds) = workers::<4>().await;
    let mut sql = Sql::at(&url).await;
    let run = beds[0].run("a").await;
    let input: Vec<_> = (0..60)
        .map(|number| request(&format!("r{number}")).session(&format!("s{number}")))
        .collect();
    beds[0].read(run, &input).await;
    let queues = claim(&beds[0], "dead", run, 99).await;
    assert_eq!(queues.len(), 60);
    sql.expire(&leases(&queues)).await;
    join_all(beds.iter().map(|harness| tend(harness.store(), "q"))).await;
    let rows = "SELECT count(*) FROM nova3_tasks WHERE status = 'ready' AND fence = 1 AND attempt = 0 AND crashes = 1";
    assert_eq!(sql.number(rows).await, 60);
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_idle_run_holds_up_no_session_of_another() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let (idle, busy) = (first.run("idle").await, first.run("busy").await);
    first.read(idle, &[request("i").session("s")]).await;
    first.read(busy, &[request("b").session("s")]).await;
    let held = claim(&first, "dead", idle, 9).await;
    assert!(claim(&second, "q", busy, 9).await.is_empty());
    sql.expire(&leases(&held)).await;
    tend(second.store(), "q").await;
    assert_eq!(ids(&claim(&second, "q", busy, 9).await), ["b"]);
}

#[tokio::test]
async fn who_is_seen_within_its_lease_has_not_crashed() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let (run, _) = run_out(&first, &mut sql).await;
    silence(&mut sql, "p").await;
    tend(first.store(), "p").await;
    assert_eq!(
        crashes(&mut sql, "x").await,
        0,
        "it took its own away, and is alive"
    );
    let queue = claim(&first, "p", run, 9).await.remove(0);
    sql.expire(&[queue.lease]).await;
    tend(second.store(), "q").await;
    assert_eq!(crashes(&mut sql, "x").await, 0, "it was seen a moment ago");
    let queue = claim(&first, "p", run, 9).await.remove(0);
    sql.expire(&[queue.lease]).await;
    silence(&mut sql, "p").await;
    tend(second.store(), "q").await;
    assert_eq!(crashes(&mut sql, "x").await, 1, "no process has seen it");
    let queue = claim(&second, "this owner is unknown", run, 9).await.remove(0);
    sql.expire(&[queue.lease]).await;
    tend(second.store(), "q").await;
    assert_eq!(crashes(&mut sql, "x").await, 2, "it never joined");
}

#[tokio::test]
async fn who_comes_back_is_accused_of_nothing() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let (_, queue) = run_out(&first, &mut sql).await;
    silence(&mut sql, "p").await;
    tend(second.store(), "q").await;
    assert_eq!(crashes(&mut sql, "x").await, 1);
    let renew = async || {
        let leases = [queue.lease];
        let lost = first.store().renew(&owner("p"), &leases, LEASE_MS).await;
        assert_eq!(lost.expect("renews"), leases, "it is lost all the same");
    };
    renew().await;
    assert_eq!(crashes(&mut sql, "x").await, 0);
    renew().await;
    assert_eq!(crashes(&mut sql, "x").await, 0, "taken back once");
}

#[tokio::test]
async fn who_comes_back_takes_its_queues_out_of_quarantine() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let (run, _) = run_out(&first, &mut sql).await;
    sql.run("UPDATE nova3_tasks SET crashes = 1").await;
    tend(second.store(), "q").await;
    let queue = claim(&first, "p", run, 9).await.remove(0);
    assert!(queue.is_recorded);
    sql.expire(&[queue.lease]).await;
    silence(&mut sql, "p").await;
    tend(second.store(), "q").await;
    assert!(sql.number("SELECT quarantine FROM nova3_tasks").await > 0);
    let lost = first.store().renew(&owner("p"), &[queue.lease], LEASE_MS).await;
    assert_eq!(lost.expect("renews"), [queue.lease]);
    assert_eq!(sql.number("SELECT quarantine FROM nova3_tasks").await, 0);
}

#[tokio::test]
async fn who_comes_back_has_not_crashed_alone_either() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let (run, _) = run_out(&first, &mut sql).await;
    sql.run("UPDATE nova3_tasks SET crashes = 2, quarantine = 1")
        .await;
    tend(second.store(), "q").await;
    let mut lost = Vec::new();
    for name in ["p", "r"] {
        let alone = second.claim_as(name, run, Claimable::Quarantined, 9).await;
        assert_eq!(ids(&alone), ["x"]);
        sql.expire(&leases(&alone)).await;
        silence(&mut sql, name).await;
        tend(second.store(), "q").await;
        lost.push(alone[0].lease);
        if name == "p" {
            assert_eq!(sql.number("SELECT lone_crashes FROM nova3_tasks").await, 1);
            first
                .store()
                .renew(&owner("p"), &lost, LEASE_MS)
                .await
                .expect("renews");
            assert_eq!(sql.number("SELECT lone_crashes FROM nova3_tasks").await, 0);
        }
    }
    let stands = sql
        .text("SELECT status || ' ' || lone_crashes FROM nova3_tasks")
        .await;
    assert_eq!(stands, "ready 1", "one crash alone fails nothing");
}

#[tokio::test]
async fn who_left_in_good_order_is_accused_of_nothing() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let (_, queue) = run_out(&first, &mut sql).await;
    first
        .store()
        .deregister_worker(&owner("p"), WorkerProgress::default())
        .await
        .expect("leaves");
    silence(&mut sql, "p").await;
    tend(second.store(), "q").await;
    assert_eq!(crashes(&mut sql, "x").await, 0);
    assert_eq!(first.done(&queue).await, Settled::LostLease);
}

/// An hour in milliseconds, as SQL text.
const HOUR: &str = "3600000";

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_lease_alive() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let run = first.run("a").await;
    first.read(run, &[request("x"), request("y")]).await;
    join(first.store(), "p", run).await;
    let queues = claim(&first, "p", run, 2).await;
    // The rows look like this after the server's clock was set back by an hour.
    sql.run(&format!(
        "UPDATE nova3_tasks SET lease_until = lease_until + {HOUR} WHERE status = 'leased';
         UPDATE nova3_workers SET last_seen = last_seen + {HOUR}"
    ))
    .await;
    tend(second.store(), "q").await;
    let longest = "SELECT max(lease_until - nova3_now()) FROM nova3_tasks WHERE status = 'leased'";
    assert!((0..=LEASE_MS).contains(&sql.number(longest).await));
    // A living owner renews its lease. The crash of one that does not renew is recorded.
    let lost = first
        .store()
        .renew(&owner("p"), &leases(&queues[1..]), LEASE_MS)
        .await;
    assert_eq!(lost.expect("renews"), []);
    sql.expire(&leases(&queues[..1])).await;
    tend(second.store(), "q").await;
    assert_eq!(
        (crashes(&mut sql, "x").await, crashes(&mut sql, "y").await),
        (1, 0)
    );
    assert_eq!(ids(&claim(&second, "q", run, 9).await), ["x"]);
}

#[tokio::test]
async fn a_clock_that_is_set_back_holds_no_money_and_no_terms() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let run = first.run("a").await;
    first.read(run, &[request("x").query("old")]).await;
    join(first.store(), "p", run).await;
    let queue = claim(&first, "p", run, 1).await.remove(0);
    assert!(reserve(first.store(), run, &call(queue.lease, 0, 70), 1000).await);
    second.read(run, &[request("x").query("new")]).await;
    sql.run(&format!(
        "UPDATE nova3_reservations SET created_at = created_at + {HOUR};
         UPDATE nova3_workers SET last_seen = last_seen + {HOUR}"
    ))
    .await;
    tend(second.store(), "q").await;
    assert_eq!(sql.number("SELECT count(*) FROM nova3_reservations").await, 0);
    let other = RunOpening {
        terms: RunConstraints {
            until: Some("insight".to_owned()),
            ..RunConstraints::default()
        },
        ..opening("a")
    };
    let opened = second
        .store()
        .open_run(&other)
        .await
        .expect("no worker is registered");
    assert_eq!(opened.terms.until.as_deref(), Some("insight"));
}
