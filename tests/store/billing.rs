//! The bill: sums over the ledger of all runs, by what a user asks for.

use nova3::domain::failure::Class;
use nova3::domain::lane::Lane;
use nova3::domain::outcome::{Attempt, CallEnd};
use nova3::domain::task::TaskNo;
use nova3::domain::usage::{Cost, CostSum};
use nova3::store::{
    Hold, RedoneQueue, RedoneTask, ReleasedLease, Reservation, RunId, Settled, Settlement, Then, UsageFilter,
    UsageKey, UsageQuery, UsageRow, UsageSums,
};

use crate::store::harness::{Harness, attempt, items, making, planned, request};

const DAY_MS: i64 = 86_400_000;

async fn usage_of(harness: &Harness, by: &[UsageKey], filter: UsageFilter) -> Vec<UsageRow> {
    let wanted = UsageQuery {
        by: by.to_vec(),
        filter,
        most: 1000,
    };
    harness.store().usage(&wanted).await.expect("reads")
}

/// The rows in short form: keys, calls and cost.
async fn shown(harness: &Harness, by: &[UsageKey], filter: UsageFilter) -> Vec<String> {
    let show = |row: &UsageRow| {
        let keys: Vec<&str> = row.keys.iter().map(|key| key.as_deref().unwrap_or("-")).collect();
        format!("{}: {} for {}", keys.join(" "), row.sums.calls, row.sums.cost.0)
    };
    usage_of(harness, by, filter).await.iter().map(show).collect()
}

async fn total(harness: &Harness, run: RunId) -> UsageSums {
    let filter = UsageFilter {
        run: Some(run),
        ..UsageFilter::default()
    };
    let rows = usage_of(harness, &[], filter).await;
    assert_eq!(rows.len(), 1, "without a key there is one group");
    rows[0].sums
}

/// The bill of the run has the sums of its summary.
async fn is_the_summary(harness: &Harness, run: RunId) {
    let (sums, summary) = (
        total(harness, run).await,
        harness.store().summary(run).await.expect("reads"),
    );
    assert_eq!(
        (sums.calls, sums.failed, sums.unpriced, sums.usage),
        (
            summary.attempts,
            summary.failed_attempts,
            summary.unpriced,
            summary.usage
        )
    );
    assert_eq!(
        [sums.cost, sums.wasted, sums.uncertain],
        [summary.cost, summary.wasted, summary.uncertain].map(CostSum::from)
    );
}

fn search_call(cost: u64) -> Attempt {
    Attempt {
        route: "search:jina".to_owned(),
        model: String::new(),
        ..attempt(None, cost)
    }
}

fn lost(uncertain: u64) -> Attempt {
    Attempt {
        end: CallEnd::Abandoned,
        used: false,
        uncertain: Cost(uncertain),
        ..attempt(Some(Class::Network), 0)
    }
}

pub(crate) async fn the_bill_of_a_run_is_its_summary(harness: &mut Harness) {
    let run = harness.run("a").await;
    is_the_summary(harness, run).await;
    let drafts = [
        request("x").session("s").user("ann").tasks(2),
        request("y").unplanned(),
    ];
    harness.read(run, &drafts).await;
    let mut queues = harness.claim(run, 2).await;
    let (y, x) = (queues.pop().expect("two"), queues.pop().expect("two"));
    // A search, a failed call, a lost call, a call without a price, and an answer.
    let unpriced = Attempt {
        cost: None,
        lane: Lane::of_tier(Some("flex")),
        ..attempt(Some(Class::Schema), 0)
    };
    let calls = vec![
        search_call(5),
        attempt(Some(Class::Server), 7),
        lost(900),
        unpriced,
        attempt(None, 100),
    ];
    let settlement = Settlement::completed(x.lease, 0, items(1), Then::GoOn, making(100), calls);
    harness.settle(settlement).await;
    harness.settle_plan(planned(y.lease, &["answer"])).await;
    is_the_summary(harness, run).await;
    let sums = total(harness, run).await;
    assert_eq!(
        (sums.calls, sums.searches, sums.failed, sums.unpriced),
        (6, 1, 3, 1)
    );

    // A retried task, and a task that is made anew.
    assert_eq!(
        harness
            .fail(&x_again(harness, run, &x).await, Class::Server)
            .await,
        Settled::Finished { ok: false }
    );
    harness.retry(run).await;
    harness.drain(run).await;
    let finished = harness.finished(run).await;
    let redone = RedoneQueue {
        queue_id: finished[0].queue_id,
        tasks: vec![RedoneTask {
            index: 0,
            needs: Vec::new(),
        }],
    };
    harness.store().redo(run, vec![redone]).await.expect("redoes");
    harness.drain(run).await;
    is_the_summary(harness, run).await;

    // A call under a lost lease.
    harness.read(run, &[request("z")]).await;
    let stale = harness.claim_one(run).await;
    let left = vec![ReleasedLease::untouched(stale.lease)];
    harness.store().release(left).await.expect("releases");
    assert_eq!(harness.done(&stale).await, Settled::LostLease);
    is_the_summary(harness, run).await;
    let filter = UsageFilter {
        run: Some(run),
        ..UsageFilter::default()
    };
    let waste = shown(harness, &[UsageKey::Cause], filter).await;
    assert!(waste.iter().any(|row| row.starts_with("repeated: ")), "{waste:?}");
    assert!(
        waste.iter().any(|row| row.starts_with("abandoned: 1 ")),
        "{waste:?}"
    );
}

