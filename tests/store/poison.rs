//! What crashes and panics do to the requests that were in flight: recorded, in quarantine, `poison`.

use std::time::Duration;

use nova3::domain::failure::Class;
use nova3::domain::state::TaskStatus;
use nova3::store::sqlite::SqliteStore;
use nova3::store::{Changes, Claimable, Claimed, Failures, Owner, Queues, RunId, Settled, Then};

use crate::bed::{self, Bed, Draft, LEASE_MS, block_on, id, ids, planned, request};

/// A crash, with whatever is leased; answers whether the engine can crash.
async fn crash(bed: &mut Bed) -> bool {
    if !bed.crash().await {
        return false;
    }
    bed.run("a").await;
    true
}

async fn group(bed: &Bed, owner: &str, run: RunId) -> Vec<Claimed> {
    bed.claim_as(owner, run, Claimable::Quarantined, 9).await
}

/// A crash while the process works on a group of the quarantine; answers who was in it.
async fn crash_at_work(bed: &mut Bed, owner: &str, run: RunId) -> Vec<String> {
    let claimed = ids(&group(bed, owner, run).await);
    crash(bed).await;
    claimed
}

/// A run in which these requests are in quarantine; `None` if the engine cannot crash.
async fn quarantined(bed: &mut Bed, input: &[Draft]) -> Option<RunId> {
    let run = bed.run("a").await;
    bed.read(run, input).await;
    for _ in 0..2 {
        bed.claim(run, 9).await;
        if !crash(bed).await {
            return None;
        }
    }
    Some(run)
}

/// The request, which is recorded, fails as `poison`: it is worked on at a crash in company, and at two alone.
async fn poison(bed: &mut Bed, run: RunId, name: &str) {
    for queue in bed.claim(run, 9).await {
        if id(&queue) != name {
            bed.waits(&queue).await;
        }
    }
    crash(bed).await;
    assert_eq!(crash_at_work(bed, "p", run).await, [name]);
    assert_eq!(crash_at_work(bed, "q", run).await, [name]);
}

pub(crate) async fn a_first_crash_is_only_recorded(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(run, &[request("x"), request("y")]).await;
    let queues = bed.claim(run, 9).await;
    assert!(queues.iter().all(|queue| !queue.is_recorded));
    if !crash(bed).await {
        return;
    }
    assert!(group(bed, "p", run).await.is_empty());
    let queues = bed.claim(run, 9).await;
    assert_eq!(ids(&queues), ["x", "y"]);
    assert!(queues.iter().all(|queue| queue.is_recorded));
}

pub(crate) async fn a_crash_counts_against_no_request_that_waits(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(run, &[request("x"), request("y")]).await;
    for _ in 0..9 {
        let queues = bed.claim(run, 9).await;
        assert_eq!(ids(&queues), ["x", "y"]);
        for queue in &queues {
            bed.waits(queue).await;
        }
        if !crash(bed).await {
            return;
        }
    }
    assert_eq!(bed.drain(run).await, ["x", "y"]);
}

pub(crate) async fn a_crash_at_work_means_quarantine(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(run, &[request("x"), request("y"), request("z")]).await;
    bed.claim(run, 9).await;
    if !crash(bed).await {
        return;
    }
    let queues = bed.claim(run, 9).await;
    bed.waits(&queues[2]).await;
    crash(bed).await;
    let others = bed.claim(run, 9).await;
    assert_eq!(ids(&others), ["z"], "the others run before");
    assert!(group(bed, "a test", run).await.is_empty(), "its owner holds `z`");
    bed.done(&others[0]).await;
    let queues = group(bed, "p", run).await;
    assert_eq!(ids(&queues), ["x", "y"], "both at a time");
    assert!(group(bed, "p", run).await.is_empty());
    for queue in &queues {
        assert_eq!(bed.done(queue).await, Settled::Finished { ok: true });
    }
}

pub(crate) async fn groups_are_halved_until_one_is_alone(bed: &mut Bed) {
    let names = ["a", "b", "c", "d", "e"];
    let input: Vec<Draft> = names.iter().map(|name| request(name)).collect();
    let Some(run) = quarantined(bed, &input).await else {
        return;
    };
    assert_eq!(crash_at_work(bed, "p", run).await, names);
    let half = group(bed, "q", run).await;
    assert_eq!(ids(&half), ["a", "b", "c"]);
    for queue in &half {
        bed.done(queue).await;
    }
    assert_eq!(crash_at_work(bed, "q", run).await, ["d", "e"]);
    for name in ["d", "e"] {
        let one = group(bed, "r", run).await;
        assert_eq!(ids(&one), [name]);
        bed.done(&one[0]).await;
    }
    assert!(!bed.store().has_unfinished(run).await.expect("reads"));
}

