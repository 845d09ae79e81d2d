//! Claims of many workers: each queue once, each session one at a time, and no worker waits for another.

use std::collections::BTreeSet;

use futures::future::join_all;
use nova3::store::{Claimable, Claimed, RunId, Settled};

use crate::fleet::harness::{Lock, Sql, claim, until, workers, wrongs};
use crate::store::harness::{Draft, Harness, ids, request};

fn inputs(count: usize) -> Vec<Draft> {
    (0..count)
        .map(|number| request(&format!("r{number}")).priority(i32::try_from(number % 3).expect("small")))
        .collect()
}

/// Claims a few at a time until nothing is left.
async fn take_all(harness: &Harness, name: &str, run: RunId) -> Vec<Claimed> {
    let mut taken = Vec::new();
    loop {
        let few = claim(harness, name, run, 3).await;
        if few.is_empty() {
            return taken;
        }
        taken.extend(few);
    }
}

#[tokio::test]
async fn all_together_get_every_queue_once_and_in_order() {
    let (_, beds) = workers::<4>().await;
    let run = beds[0].run("a").await;
    beds[0].read(run, &inputs(120)).await;
    let names = ["p0", "p1", "p2", "p3"];
    let taken = join_all(
        beds.iter()
            .zip(names)
            .map(|(harness, name)| take_all(harness, name, run)),
    )
    .await;
    for queues in &taken {
        let order: Vec<(i32, u64)> = queues
            .iter()
            .map(|queue| (queue.request.priority, queue.index))
            .collect();
        assert!(order.is_sorted(), "each gets its own in order: {order:?}");
    }
    let all: Vec<String> = taken.iter().flat_map(|queues| ids(queues)).collect();
    let once: BTreeSet<&String> = all.iter().collect();
    assert_eq!((all.len(), once.len()), (120, 120), "none twice, none left");
}

/// A worker's record of the sessions: each queue when it was claimed, and again when it was finished.
type Diary = std::sync::Mutex<Vec<(String, bool)>>;

async fn work(harness: &Harness, name: &str, run: RunId, diary: &Diary) {
    let write = |queue: &Claimed, begins: bool| {
        let entry = (ids(std::slice::from_ref(queue)).remove(0), begins);
        diary.lock().expect("a diary").push(entry);
    };
    until("the end of the run", async || {
        for queue in claim(harness, name, run, 2).await {
            write(&queue, true);
            tokio::task::yield_now().await;
            write(&queue, false);
            assert_eq!(harness.done(&queue).await, Settled::Finished { ok: true });
        }
        !harness.store().has_unfinished(run).await.expect("reads")
    })
    .await;
}

/// Requests named after their run, their session and their place in both: `a-s1-7`.
fn in_sessions(run: &str, sessions: usize, each: usize) -> Vec<Draft> {
    let places = (0..each).flat_map(|place| (0..sessions).map(move |session| (session, place)));
    places
        .map(|(session, place)| request(&format!("{run}-s{session}-{place}")).session(&format!("s{session}")))
        .collect()
}

