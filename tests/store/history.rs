//! The history of a queue, and the record of actions on a run.

use nova3::domain::failure::Class;
use nova3::domain::state::{Status, TaskStatus};
use nova3::domain::task::{TaskKind, TaskNo};
use nova3::store::{
    ActionOrigin, CallHistory, KEPT_ACTIONS, NewAction, QueueHistory, RunId, Settlement, TaskHistory, Then,
};

use crate::store::harness::{Harness, attempt, items, making, planned, request};

async fn history(harness: &Harness, run: RunId, queue: i64, with_texts: bool) -> QueueHistory {
    let found = harness.store().history(run, queue, with_texts).await;
    found.expect("reads").expect("it is there")
}

/// A task in short form: its number, its version, its action, its state.
fn show_task(task: &TaskHistory) -> String {
    format!(
        "{} v{} {} {}",
        task.task,
        task.version,
        task.action,
        task.status.as_str()
    )
}

/// A call in short form: its task, the version of the task, its cause, whether it is used.
fn show_call(call: &CallHistory) -> String {
    let cause = call.attempt.end.cause().unwrap_or("answered");
    format!("{} v{} {cause} {}", call.task, call.version, call.attempt.used)
}

pub(crate) async fn a_history_has_every_version_and_every_call(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness
        .read(run, &[request("x").unplanned(), request("other")])
        .await;
    let queue = harness.claim(run, 1).await.remove(0);
    harness.settle_plan(planned(queue.lease, &["answer"])).await;
    let failure = nova3::domain::failure::Failure::new(Class::Server, "broken");
    let lost = vec![
        attempt(Some(Class::Server), 10),
        attempt(Some(Class::Timeout), 20),
    ];
    harness
        .settle(Settlement::failed(queue.lease, 0, failure, None, making(0), lost))
        .await;
    assert_eq!(harness.retry(run).await, 1);
    let again = harness.claim(run, 1).await.remove(0);
    let attempts = vec![attempt(Some(Class::Schema), 30), attempt(None, 100)];
    let done = Settlement::completed(again.lease, 0, items(1), Then::GoOn, making(100), attempts);
    harness.settle(done).await;

    let known = history(harness, run, queue.lease.queue_id, true).await;
    assert_eq!((known.run.as_str(), known.custom_id.as_deref()), ("a", Some("x")));
    assert_eq!(known.status, Some(Status::Completed));
    assert_eq!(known.seed.len(), 16);
    assert!(known.request.is_some_and(|text| text.contains("\"q\"")));
    let tasks: Vec<String> = known.tasks.iter().map(show_task).collect();
    assert_eq!(
        tasks,
        [
            "plan v1 supervisor completed",
            "task001 v1 answer failed",
            "task001 v2 answer completed"
        ]
    );
    assert_eq!(known.tasks[0].kind, TaskKind::Plan);
    assert!(known.tasks[0].making.is_some(), "the plan knows how it was made");
    assert_eq!(
        known.tasks[1].failure.as_ref().map(|failure| failure.class),
        Some(Class::Server)
    );
    assert!(known.tasks[2].result.is_some() && known.tasks[2].completed_at.is_some());
    let calls: Vec<String> = known.calls.iter().map(show_call).collect();
    assert_eq!(
        calls,
        [
            "plan v1 answered true",
            "task001 v1 server false",
            "task001 v1 timeout false",
            "task001 v2 schema false",
            "task001 v2 answered true"
        ]
    );
    let without = history(harness, run, queue.lease.queue_id, false).await;
    assert!(without.request.is_none());
    assert!(
        without
            .tasks
            .iter()
            .all(|task| task.input.is_none() && task.result.is_none())
    );
    assert_eq!(
        without.seed, known.seed,
        "a run keeps its seed, so that a trace goes on"
    );
    assert!(
        harness
            .store()
            .history(RunId(run.0 + 1), queue.lease.queue_id, false)
            .await
            .expect("reads")
            .is_none(),
        "a queue of another run"
    );
}

pub(crate) async fn a_history_outlives_a_crash(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").tasks(2)]).await;
    let queue = harness.claim_one(run).await;
    harness.make(&queue, 0, Then::GoOn).await;
    let before = history(harness, run, queue.lease.queue_id, false).await;
    assert_eq!(before.status, None);
    if !harness.crash().await {
        return;
    }
    let run = harness.run("a").await;
    let again = harness.claim_one(run).await;
    assert_eq!(again.task, TaskNo::planned(1));
    harness.make(&again, 1, Then::GoOn).await;
    let after = history(harness, run, queue.lease.queue_id, false).await;
    assert_eq!((after.seed, after.status), (before.seed, Some(Status::Completed)));
    let states: Vec<TaskStatus> = after.tasks.iter().map(|task| task.status).collect();
    assert_eq!(states, [TaskStatus::Completed; 2]);
    assert_eq!(after.tasks[1].needs, [TaskNo::planned(0)]);
}

fn action(number: i64, command: &str) -> NewAction {
    NewAction {
        action_no: number,
        command: command.to_owned(),
        flags: vec!["--concurrency 5".to_owned(), "NOVA3_RPM=60".to_owned()],
        actor: ActionOrigin {
            user: "ops".to_owned(),
            host: "host".to_owned(),
            folder: "/srv".to_owned(),
            pid: 7,
            version: "0.1.0".to_owned(),
        },
    }
}

pub(crate) async fn actions_are_kept_with_their_end(harness: &mut Harness) {
    let (run, other) = (harness.run("a").await, harness.run("b").await);
    let store = harness.store();
    store.begin_action(run, &action(1, "run")).await.expect("begins");
    store.begin_action(run, &action(2, "redo")).await.expect("begins");
    store
        .begin_action(other, &action(1, "run"))
        .await
        .expect("begins");
    store
        .begin_action(run, &action(1, "again"))
        .await
        .expect("it is there already");
    store.end_action(run, 1, "stopped").await.expect("ends");
    store.end_action(run, 1, "finished").await.expect("ends");
    store
        .end_action(run, 9, "finished")
        .await
        .expect("no such action");
    let known = store.actions(run, 10).await.expect("reads");
    let shown: Vec<(&str, Option<&str>)> = known
        .iter()
        .map(|known| (known.action.command.as_str(), known.ending.as_deref()))
        .collect();
    assert_eq!(shown, [("redo", None), ("run", Some("finished"))]);
    assert_eq!(known[1].action, action(1, "run"));
    assert!(known[0].began_at > known[1].began_at && known[0].ended_at.is_none());
    assert!(known[1].ended_at.is_some());
    assert_eq!(store.actions(run, 1).await.expect("reads").len(), 1);
    assert_eq!(store.actions(other, 10).await.expect("reads").len(), 1);
}

pub(crate) async fn a_run_keeps_its_newest_actions(harness: &mut Harness) {
    let run = harness.run("a").await;
    let count = i64::try_from(KEPT_ACTIONS).expect("small") + 5;
    for number in 0..count {
        let begun = harness.store().begin_action(run, &action(number, "run")).await;
        begun.expect("begins");
    }
    let known = harness
        .store()
        .actions(run, KEPT_ACTIONS + 100)
        .await
        .expect("reads");
    let numbers: Vec<i64> = known.iter().map(|known| known.action.action_no).collect();
    assert_eq!(numbers, (5..count).rev().collect::<Vec<_>>());
}
