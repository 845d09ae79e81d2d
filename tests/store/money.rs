//! Money under a cap: reserved before a call, known after it, and counted as spent when the process crashes.

use nova3::domain::failure::Class;
use nova3::domain::tally::{RouteState, RunSummary, Waste};
use nova3::domain::usage::Cost;
use nova3::store::{Claimed, Hold, Lease, ReleasedLease, Reservation, RunId};

use crate::store::harness::{Harness, attempt, completed, request};

fn call(lease: Lease, spent: u64, worst: u64) -> Reservation {
    Reservation {
        lease,
        task: nova3::domain::task::TaskNo::planned(0),
        route: "primary".to_owned(),
        model: "m".to_owned(),
        lane: nova3::domain::lane::Lane::live(),
        spent: Cost(spent),
        worst: Cost(worst),
    }
}

async fn reserve(harness: &Harness, run: RunId, lease: Lease, (spent, worst): (u64, u64), cap: u64) -> bool {
    let reservation = call(lease, spent, worst);
    let hold = harness.store().reserve(run, &reservation, Cost(cap)).await;
    hold.expect("reserves") == Hold::Held
}

async fn summary(harness: &Harness, run: RunId) -> RunSummary {
    harness.store().summary(run).await.expect("reads")
}

/// Claims two queues.
async fn two(harness: &mut Harness) -> (RunId, Claimed, Claimed) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x"), request("y")]).await;
    let mut queues = harness.claim(run, 2).await;
    let y = queues.pop().expect("two");
    let x = queues.pop().expect("two");
    (run, x, y)
}

pub(crate) async fn what_is_held_back_never_passes_the_cap(harness: &mut Harness) {
    let (run, x, y) = two(harness).await;
    assert!(reserve(harness, run, x.lease, (0, 600), 1000).await);
    assert!(
        !reserve(harness, run, y.lease, (0, 401), 1000).await,
        "one too many"
    );
    assert_eq!(
        summary(harness, run).await.reserved,
        Cost(600),
        "a refusal holds nothing back"
    );
    assert!(
        reserve(harness, run, y.lease, (0, 400), 1000).await,
        "to the last one"
    );
    // The call of x has failed and may have cost 50. The rest of its reservation is free for y.
    assert!(reserve(harness, run, x.lease, (50, 0), 1000).await);
    assert_eq!(summary(harness, run).await.reserved, Cost(450));
    assert!(!reserve(harness, run, x.lease, (50, 600), 1000).await);
    assert_eq!(
        summary(harness, run).await.reserved,
        Cost(450),
        "what it spent stays held back"
    );
    assert!(reserve(harness, run, x.lease, (50, 550), 1000).await);
}

pub(crate) async fn a_settlement_replaces_what_was_held_back_by_what_it_cost(harness: &mut Harness) {
    let (run, x, y) = two(harness).await;
    assert!(reserve(harness, run, x.lease, (0, 600), 1000).await);
    harness.settle(completed(x.lease, 0, 1)).await;
    let after = summary(harness, run).await;
    assert_eq!((after.reserved, after.cost), (Cost(0), Cost(100)));
    assert!(!reserve(harness, run, y.lease, (0, 901), 1000).await);
    assert!(reserve(harness, run, y.lease, (0, 900), 1000).await);
}

pub(crate) async fn a_call_given_back_is_in_the_ledger(harness: &mut Harness) {
    let (run, x, _) = two(harness).await;
    assert!(reserve(harness, run, x.lease, (0, 600), 1000).await);
    let mut lost = attempt(Some(Class::Network), 30);
    lost.uncertain = Cost(70);
    let left = ReleasedLease {
        task: nova3::domain::task::TaskNo::planned(0),
        attempts: vec![lost],
        ..ReleasedLease::untouched(x.lease)
    };
    harness.store().release(vec![left]).await.expect("releases");
    let after = summary(harness, run).await;
    assert_eq!(
        (after.reserved, after.cost, after.wasted, after.uncertain),
        (Cost(0), Cost(30), Cost(30), Cost(70))
    );
    assert_eq!((after.attempts, after.failed_attempts), (1, 1));
    let waste = harness.store().waste(run).await.expect("reads");
    let expected = Waste {
        route: "primary".to_owned(),
        cause: "network".to_owned(),
        calls: 1,
        input_tokens: 10,
        output_tokens: 2,
        cost: Cost(30),
        uncertain: Cost(70),
    };
    assert_eq!(waste, [expected]);
    assert_eq!(harness.claim(run, 9).await.len(), 1, "it can be claimed again");
}