pub(crate) async fn who_waits_at_a_crash_of_its_group_keeps_its_room(bed: &mut Bed) {
    let input = ["a", "b", "c", "d"].map(request);
    let Some(run) = quarantined(bed, &input).await else {
        return;
    };
    for queue in &group(bed, "p", run).await[1..] {
        bed.waits(queue).await;
    }
    crash(bed).await;
    let innocent = group(bed, "q", run).await;
    assert_eq!(ids(&innocent), ["b", "c", "d"]);
    for queue in &innocent {
        bed.done(queue).await;
    }
    let one = group(bed, "q", run).await;
    assert_eq!(ids(&one), ["a"]);
    bed.waits(&one[0]).await;
    for owner in ["q", "r", "s"] {
        crash(bed).await;
        let one = group(bed, owner, run).await;
        assert_eq!(ids(&one), ["a"], "alone, and it waits");
        bed.waits(&one[0]).await;
    }
    crash(bed).await;
    assert_eq!(crash_at_work(bed, "t", run).await, ["a"]);
    assert_eq!(crash_at_work(bed, "u", run).await, ["a"]);
    assert_eq!(bed.names(run).await[3..], ["a@0 failed skipped[]"]);
}

pub(crate) async fn two_crashes_alone_under_different_owners_are_poison(bed: &mut Bed) {
    let Some(run) = quarantined(bed, &[request("x").tasks(3)]).await else {
        return;
    };
    for _ in 0..3 {
        assert_eq!(
            crash_at_work(bed, "p", run).await,
            ["x"],
            "one owner is counted once"
        );
    }
    assert!(bed.finished(run).await.is_empty());
    assert_eq!(crash_at_work(bed, "q", run).await, ["x"]);
    assert_eq!(bed.names(run).await, ["x@0 failed skipped[] skipped[] skipped[]"]);
    let row = bed.finished(run).await.remove(0);
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
    let summary = bed.store().summary(run).await.expect("reads");
    assert_eq!(summary.attempts, 0, "nobody called");
    assert!(!bed.store().has_unfinished(run).await.expect("reads"));
}

pub(crate) async fn a_poisoned_request_lets_its_session_go_on(bed: &mut Bed) {
    let input = [request("x").session("s"), request("y").session("s")];
    let Some(run) = quarantined(bed, &input).await else {
        return;
    };
    assert!(bed.claim(run, 9).await.is_empty(), "`y` waits for its turn");
    poison(bed, run, "x").await;
    assert_eq!(ids(&bed.claim(run, 9).await), ["y"], "it was never there");
}

pub(crate) async fn whatever_is_settled_clears(bed: &mut Bed) {
    let Some(run) = quarantined(bed, &[request("x").tasks(2)]).await else {
        return;
    };
    assert_eq!(crash_at_work(bed, "p", run).await, ["x"]);
    let x = group(bed, "q", run).await.remove(0);
    assert_eq!(bed.make(&x, 0, Then::GoOn).await, Settled::Stepped);
    crash(bed).await;
    let x = bed.claim_one(run).await;
    assert_eq!((id(&x), x.current_task), ("x".to_owned(), 1));
    bed.done(&x).await;
    bed.read(run, &[request("x").tasks(2), request("y").tasks(0)])
        .await;
    for _ in 0..2 {
        bed.claim(run, 9).await;
        crash(bed).await;
    }
    let y = group(bed, "r", run).await.remove(0);
    let plan = planned(y.lease, &["answer"]);
    assert_eq!(bed.settle_plan(plan).await, Settled::Stepped);
    crash(bed).await;
    assert_eq!(ids(&bed.claim(run, 9).await), ["y"], "it has its plan");
}

pub(crate) async fn a_clean_end_is_no_crash(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(run, &[request("x")]).await;
    for _ in 0..9 {
        let queue = bed.claim_one(run).await;
        bed.release(&queue).await;
    }
    for _ in 0..2 {
        bed.claim_one(run).await;
        if !crash(bed).await {
            return;
        }
    }
    for owner in ["p", "q", "r"] {
        let queue = group(bed, owner, run).await.remove(0);
        bed.release(&queue).await;
    }
    assert_eq!(ids(&group(bed, "s", run).await), ["x"]);
    assert!(bed.finished(run).await.is_empty());
}

