//! The effect of crashes and panics on requests in flight: recorded, in quarantine, `poison`.

use std::time::Duration;

use nova3::domain::failure::Class;
use nova3::domain::state::TaskStatus;
use nova3::store::sqlite::SqliteStore;
use nova3::store::{
    Changes, Claimable, Claimed, Failures, Ingest, Leases, Owner, RunId, Runs, Settled, Then,
};

use crate::store::harness::{self, Draft, Harness, LEASE_MS, block_on, id, ids, planned, request};

/// A crash with all present leases. Returns whether the engine can crash.
async fn crash(harness: &mut Harness) -> bool {
    if !harness.crash().await {
        return false;
    }
    harness.run("a").await;
    true
}

async fn group(harness: &Harness, owner: &str, run: RunId) -> Vec<Claimed> {
    harness.claim_as(owner, run, Claimable::Quarantined, 9).await
}

/// A crash while the process works on a quarantine group. Returns the members of the group.
async fn crash_at_work(harness: &mut Harness, owner: &str, run: RunId) -> Vec<String> {
    let claimed = ids(&group(harness, owner, run).await);
    crash(harness).await;
    claimed
}

/// A run in which these requests are in quarantine. `None` if the engine cannot crash.
async fn quarantined(harness: &mut Harness, input: &[Draft]) -> Option<RunId> {
    let run = harness.run("a").await;
    harness.read(run, input).await;
    for _ in 0..2 {
        harness.claim(run, 9).await;
        if !crash(harness).await {
            return None;
        }
    }
    Some(run)
}

/// Makes the recorded request fail as `poison`: it is worked on at one crash in a group, and at two crashes alone.
async fn poison(harness: &mut Harness, run: RunId, name: &str) {
    for queue in harness.claim(run, 9).await {
        if id(&queue) != name {
            harness.waits(&queue).await;
        }
    }
    crash(harness).await;
    assert_eq!(crash_at_work(harness, "p", run).await, [name]);
    assert_eq!(crash_at_work(harness, "q", run).await, [name]);
}

pub(crate) async fn a_first_crash_is_only_recorded(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x"), request("y")]).await;
    let queues = harness.claim(run, 9).await;
    assert!(queues.iter().all(|queue| !queue.is_recorded));
    if !crash(harness).await {
        return;
    }
    assert!(group(harness, "p", run).await.is_empty());
    let queues = harness.claim(run, 9).await;
    assert_eq!(ids(&queues), ["x", "y"]);
    assert!(queues.iter().all(|queue| queue.is_recorded));
}

pub(crate) async fn a_crash_counts_against_no_request_that_waits(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x"), request("y")]).await;
    for _ in 0..9 {
        let queues = harness.claim(run, 9).await;
        assert_eq!(ids(&queues), ["x", "y"]);
        for queue in &queues {
            harness.waits(queue).await;
        }
        if !crash(harness).await {
            return;
        }
    }
    assert_eq!(harness.drain(run).await, ["x", "y"]);
}

pub(crate) async fn a_crash_at_work_means_quarantine(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness
        .read(run, &[request("x"), request("y"), request("z")])
        .await;
    harness.claim(run, 9).await;
    if !crash(harness).await {
        return;
    }
    let queues = harness.claim(run, 9).await;
    harness.waits(&queues[2]).await;
    crash(harness).await;
    let others = harness.claim(run, 9).await;
    assert_eq!(ids(&others), ["z"], "the others run before");
    assert!(
        group(harness, "a test", run).await.is_empty(),
        "its owner holds `z`"
    );
    harness.done(&others[0]).await;
    let queues = group(harness, "p", run).await;
    assert_eq!(ids(&queues), ["x", "y"], "both at a time");
    assert!(group(harness, "p", run).await.is_empty());
    for queue in &queues {
        assert_eq!(harness.done(queue).await, Settled::Finished { ok: true });
    }
}

pub(crate) async fn groups_are_halved_until_one_is_alone(harness: &mut Harness) {
    let names = ["a", "b", "c", "d", "e"];
    let input: Vec<Draft> = names.iter().map(|name| request(name)).collect();
    let Some(run) = quarantined(harness, &input).await else {
        return;
    };
    assert_eq!(crash_at_work(harness, "p", run).await, names);
    let half = group(harness, "q", run).await;
    assert_eq!(ids(&half), ["a", "b", "c"]);
    for queue in &half {
        harness.done(queue).await;
    }
    assert_eq!(crash_at_work(harness, "q", run).await, ["d", "e"]);
    for name in ["d", "e"] {
        let one = group(harness, "r", run).await;
        assert_eq!(ids(&one), [name]);
        harness.done(&one[0]).await;
    }
    assert!(!harness.store().has_unfinished(run).await.expect("reads"));
}