pub(crate) async fn a_lost_lease_holds_nothing_back(harness: &mut Harness) {
    let (run, x, y) = two(harness).await;
    assert!(reserve(harness, run, y.lease, (0, 100), 1000).await);
    harness.release(&x).await;
    let again = harness.claim(run, 1).await.remove(0);
    assert_eq!(again.lease.queue_id, x.lease.queue_id);
    let hold = harness
        .store()
        .reserve(run, &call(x.lease, 0, 600), Cost(1000))
        .await;
    assert_eq!(hold.expect("answers"), Hold::LostLease, "its fence is old");
    assert_eq!(summary(harness, run).await.reserved, Cost(100));
    assert!(reserve(harness, run, again.lease, (0, 600), 1000).await);
    let hold = harness
        .store()
        .reserve(run, &call(x.lease, 0, 0), Cost(1000))
        .await;
    assert_eq!(hold.expect("answers"), Hold::LostLease);
    assert_eq!(
        summary(harness, run).await.reserved,
        Cost(700),
        "a stale lease does not touch what the good one holds back"
    );
}

pub(crate) async fn a_death_spends_what_was_held_back(harness: &mut Harness) {
    let (run, x, y) = two(harness).await;
    assert!(reserve(harness, run, x.lease, (0, 600), 1000).await);
    assert!(reserve(harness, run, y.lease, (20, 100), 1000).await);
    if !harness.crash().await {
        return;
    }
    let run = harness.run("a").await;
    let after = summary(harness, run).await;
    assert_eq!(
        (after.reserved, after.uncertain, after.attempts),
        (Cost(0), Cost(720), 2)
    );
    let waste = harness.store().waste(run).await.expect("reads");
    assert_eq!(
        (waste[0].cause.as_str(), waste[0].calls, waste.len()),
        ("abandoned", 2, 1)
    );
    harness.read(run, &[request("x"), request("y")]).await;
    let queue = harness.claim(run, 1).await.remove(0);
    assert!(!reserve(harness, run, queue.lease, (0, 281), 1000).await);
    assert!(reserve(harness, run, queue.lease, (0, 280), 1000).await);
}

pub(crate) async fn sums_of_money_stop_before_they_break_the_ledger(harness: &mut Harness) {
    let (run, x, y) = two(harness).await;
    let dear = || {
        let mut call = attempt(Some(Class::Network), Cost::MOST.0);
        call.uncertain = Cost::MOST;
        call
    };
    for lease in [x.lease, y.lease] {
        let left = ReleasedLease {
            task: nova3::domain::task::TaskNo::planned(0),
            attempts: vec![dear(), dear(), dear()],
            ..ReleasedLease::untouched(lease)
        };
        harness.store().release(vec![left]).await.expect("releases");
    }
    let after = summary(harness, run).await;
    let sums = [after.cost, after.wasted, after.uncertain];
    assert_eq!(sums, [Cost::MOST; 3]);
    let waste = harness.store().waste(run).await.expect("reads");
    assert_eq!(
        (waste[0].cost, waste[0].uncertain, waste[0].calls),
        (Cost::MOST, Cost::MOST, 6)
    );
    let queue = harness.claim(run, 1).await.remove(0);
    let most = Cost::MOST.0;
    assert!(
        !reserve(harness, run, queue.lease, (most, most), most).await,
        "no room, and no error"
    );
    harness.settle(completed(queue.lease, 0, 1)).await;
    assert_eq!(summary(harness, run).await.cost, Cost::MOST);
}

pub(crate) async fn routes_are_remembered_with_the_time_they_were_open(harness: &mut Harness) {
    let run = harness.run("a").await;
    let note = |state: &'static str, since: i64| RouteState {
        route: "primary".to_owned(),
        state,
        reason: (state != "closed").then(|| "down".to_owned()),
        since,
        open_ms: 0,
    };
    for (state, since) in [
        ("open", 1000),
        ("half_open", 1600),
        ("open", 1700),
        ("closed", 2000),
        ("paused", 5000),
    ] {
        harness
            .store()
            .note_routes(run, vec![note(state, since)])
            .await
            .expect("notes");
    }
    let known = harness.store().routes(run).await.expect("reads");
    let expected = RouteState {
        open_ms: 1000,
        ..note("paused", 5000)
    };
    assert_eq!(known, [expected]);
    harness.run("a").await;
    let known = harness.store().routes(run).await.expect("reads");
    assert_eq!(
        (known[0].state, known[0].open_ms),
        ("closed", 1000),
        "a new process knows nothing ill"
    );
}