pub(crate) async fn a_poisoned_request_can_be_retried(bed: &mut Bed) {
    let Some(run) = quarantined(bed, &[request("x").tasks(2)]).await else {
        return;
    };
    poison(bed, run, "x").await;
    let which = Failures {
        classes: vec![Class::Poison],
        ids: vec![],
    };
    assert_eq!(bed.store().retry(run, &which).await.expect("retries"), 1);
    let x = bed.claim_one(run).await;
    assert!(!x.is_recorded, "it begins anew");
    bed.release(&x).await;
    assert_eq!(bed.drain(run).await, ["x"]);
    assert_eq!(
        bed.names(run).await,
        ["x@0 completed completed[answer1] completed[answer2]"]
    );
}

pub(crate) async fn the_end_of_a_poisoned_request_is_told(bed: &mut Bed) {
    let input = [
        request("x").tasks(2),
        request("y").tasks(2),
        request("z").tasks(0),
    ];
    let run = bed.run("a").await;
    bed.read(run, &input).await;
    let y = &bed.claim(run, 9).await[1];
    bed.done(y).await;
    if !crash(bed).await {
        return;
    }
    for name in ["x", "y", "z"] {
        poison(bed, run, name).await;
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
    assert_eq!(bed.events(run, true).await, told);
    bed.retry(run).await;
    let x = &bed.claim(run, 1).await[0];
    bed.done(x).await;
    let events = bed.events(run, true).await;
    assert_eq!(events[..told.len()], told, "what was told stays told");
    assert_eq!(
        events[told.len()..],
        ["x/2 planned answer,answer", "x/2 task001[answer1]"]
    );
}

pub(crate) async fn quarantine_counts_as_unfinished(bed: &mut Bed) {
    let Some(run) = quarantined(bed, &[request("x")]).await else {
        return;
    };
    assert!(bed.claim(run, 9).await.is_empty());
    assert!(bed.store().has_unfinished(run).await.expect("reads"));
    let counts = bed.store().counts(run).await.expect("counts");
    assert_eq!((counts.total, counts.unfinished()), (1, 1));
}

pub(crate) async fn panics_are_counted_until_something_is_settled(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(run, &[request("x").tasks(3)]).await;
    let x = bed.claim_one(run).await;
    let note = async |bed: &Bed, queue: &Claimed, panics| {
        let noted = bed.store().note_panics(queue.lease, panics).await;
        noted.expect("notes")
    };
    assert_eq!(x.panics, 0);
    assert!(note(bed, &x, 1).await);
    assert!(note(bed, &x, 1).await, "said twice, it is one panic");
    bed.release(&x).await;
    assert!(!note(bed, &x, 2).await, "the lease is lost");
    let x = bed.claim_one(run).await;
    assert_eq!(x.panics, 1, "under another owner too");
    assert_eq!(bed.done(&x).await, Settled::Stepped);
    bed.release(&x).await;
    let x = bed.claim_one(run).await;
    assert_eq!(x.panics, 0, "another task begins anew");
    assert!(note(bed, &x, 2).await);
    bed.fail(&x, Class::Poison).await;
    bed.retry(run).await;
    assert_eq!(bed.claim_one(run).await.panics, 0);
}

#[test]
fn an_end_that_could_give_nothing_back_is_no_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nova3.db");
    let input = [request("x")];
    for life in 0..9 {
        let store = SqliteStore::open(&path, Duration::ZERO, "a test").expect("opens");
        block_on(async {
            let run = store.open_run(&bed::opening("a")).await.expect("opens").id;
            let epoch = store.begin_ingest(run).await.expect("begins");
            store
                .add(run, epoch, bed::lines(&input), Changes::Replace)
                .await
                .expect("adds");
            store.end_ingest(run, epoch, &bed::mark(1)).await.expect("ends");
            let owner = Owner(life.to_string());
            let claimed = store.claim(run, &owner, Claimable::All, 9, LEASE_MS).await;
            assert_eq!(ids(&claimed.expect("claims").queues), ["x"], "in life {life}");
        });
        // As a process ends whose disk is full: of itself, and with its leases.
        drop(store);
    }
}