#[tokio::test]
async fn a_session_is_worked_on_once_at_a_time_across_runs_and_in_order() {
    let (url, beds) = workers::<4>().await;
    let (a, b) = (beds[0].run("a").await, beds[0].run("b").await);
    beds[0].read(a, &in_sessions("a", 3, 8)).await;
    beds[1].read(b, &in_sessions("b", 3, 8)).await;
    let diary = Diary::default();
    let workers = [(0, "p0", a), (1, "p1", b), (2, "p2", a), (3, "p3", b)];
    let working = workers.map(|(harness, name, run)| work(&beds[harness], name, run, &diary));
    join_all(working).await;
    let told = diary.into_inner().expect("a diary");
    for session in ["s0", "s1", "s2"] {
        let here: Vec<&(String, bool)> = told
            .iter()
            .filter(|(id, _)| id.split('-').nth(1) == Some(session))
            .collect();
        assert_eq!(here.len(), 2 * 16);
        for pair in here.chunks(2) {
            assert_eq!(pair[0].0, pair[1].0, "one at a time in {session}: {here:?}");
        }
        for run in ["a", "b"] {
            let begun = here.iter().filter(|(id, begins)| *begins && id.starts_with(run));
            let places: Vec<u32> = begun
                .map(|(id, _)| {
                    id.rsplit('-')
                        .next()
                        .and_then(|place| place.parse().ok())
                        .expect("a place")
                })
                .collect();
            assert_eq!(places, (0..8).collect::<Vec<_>>(), "in order of arrival");
        }
    }
    assert_eq!(wrongs(&mut Sql::at(&url).await).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_claim_waits_for_nobody_who_holds_ready_queues() {
    let (url, [harness]) = workers::<1>().await;
    let run = harness.run("a").await;
    harness.read(run, &inputs(6)).await;
    let mut hold = Lock::of(
        &url,
        "SELECT 1 FROM nova3_queues WHERE custom_id IN ('r0', 'r3') FOR UPDATE",
    )
    .await;
    let rest = claim(&harness, "p", run, 9).await;
    assert_eq!(ids(&rest), ["r1", "r4", "r2", "r5"]);
    assert_eq!(hold.waiting().await, 0);
    hold.commit().await;
    assert_eq!(ids(&claim(&harness, "p", run, 9).await), ["r0", "r3"]);
}

#[tokio::test]
async fn two_runs_that_reach_for_one_session_get_it_once() {
    let (url, [first, second]) = workers::<2>().await;
    let (a, b) = (first.run("a").await, first.run("b").await);
    first.read(a, &[request("a1").session("s")]).await;
    first.read(b, &[request("b1").session("s"), request("b2")]).await;
    // The other run's claim has found the session free. Both claims now write that they hold it.
    let hold = Lock::of(
        &url,
        "INSERT INTO nova3_session_leases SELECT user_id, session_id, queue_id FROM nova3_queues WHERE custom_id = 'a1'",
    );
    let mut hold = hold.await;
    hold.and("UPDATE nova3_queues SET leased = 1, ready = 0, fence = 1 WHERE custom_id = 'a1'")
        .await;
    hold.and(
        "UPDATE nova3_tasks SET status = 'leased', lease_owner = 'p', lease_until = 0, fence = 1
         WHERE queue_id = (SELECT queue_id FROM nova3_queues WHERE custom_id = 'a1')",
    )
    .await;
    let (got, ()) = tokio::join!(claim(&second, "q", b, 9), async {
        hold.until_waited_for(1).await;
        hold.commit().await;
    });
    assert_eq!(ids(&got), ["b2"]);
    assert_eq!(wrongs(&mut Sql::at(&url).await).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_group_in_quarantine_is_all_that_its_owner_holds() {
    let (url, [first, second]) = workers::<2>().await;
    let run = first.run("a").await;
    first.read(run, &inputs(3)).await;
    let mut sql = Sql::at(&url).await;
    sql.run("UPDATE nova3_tasks SET crashes = 2, quarantine = 1 WHERE queue_id IN (SELECT queue_id FROM nova3_queues WHERE custom_id <> 'r2');
         SELECT nova3_recount(array_agg(queue_id)) FROM nova3_queues")
        .await;
    let group = async |harness: &Harness, name: &str| {
        ids(&harness.claim_as(name, run, Claimable::Quarantined, 9).await)
    };
    assert_eq!(group(&first, "p").await, ["r0"]);
    assert_eq!(ids(&claim(&first, "p", run, 9).await), Vec::<String>::new());
    assert_eq!(group(&first, "p").await, Vec::<String>::new());
    assert_eq!(
        ids(&claim(&second, "q", run, 9).await),
        ["r2"],
        "who shares no process with it may"
    );
    assert_eq!(group(&second, "q").await, Vec::<String>::new(), "it has company");
    assert_eq!(group(&second, "r").await, ["r1"]);
}

/// Returns how many rows a claim of unplanned queues reads behind that many planned ones.
async fn read_behind(url: &str, harness: &Harness, planned: usize) -> i64 {
    let run = harness.run(&format!("{planned} planned")).await;
    let mut input: Vec<Draft> = (0..planned).map(|n| request(&format!("r{n}"))).collect();
    input.push(request("last").unplanned());
    harness.read(run, &input).await;
    let mut sql = Sql::at(url).await;
    sql.run(&format!(
        "BEGIN; SELECT * FROM nova3_claim({}, 'o', 'unplanned', 9, 1000, 1)",
        run.0
    ))
    .await;
    let read = "SELECT (seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_xact_user_tables WHERE relid = 'nova3_queues'::regclass";
    let read = sql.number(read).await;
    sql.run("ROLLBACK").await;
    read
}

#[tokio::test]
async fn planned_queues_cost_the_claim_of_an_unplanned_one_nothing() {
    let (url, [harness]) = workers::<1>().await;
    let few = read_behind(&url, &harness, 2).await;
    assert!(few > 0, "the statistics work");
    let many = read_behind(&url, &harness, 600).await;
    assert!(many <= few, "{many} rows behind 600, {few} behind 2");
}