/// The lease of the queue's second task.
async fn x_again(harness: &Harness, run: RunId, x: &nova3::store::Claimed) -> nova3::store::Claimed {
    let left = vec![ReleasedLease::untouched(x.lease)];
    harness.store().release(left).await.expect("releases");
    let queues = harness.claim(run, 10).await;
    let found = queues
        .into_iter()
        .find(|queue| queue.lease.queue_id == x.lease.queue_id);
    found.expect("it can be claimed again")
}

/// Two runs: a request with a search, a failed call and an answer, a planned request, and one of the next day that flex served.
/// Returns the second run.
async fn two_runs(harness: &Harness) -> RunId {
    let first = harness.run("a").await;
    let second = harness.run("b \u{0}\"").await;
    let drafts = [
        request("x").user("ann").session("s"),
        request("y").user("bob").unplanned(),
    ];
    harness.read(first, &drafts).await;
    harness.read(second, &[request("z").user("ann")]).await;
    let mut queues = harness.claim(first, 2).await;
    let unplanned = queues.pop().expect("two");
    let seen = queues.pop().expect("two");
    let other = harness.claim_one(second).await;
    let late = Attempt {
        started_at: DAY_MS + 5,
        lane: Lane::of_tier(Some("flex")),
        model: "n".to_owned(),
        ..attempt(None, 50)
    };
    let calls = vec![search_call(1), attempt(Some(Class::Server), 2), attempt(None, 10)];
    let settlement = Settlement::completed(seen.lease, 0, items(1), Then::GoOn, making(10), calls);
    harness.settle(settlement).await;
    let settlement = Settlement::completed(other.lease, 0, items(1), Then::GoOn, making(50), vec![late]);
    harness.settle(settlement).await;
    harness.settle_plan(planned(unplanned.lease, &["answer"])).await;
    second
}

pub(crate) async fn calls_are_grouped_by_every_key(harness: &mut Harness) {
    assert_eq!(
        usage_of(harness, &[UsageKey::Day], UsageFilter::default()).await,
        [],
        "a store without calls has no groups"
    );
    two_runs(harness).await;
    let all = UsageFilter::default;
    let one = |key: UsageKey| [key];
    for (key, expected) in [
        (
            UsageKey::Day,
            ["1970-01-01: 4 for 23", "1970-01-02: 1 for 50"].as_slice(),
        ),
        (UsageKey::User, &["ann: 4 for 63", "bob: 1 for 10"]),
        (UsageKey::Run, &["a: 4 for 23", "b \u{0}\": 1 for 50"]),
        (UsageKey::Session, &["-: 2 for 60", "s: 3 for 13"]),
        (UsageKey::Agent, &["answer: 4 for 63", "supervisor: 1 for 10"]),
        (UsageKey::Route, &["primary: 4 for 72", "search:jina: 1 for 1"]),
        (UsageKey::Model, &[": 1 for 1", "m: 3 for 22", "n: 1 for 50"]),
        (UsageKey::Lane, &["flex: 1 for 50", "live: 4 for 23"]),
        (UsageKey::Cause, &["-: 4 for 71", "server: 1 for 2"]),
    ] {
        assert_eq!(shown(harness, &one(key), all()).await, expected, "{key:?}");
    }
    assert_eq!(
        shown(harness, &[UsageKey::Lane, UsageKey::User, UsageKey::Day], all()).await,
        [
            "flex ann 1970-01-02: 1 for 50",
            "live ann 1970-01-01: 3 for 13",
            "live bob 1970-01-01: 1 for 10"
        ]
    );
    let by_all = usage_of(harness, &UsageKey::ALL, all()).await;
    let sum = by_all
        .iter()
        .fold(UsageSums::default(), |sum, row| sum.plus(row.sums));
    assert_eq!(
        sum,
        usage_of(harness, &[], all()).await[0].sums,
        "the groups are all calls"
    );
    let few = UsageQuery {
        by: UsageKey::ALL.to_vec(),
        filter: all(),
        most: 2,
    };
    assert_eq!(harness.store().usage(&few).await.expect("reads").len(), 2);
}

