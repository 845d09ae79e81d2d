//! Tasks that fan out into parts: the parts run side by side, each is durable by itself, and the join numbers their
//! items.

use std::time::Duration;

use nova3::domain::failure::{Class, Failure};
use nova3::domain::outcome::{NewItem, Product};
use nova3::domain::task::{TaskKind, TaskNo};
use nova3::domain::usage::Cost;
use nova3::store::{
    Claimable, Claimed, NewPart, PartOutcome, ReleasedLease, RunId, Settled, Settlement, Then,
};

use crate::store::harness::{Harness, attempt, body, completed, id, ids, items, making, request};

pub(crate) fn new_parts(count: usize) -> Vec<NewPart> {
    let part = |number: usize| NewPart {
        subject: Some(format!("profile{number}")),
        description: format!("part {number}"),
        input: format!("about {number}"),
    };
    (1..=count).map(part).collect()
}

/// The item that a part makes.
fn item(text: &str) -> NewItem {
    let mut body = body();
    body.insert("title".to_owned(), text.into());
    NewItem {
        kind: "answer".to_owned(),
        body,
    }
}

pub(crate) fn part_done(queue: &Claimed, task: TaskNo, text: &str) -> Settlement {
    let product = Product::Items(vec![item(text)]);
    let calls = vec![attempt(None, 10)];
    Settlement::completed(queue.lease, task, product, Then::GoOn, making(10), calls)
}

fn part_failed(queue: &Claimed, task: TaskNo) -> Settlement {
    let failure = Failure::new(Class::Server, "no answer");
    let mut making = making(0);
    making.wasted = Cost(3);
    Settlement::failed(
        queue.lease,
        task,
        failure,
        None,
        making,
        vec![attempt(Some(Class::Server), 3)],
    )
}

/// A run whose request `x` has two tasks, the first of them split into `parts` parts. The lease is on the first part.
async fn fanned_out(harness: &mut Harness, parts: usize) -> (RunId, Claimed) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").session("s").tasks(2)]).await;
    let mut first = harness.claim_one(run).await;
    let split = Settlement::fanned_out(first.lease, 0, new_parts(parts));
    assert_eq!(harness.settle(split).await, Settled::Moved(TaskNo::part(0, 1)));
    first.task = TaskNo::part(0, 1);
    (run, first)
}

async fn outcomes(harness: &Harness, queue: &Claimed) -> Vec<PartOutcome> {
    let outcomes = harness.store().parts(queue.lease.queue_id, 0).await;
    outcomes.expect("reads")
}

/// Returns the outcomes of the settled parts in short form.
async fn shown(harness: &Harness, queue: &Claimed) -> Vec<String> {
    let shown = |outcome: PartOutcome| {
        let end = match outcome.end {
            Ok(items) => items.iter().map(|item| item.body["title"].to_string()).collect(),
            Err(failure) => failure.class.as_str().to_owned(),
        };
        format!(
            "{} {} {end}",
            outcome.part.no,
            outcome.part.subject.unwrap_or_default()
        )
    };
    outcomes(harness, queue).await.into_iter().map(shown).collect()
}

fn tasks_of(queues: &[Claimed]) -> Vec<String> {
    queues.iter().map(|queue| queue.task.to_string()).collect()
}