pub(crate) async fn who_waits_at_a_crash_of_its_group_keeps_its_room(harness: &mut Harness) {
    let input = ["a", "b", "c", "d"].map(request);
    let Some(run) = quarantined(harness, &input).await else {
        return;
    };
    for queue in &group(harness, "p", run).await[1..] {
        harness.waits(queue).await;
    }
    crash(harness).await;
    let innocent = group(harness, "q", run).await;
    assert_eq!(ids(&innocent), ["b", "c", "d"]);
    for queue in &innocent {
        harness.done(queue).await;
    }
    let one = group(harness, "q", run).await;
    assert_eq!(ids(&one), ["a"]);
    harness.waits(&one[0]).await;
    for owner in ["q", "r", "s"] {
        crash(harness).await;
        let one = group(harness, owner, run).await;
        assert_eq!(ids(&one), ["a"], "alone, and it waits");
        harness.waits(&one[0]).await;
    }
    crash(harness).await;
    assert_eq!(crash_at_work(harness, "t", run).await, ["a"]);
    assert_eq!(crash_at_work(harness, "u", run).await, ["a"]);
    assert_eq!(harness.names(run).await[3..], ["a@0 failed skipped[]"]);
}

pub(crate) async fn two_crashes_alone_under_different_owners_are_poison(harness: &mut Harness) {
    let Some(run) = quarantined(harness, &[request("x").tasks(3)]).await else {
        return;
    };
    for _ in 0..3 {
        assert_eq!(
            crash_at_work(harness, "p", run).await,
            ["x"],
            "one owner is counted once"
        );
    }
    assert!(harness.finished(run).await.is_empty());
    assert_eq!(crash_at_work(harness, "q", run).await, ["x"]);
    assert_eq!(
        harness.names(run).await,
        ["x@0 failed skipped[] skipped[] skipped[]"]
    );
    let row = harness.finished(run).await.remove(0);
    let failure = row.failure.expect("it failed");
    assert_eq!(
        (failure.class, failure.task_id.as_deref(), failure.retryable),
        (Class::Poison, Some("task001"), false)
    );
    assert!(
        failure.message.contains("nova3 crashed 6 times"),
        "{}",
        failure.message
    );
    assert!(failure.message.contains("`nova3 retry --class poison`"));
    assert_eq!(row.tasks[0].status, TaskStatus::Skipped);
    let summary = harness.store().summary(run).await.expect("reads");
    assert_eq!(summary.attempts, 0, "no call was made");
    assert!(!harness.store().has_unfinished(run).await.expect("reads"));
}

pub(crate) async fn a_poisoned_request_lets_its_session_go_on(harness: &mut Harness) {
    let input = [request("x").session("s"), request("y").session("s")];
    let Some(run) = quarantined(harness, &input).await else {
        return;
    };
    assert!(harness.claim(run, 9).await.is_empty(), "`y` waits for its turn");
    poison(harness, run, "x").await;
    assert_eq!(ids(&harness.claim(run, 9).await), ["y"], "it was never there");
}

pub(crate) async fn whatever_is_settled_clears(harness: &mut Harness) {
    let Some(run) = quarantined(harness, &[request("x").tasks(2)]).await else {
        return;
    };
    assert_eq!(crash_at_work(harness, "p", run).await, ["x"]);
    let x = group(harness, "q", run).await.remove(0);
    assert_eq!(harness.make(&x, 0, Then::GoOn).await, Settled::Stepped);
    crash(harness).await;
    let x = harness.claim_one(run).await;
    assert_eq!((id(&x), x.current_task), ("x".to_owned(), 1));
    harness.done(&x).await;
    harness
        .read(run, &[request("x").tasks(2), request("y").tasks(0)])
        .await;
    for _ in 0..2 {
        harness.claim(run, 9).await;
        crash(harness).await;
    }
    let y = group(harness, "r", run).await.remove(0);
    let plan = planned(y.lease, &["answer"]);
    assert_eq!(harness.settle_plan(plan).await, Settled::Stepped);
    crash(harness).await;
    assert_eq!(ids(&harness.claim(run, 9).await), ["y"], "it has its plan");
}

pub(crate) async fn a_clean_end_is_no_crash(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x")]).await;
    for _ in 0..9 {
        let queue = harness.claim_one(run).await;
        harness.release(&queue).await;
    }
    for _ in 0..2 {
        harness.claim_one(run).await;
        if !crash(harness).await {
            return;
        }
    }
    for owner in ["p", "q", "r"] {
        let queue = group(harness, owner, run).await.remove(0);
        harness.release(&queue).await;
    }
    assert_eq!(ids(&group(harness, "s", run).await), ["x"]);
    assert!(harness.finished(run).await.is_empty());
}