pub(crate) async fn a_bill_can_be_of_some_calls_only(harness: &mut Harness) {
    let second = two_runs(harness).await;
    let all = UsageFilter::default;
    let filtered = |filter: UsageFilter| async { shown(harness, &[UsageKey::Run], filter).await };
    let of_user = UsageFilter {
        user: Some("ann".to_owned()),
        ..all()
    };
    assert_eq!(
        filtered(of_user.clone()).await,
        ["a: 3 for 13", "b \u{0}\": 1 for 50"]
    );
    let of_run = UsageFilter {
        run: Some(second),
        ..all()
    };
    assert_eq!(filtered(of_run).await, ["b \u{0}\": 1 for 50"]);
    let early = UsageFilter {
        until: Some(DAY_MS),
        ..of_user
    };
    assert_eq!(filtered(early).await, ["a: 3 for 13"]);
    let late = UsageFilter {
        since: Some(DAY_MS),
        ..all()
    };
    assert_eq!(filtered(late).await, ["b \u{0}\": 1 for 50"]);
    let nobody = UsageFilter {
        user: Some("' OR 1=1 --".to_owned()),
        ..all()
    };
    assert_eq!(filtered(nobody).await, Vec::<String>::new());
}

pub(crate) async fn a_call_that_a_crash_lost_keeps_its_lane(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x")]).await;
    let lease = harness.claim_one(run).await.lease;
    let reservation = Reservation {
        lease,
        task: TaskNo::planned(0),
        route: "primary".to_owned(),
        model: "m".to_owned(),
        lane: Lane::of_tier(Some("flex")),
        spent: Cost::ZERO,
        worst: Cost(70),
    };
    let held = harness.store().reserve(run, &reservation, Cost(100)).await;
    assert_eq!(held.expect("reserves"), Hold::Held);
    if !harness.crash().await {
        return;
    }
    let rows = usage_of(
        harness,
        &[UsageKey::Lane, UsageKey::Model, UsageKey::Cause],
        UsageFilter::default(),
    )
    .await;
    let keys = ["flex", "m", "abandoned"].map(|key| Some(key.to_owned()));
    assert_eq!((rows.len(), rows[0].keys.as_slice()), (1, keys.as_slice()));
    assert_eq!(rows[0].sums.uncertain, CostSum(70));
}

pub(crate) async fn sums_of_the_bill_have_no_cap(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x")]).await;
    let dear = || Attempt {
        uncertain: Cost::MOST,
        ..attempt(Some(Class::Network), Cost::MOST.0 - 1)
    };
    for _ in 0..3 {
        let left = ReleasedLease {
            task: TaskNo::planned(0),
            attempts: vec![dear(), dear(), dear()],
            ..ReleasedLease::untouched(harness.claim_one(run).await.lease)
        };
        harness.store().release(vec![left]).await.expect("releases");
    }
    let sums = total(harness, run).await;
    let most = u128::from(Cost::MOST.0);
    assert_eq!(
        sums.cost,
        CostSum(9 * (most - 1)),
        "above the integers of the stores"
    );
    assert_eq!(sums.uncertain, CostSum(9 * most));
}
