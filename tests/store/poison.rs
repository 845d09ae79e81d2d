//! Requests that were there when processes died: suspected, tried alone, convicted.

use std::time::Duration;

use nova3::domain::failure::Class;
use nova3::domain::state::TaskStatus;
use nova3::store::sqlite::SqliteStore;
use nova3::store::{Changes, Claimable, Claimed, Failures, Owner, Queues, RunId, Settled, Then};

use crate::bed::{self, Bed, Draft, LEASE_MS, block_on, ids, planned, request};

/// Everything that can be claimed is in flight at so many deaths; answers whether the engine can die.
async fn die(bed: &mut Bed, run: RunId, times: usize) -> bool {
    for _ in 0..times {
        bed.claim(run, 9).await;
        if !bed.crash().await {
            return false;
        }
        bed.run("a").await;
    }
    true
}

async fn suspect(bed: &Bed, owner: &str, run: RunId) -> Vec<Claimed> {
    bed.claim_as(owner, run, Claimable::Suspect, 9).await
}

/// One suspect dies alone; answers which.
async fn die_alone(bed: &mut Bed, owner: &str, run: RunId) -> Vec<String> {
    let claimed = ids(&suspect(bed, owner, run).await);
    bed.crash().await;
    bed.run("a").await;
    claimed
}

/// A run in which these requests are suspects; `None` if the engine cannot die.
async fn suspected(bed: &mut Bed, input: &[Draft]) -> Option<RunId> {
    let run = bed.run("a").await;
    bed.read(run, input).await;
    die(bed, run, 3).await.then_some(run)
}

pub(crate) async fn three_deaths_in_company_make_a_suspect(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(run, &[request("x"), request("y")]).await;
    assert!(suspect(bed, "p", run).await.is_empty());
    if !die(bed, run, 2).await {
        return;
    }
    let queues = bed.claim(run, 9).await;
    assert_eq!(ids(&queues), ["x", "y"], "twice is no suspicion");
    assert!(suspect(bed, "p", run).await.is_empty());
    bed.crash().await;
    bed.run("a").await;
    bed.read(run, &[request("x"), request("y"), request("new")]).await;
    let queues = bed.claim(run, 9).await;
    assert_eq!(ids(&queues), ["new"], "suspects are left out");
    assert!(
        suspect(bed, "a test", run).await.is_empty(),
        "it would not be alone"
    );
    bed.done(&queues[0]).await;
    let x = suspect(bed, "p", run).await;
    assert_eq!(ids(&x), ["x"], "one, whatever the limit");
    assert!(suspect(bed, "p", run).await.is_empty());
    assert_eq!(bed.done(&x[0]).await, Settled::Finished { ok: true });
    assert_eq!(ids(&suspect(bed, "p", run).await), ["y"]);
}

pub(crate) async fn two_deaths_alone_under_different_owners_convict(bed: &mut Bed) {
    let Some(run) = suspected(bed, &[request("x").tasks(3), request("y")]).await else {
        return;
    };
    for _ in 0..3 {
        assert_eq!(die_alone(bed, "p", run).await, ["x"], "one owner dies once");
    }
    assert!(bed.finished(run).await.is_empty());
    assert_eq!(die_alone(bed, "q", run).await, ["x"]);
    assert_eq!(bed.names(run).await, ["x@0 failed skipped[] skipped[] skipped[]"]);
    let row = bed.finished(run).await.remove(0);
    let failure = row.failure.expect("it failed");
    assert_eq!(
        (failure.class, failure.task_id.as_deref(), failure.retryable),
        (Class::Poison, Some("task001"), false)
    );
    assert!(
        failure.message.contains("nova3 died 7 times"),
        "{}",
        failure.message
    );
    assert!(failure.message.contains("`nova3 retry --class poison`"));
    assert_eq!(row.tasks[0].status, TaskStatus::Skipped);
    let summary = bed.store().summary(run).await.expect("reads");
    assert_eq!(summary.attempts, 0, "nobody called");
    let y = suspect(bed, "r", run).await;
    assert_eq!(ids(&y), ["y"], "innocents have their turn");
    bed.done(&y[0]).await;
    assert!(!bed.store().has_unfinished(run).await.expect("reads"));
}