pub(crate) async fn a_poisoned_request_can_be_retried(harness: &mut Harness) {
    let Some(run) = quarantined(harness, &[request("x").tasks(2)]).await else {
        return;
    };
    poison(harness, run, "x").await;
    let which = Failures {
        classes: vec![Class::Poison],
        ids: vec![],
    };
    assert_eq!(harness.store().retry(run, &which).await.expect("retries"), 1);
    let x = harness.claim_one(run).await;
    assert!(!x.is_recorded, "it begins anew");
    harness.release(&x).await;
    assert_eq!(harness.drain(run).await, ["x"]);
    assert_eq!(
        harness.names(run).await,
        ["x@0 completed completed[answer1] completed[answer2]"]
    );
}

pub(crate) async fn the_end_of_a_poisoned_request_is_told(harness: &mut Harness) {
    let input = [
        request("x").tasks(2),
        request("y").tasks(2),
        request("z").tasks(0),
    ];
    let run = harness.run("a").await;
    harness.read(run, &input).await;
    let y = &harness.claim(run, 9).await[1];
    harness.done(y).await;
    if !crash(harness).await {
        return;
    }
    for name in ["x", "y", "z"] {
        poison(harness, run, name).await;
    }
    let told = [
        "y/2 planned answer,answer",
        "y/2 task001[answer1]",
        "x/0 failed - poison",
        "x/0 failed",
        "y/2 failed task002 poison",
        "y/2 failed",
        "z/0 failed - poison",
        "z/0 failed",
    ];
    assert_eq!(harness.events(run, true).await, told);
    harness.retry(run).await;
    let x = &harness.claim(run, 1).await[0];
    harness.done(x).await;
    let events = harness.events(run, true).await;
    assert_eq!(events[..told.len()], told, "what was told stays told");
    assert_eq!(
        events[told.len()..],
        ["x/2 planned answer,answer", "x/2 task001[answer1]"]
    );
}

pub(crate) async fn quarantine_counts_as_unfinished(harness: &mut Harness) {
    let Some(run) = quarantined(harness, &[request("x")]).await else {
        return;
    };
    assert!(harness.claim(run, 9).await.is_empty());
    assert!(harness.store().has_unfinished(run).await.expect("reads"));
    let counts = harness.store().counts(run).await.expect("counts");
    assert_eq!((counts.total, counts.unfinished()), (1, 1));
}

pub(crate) async fn panics_are_counted_until_something_is_settled(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").tasks(3)]).await;
    let x = harness.claim_one(run).await;
    let note = async |harness: &Harness, queue: &Claimed, panics| {
        let noted = harness.store().note_panics(queue.lease, panics).await;
        noted.expect("notes")
    };
    assert_eq!(x.panics, 0);
    assert!(note(harness, &x, 1).await);
    assert!(note(harness, &x, 1).await, "said twice, it is one panic");
    harness.release(&x).await;
    assert!(!note(harness, &x, 2).await, "the lease is lost");
    let x = harness.claim_one(run).await;
    assert_eq!(x.panics, 1, "under another owner too");
    assert_eq!(harness.done(&x).await, Settled::Stepped);
    harness.release(&x).await;
    let x = harness.claim_one(run).await;
    assert_eq!(x.panics, 0, "another task begins anew");
    assert!(note(harness, &x, 2).await);
    harness.fail(&x, Class::Poison).await;
    harness.retry(run).await;
    assert_eq!(harness.claim_one(run).await.panics, 0);
}

#[test]
fn an_end_that_could_give_nothing_back_is_no_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nova3.db");
    let input = [request("x")];
    for life in 0..9 {
        let store = SqliteStore::open(&path, Duration::ZERO, "a test").expect("opens");
        block_on(async {
            let run = store.open_run(&harness::opening("a")).await.expect("opens").id;
            let epoch = store.begin_ingest(run).await.expect("begins");
            store
                .add(run, epoch, harness::lines(&input), Changes::Replace)
                .await
                .expect("adds");
            store
                .end_ingest(run, epoch, &harness::mark(1))
                .await
                .expect("ends");
            let owner = Owner(life.to_string());
            let claimed = store.claim(run, &owner, Claimable::All, 9, LEASE_MS).await;
            assert_eq!(ids(&claimed.expect("claims").queues), ["x"], "in life {life}");
        });
        // A process whose disk is full ends like this: by itself, and with its leases.
        drop(store);
    }
}