pub(crate) async fn parts_run_side_by_side_and_are_joined(harness: &mut Harness) {
    let (run, first) = fanned_out(harness, 3).await;
    let others = harness.claim(run, 9).await;
    assert_eq!(tasks_of(&others), ["task001.2", "task001.3"]);
    assert!(
        others
            .iter()
            .all(|queue| queue.kind == TaskKind::Call && queue.parts.len() == 3)
    );
    assert_eq!(others[1].parts[2].subject.as_deref(), Some("profile3"));
    assert_eq!(others[1].parts[2].input, "about 3");
    let fences = [first.lease.fence, others[0].lease.fence, others[1].lease.fence];
    assert!(
        fences[0] != fences[1] && fences[1] != fences[2],
        "each under a fence of its own"
    );
    assert!(harness.claim(run, 9).await.is_empty());
    let settle = |queue: &Claimed, text: &str| part_done(queue, queue.task, text);
    assert_eq!(harness.settle(settle(&others[1], "c")).await, Settled::Yielded);
    assert_eq!(harness.settle(settle(&first, "a")).await, Settled::Yielded);
    assert_eq!(
        shown(harness, &first).await,
        ["task001.1 profile1 \"a\"", "task001.3 profile3 \"c\""]
    );
    let join = TaskNo::planned(0);
    assert_eq!(
        harness.settle(settle(&others[0], "b")).await,
        Settled::Moved(join)
    );
    assert!(
        harness.claim(run, 9).await.is_empty(),
        "the last part has the lease of the join"
    );
    let items = Product::Items(vec![item("a"), item("b"), item("c")]);
    let joined = Settlement::completed(others[0].lease, join, items, Then::GoOn, making(0), vec![]);
    assert_eq!(harness.settle(joined).await, Settled::Stepped);
    assert_eq!(
        harness.settle(completed(others[0].lease, 1, 1)).await,
        Settled::Finished { ok: true }
    );
    let row = harness.finished(run).await.remove(0);
    assert_eq!(row.tasks.len(), 2);
    let parts = &row.tasks[0].parts;
    let names: Vec<&str> = parts.iter().map(|part| part.task_id.as_str()).collect();
    assert_eq!(names, ["task001.1", "task001.2", "task001.3"]);
    assert_eq!(parts[1].subject.as_deref(), Some("profile2"));
    let making = row.tasks[0].making.as_ref().expect("it has one");
    assert_eq!(
        (making.attempts, making.cost),
        (4, Some(Cost(30))),
        "it sums its parts"
    );
    assert_eq!(
        harness.names(run).await,
        ["x@0 completed completed[answer1,answer2,answer3] completed[answer4]"]
    );
    let told = [
        "x/2 planned answer,answer",
        "x/2 task001[answer1,answer2,answer3]",
        "x/2 task002[answer4]",
        "x/2 completed",
    ];
    assert_eq!(harness.events(run, true).await, told, "parts are not told of");
    harness.store().check().await.expect("the store is whole");
}

pub(crate) async fn a_crash_repeats_only_the_unfinished_parts(harness: &mut Harness) {
    let (run, first) = fanned_out(harness, 3).await;
    let others = harness.claim(run, 1).await;
    assert_eq!(
        harness.settle(part_done(&first, first.task, "a")).await,
        Settled::Moved(TaskNo::part(0, 3))
    );
    if !harness.crash().await {
        return;
    }
    harness.run("a").await;
    let stale = part_done(&others[0], others[0].task, "late");
    assert_eq!(harness.settle(stale).await, Settled::LostLease);
    let again = harness.claim(run, 9).await;
    assert_eq!(tasks_of(&again), ["task001.2", "task001.3"]);
    assert!(again.iter().all(|queue| queue.is_recorded));
    harness.settle(part_done(&again[0], again[0].task, "b")).await;
    let end = harness.settle(part_done(&again[1], again[1].task, "c")).await;
    assert_eq!(end, Settled::Moved(TaskNo::planned(0)));
    harness.crash().await;
    harness.run("a").await;
    let join = harness.claim_one(run).await;
    assert_eq!((join.task, join.kind), (TaskNo::planned(0), TaskKind::Join));
    assert_eq!(
        shown(harness, &join).await,
        [
            "task001.1 profile1 \"a\"",
            "task001.2 profile2 \"b\"",
            "task001.3 profile3 \"c\""
        ]
    );
    let summary = harness.store().summary(run).await.expect("reads");
    assert_eq!(summary.attempts, 4, "the late answer is paid too");
}

pub(crate) async fn a_failed_part_lets_its_siblings_finish(harness: &mut Harness) {
    let (run, first) = fanned_out(harness, 2).await;
    let next = harness.settle(part_failed(&first, first.task)).await;
    assert_eq!(
        next,
        Settled::Moved(TaskNo::part(0, 2)),
        "the queue has not failed"
    );
    let second = part_done(&first, TaskNo::part(0, 2), "b");
    assert_eq!(harness.settle(second).await, Settled::Moved(TaskNo::planned(0)));
    assert_eq!(
        shown(harness, &first).await,
        ["task001.1 profile1 server", "task001.2 profile2 \"b\""]
    );
    let failure = Failure::new(Class::Server, "a part failed");
    let join = Settlement::failed(first.lease, 0, failure, None, making(0), vec![]);
    assert_eq!(harness.settle(join).await, Settled::Finished { ok: false });
    assert_eq!(harness.names(run).await, ["x@0 failed failed[] skipped[]"]);
    let row = harness.finished(run).await.remove(0);
    let failed = row.tasks[0].parts[0].failure.as_ref().expect("it is kept");
    assert_eq!(
        (failed.class, failed.message.as_str()),
        (Class::Server, "no answer")
    );
}