pub(crate) async fn a_convicted_request_lets_its_session_go_on(bed: &mut Bed) {
    let input = [request("x").session("s"), request("y").session("s")];
    let Some(run) = suspected(bed, &input).await else {
        return;
    };
    assert!(bed.claim(run, 9).await.is_empty(), "`y` waits for its turn");
    die_alone(bed, "p", run).await;
    die_alone(bed, "q", run).await;
    assert_eq!(ids(&bed.claim(run, 9).await), ["y"], "it was never there");
}

pub(crate) async fn whatever_is_settled_clears(bed: &mut Bed) {
    let input = [request("x").tasks(2), request("y").tasks(0)];
    let Some(run) = suspected(bed, &input).await else {
        return;
    };
    assert_eq!(die_alone(bed, "p", run).await, ["x"]);
    let x = suspect(bed, "q", run).await.remove(0);
    assert_eq!(bed.make(&x, 0, Then::GoOn).await, Settled::Stepped);
    assert!(bed.claim(run, 9).await.is_empty());
    bed.crash().await;
    bed.run("a").await;
    let x = bed.claim_one(run).await;
    assert_eq!(
        (ids(std::slice::from_ref(&x)), x.current_task),
        (vec!["x".to_owned()], 1)
    );
    bed.done(&x).await;
    let y = suspect(bed, "r", run).await.remove(0);
    assert_eq!(
        bed.settle_plan(planned(y.lease, &["answer"])).await,
        Settled::Stepped
    );
    bed.crash().await;
    bed.run("a").await;
    assert_eq!(ids(&bed.claim(run, 9).await), ["y"], "it has its plan");
}

pub(crate) async fn a_clean_end_accuses_nobody(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(run, &[request("x")]).await;
    for _ in 0..9 {
        let queue = bed.claim_one(run).await;
        bed.release(&queue).await;
    }
    if !die(bed, run, 3).await {
        return;
    }
    for owner in ["p", "q", "r"] {
        let queue = suspect(bed, owner, run).await.remove(0);
        bed.release(&queue).await;
    }
    assert_eq!(ids(&suspect(bed, "s", run).await), ["x"]);
    assert!(bed.finished(run).await.is_empty());
}

pub(crate) async fn a_convicted_request_can_be_retried(bed: &mut Bed) {
    let Some(run) = suspected(bed, &[request("x").tasks(2)]).await else {
        return;
    };
    die_alone(bed, "p", run).await;
    die_alone(bed, "q", run).await;
    let which = Failures {
        classes: vec![Class::Poison],
        ids: vec![],
    };
    assert_eq!(bed.store().retry(run, &which).await.expect("retries"), 1);
    assert!(die(bed, run, 2).await, "it begins anew");
    assert_eq!(bed.drain(run).await, ["x"]);
    assert_eq!(
        bed.names(run).await,
        ["x@0 completed completed[answer1] completed[answer2]"]
    );
}

pub(crate) async fn a_conviction_is_told(bed: &mut Bed) {
    let input = [
        request("x").tasks(2),
        request("y").tasks(2),
        request("z").tasks(0),
    ];
    let run = bed.run("a").await;
    bed.read(run, &input).await;
    let y = &bed.claim(run, 9).await[1];
    bed.done(y).await;
    if !bed.crash().await {
        return;
    }
    bed.run("a").await;
    die(bed, run, 3).await;
    for culprit in ["x", "y", "z"] {
        assert_eq!(die_alone(bed, "p", run).await, [culprit]);
        assert_eq!(die_alone(bed, "q", run).await, [culprit]);
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

pub(crate) async fn a_suspect_still_counts_as_unfinished(bed: &mut Bed) {
    let Some(run) = suspected(bed, &[request("x")]).await else {
        return;
    };
    assert!(bed.claim(run, 9).await.is_empty());
    assert!(bed.store().has_unfinished(run).await.expect("reads"));
    let counts = bed.store().counts(run).await.expect("counts");
    assert_eq!((counts.total, counts.unfinished()), (1, 1));
}

#[test]
fn an_end_that_could_give_nothing_back_accuses_nobody() {
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
            assert_eq!(ids(&claimed.expect("claims")), ["x"], "in life {life}");
        });
        // As a process ends whose disk is full: of itself, and with its leases.
        drop(store);
    }
}