pub(crate) async fn a_retry_asks_only_the_failed_parts(harness: &mut Harness) {
    let (run, first) = fanned_out(harness, 3).await;
    harness.settle(part_done(&first, TaskNo::part(0, 1), "a")).await;
    harness.settle(part_failed(&first, TaskNo::part(0, 2))).await;
    harness.settle(part_done(&first, TaskNo::part(0, 3), "c")).await;
    let failure = Failure::new(Class::Server, "a part failed");
    let join = Settlement::failed(first.lease, 0, failure, None, making(0), vec![]);
    assert_eq!(harness.settle(join).await, Settled::Finished { ok: false });
    assert_eq!(harness.retry(run).await, 1);
    let again = harness.claim_one(run).await;
    assert_eq!(again.task, TaskNo::part(0, 2));
    let end = harness.settle(part_done(&again, again.task, "b")).await;
    assert_eq!(end, Settled::Moved(TaskNo::planned(0)));
    let joined = Settlement::completed(again.lease, 0, items(3), Then::GoOn, making(0), vec![]);
    assert_eq!(harness.settle(joined).await, Settled::Stepped);
    harness.settle(completed(again.lease, 1, 1)).await;
    assert_eq!(
        harness.names(run).await,
        ["x@0 completed completed[answer1,answer2,answer3] completed[answer4]"]
    );
}

pub(crate) async fn a_part_that_is_given_back_is_claimed_again(harness: &mut Harness) {
    let (run, first) = fanned_out(harness, 2).await;
    harness.release(&first).await;
    assert_eq!(tasks_of(&harness.claim(run, 9).await), ["task001.1", "task001.2"]);
    assert!(harness.store().has_unfinished(run).await.expect("reads"));
    let counts = harness.store().counts(run).await.expect("counts");
    assert_eq!((counts.total, counts.running), (1, 1));
}

pub(crate) async fn a_part_is_poison_by_itself(harness: &mut Harness) {
    let (run, first) = fanned_out(harness, 2).await;
    harness.settle(part_done(&first, first.task, "a")).await;
    if !harness.crash().await {
        return;
    }
    harness.run("a").await;
    assert_eq!(tasks_of(&harness.claim(run, 9).await), ["task001.2"]);
    harness.crash().await;
    harness.run("a").await;
    for owner in ["p", "q"] {
        let group = harness.claim_as(owner, run, Claimable::Quarantined, 9).await;
        assert_eq!(tasks_of(&group), ["task001.2"]);
        harness.crash().await;
        harness.run("a").await;
    }
    let join = harness.claim_one(run).await;
    assert_eq!(join.task, TaskNo::planned(0), "the queue has not failed");
    let outcome = outcomes(harness, &join).await.remove(1);
    let failure = outcome.end.expect_err("it failed");
    assert_eq!(
        (failure.class, failure.task_id.as_deref()),
        (Class::Poison, Some("task001.2"))
    );
}

pub(crate) async fn an_edit_takes_all_leases_of_its_parts(harness: &mut Harness) {
    let (run, first) = fanned_out(harness, 2).await;
    let second = harness.claim_one(run).await;
    harness
        .read(run, &[request("x").session("s").query("else")])
        .await;
    for queue in [&first, &second] {
        assert_eq!(
            harness.settle(part_done(queue, queue.task, "late")).await,
            Settled::LostLease
        );
    }
    assert_eq!(ids(&harness.claim(run, 9).await), ["x"], "its new version runs");
    let counts = harness.store().counts(run).await.expect("counts");
    assert_eq!((counts.total, counts.running), (1, 1));
}

pub(crate) async fn parts_share_the_session_of_their_queue(harness: &mut Harness) {
    let (run, first) = fanned_out(harness, 2).await;
    let other = harness.run("b").await;
    harness.read(other, &[request("y").session("s")]).await;
    assert!(
        harness.claim(other, 9).await.is_empty(),
        "a session has one queue at a time"
    );
    let second = harness.claim_one(run).await;
    harness.release(&first).await;
    assert!(
        harness.claim(other, 9).await.is_empty(),
        "another part is at work"
    );
    harness.release(&second).await;
    assert_eq!(
        ids(&harness.claim(other, 9).await),
        ["y"],
        "no worker is on the other run"
    );
    assert!(harness.claim(run, 9).await.is_empty());
}

pub(crate) async fn a_sleeping_part_holds_up_nobody(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x"), request("y")]).await;
    let x = harness.claim(run, 1).await.remove(0);
    harness
        .settle(Settlement::fanned_out(x.lease, 0, new_parts(3)))
        .await;
    let left = ReleasedLease {
        snooze: Duration::from_hours(1000),
        ..ReleasedLease::untouched(x.lease)
    };
    harness.store().release(vec![left]).await.expect("releases");
    let mut claimed = Vec::new();
    for _ in 0..4 {
        let queues = harness.claim(run, 1).await;
        claimed.extend(queues.iter().map(|queue| format!("{} {}", id(queue), queue.task)));
    }
    assert_eq!(claimed, ["x task001.2", "x task001.3", "y task001"]);
}
