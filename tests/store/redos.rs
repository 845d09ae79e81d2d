//! Finished requests of which some tasks are made anew.

use nova3::domain::failure::Class;
use nova3::domain::outcome::Finished;
use nova3::domain::task::TaskNo;
use nova3::domain::usage::Cost;
use nova3::store::{Claimed, RedoneQueue, RedoneTask, RunId, Settled, Settlement, Then};

use crate::store::harness::{Harness, bad, completed, failed, id, made, request};
use crate::store::parts::{new_parts, part_done};

/// A redo of the planned tasks from `first` to the last one of `count`, each behind the one before it.
fn chain(row: &Finished, first: usize, count: usize) -> RedoneQueue {
    let task = |index: usize| RedoneTask {
        index,
        needs: index.checked_sub(1).into_iter().collect(),
    };
    RedoneQueue {
        queue_id: row.queue_id,
        tasks: (first..count).map(task).collect(),
    }
}

async fn redo(harness: &Harness, run: RunId, queues: Vec<RedoneQueue>) -> u64 {
    harness.store().redo(run, queues).await.expect("redoes")
}

async fn unfinished(harness: &Harness, run: RunId) -> u64 {
    harness.store().unfinished_redos(run).await.expect("counts")
}

/// A run of one finished request with three tasks.
async fn three_tasks(harness: &Harness) -> RunId {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").tasks(3)]).await;
    harness.drain(run).await;
    run
}

const OLD: &str = "x@0 completed completed[answer1] completed[answer2] completed[answer3]";

pub(crate) async fn the_earlier_result_stays_until_the_new_one_is_settled(harness: &mut Harness) {
    let run = three_tasks(harness).await;
    let before = harness.finished(run).await.remove(0);
    let epoch = harness.lines_epoch(run).await;
    assert_eq!(redo(harness, run, vec![chain(&before, 1, 3)]).await, 1);
    assert_eq!(harness.names(run).await, [OLD]);
    assert_eq!(harness.lines_epoch(run).await, epoch, "no line has changed");
    let counts = harness.store().counts(run).await.expect("counts");
    assert_eq!((counts.done, counts.unfinished()), (0, 1));
    let first = harness.claim_one(run).await;
    assert_eq!(first.current_task, 1, "the first task is reused");
    harness.done(&first).await;
    assert_eq!(harness.names(run).await, [OLD], "one task is left");
    assert_eq!(unfinished(harness, run).await, 1);
    if harness.crash().await {
        assert_eq!(harness.names(run).await, [OLD]);
        assert_eq!(unfinished(harness, run).await, 1);
        harness.drain(run).await;
    } else {
        harness.settle(completed(first.lease, 2, 1)).await;
    }
    assert_eq!(
        harness.names(run).await,
        ["x@0 completed completed[answer1] completed[answer4] completed[answer5]"]
    );
    assert!(harness.lines_epoch(run).await > epoch);
    assert_eq!(unfinished(harness, run).await, 0);
    let after = harness.finished(run).await.remove(0);
    assert!(after.finish_no > before.finish_no && !after.is_redone);
    let making = after.tasks[2].making.as_ref().expect("it was made");
    assert_eq!((making.cost, making.wasted), (Some(Cost(100)), Cost::ZERO));
    harness.store().check().await.expect("the store is consistent");
}

pub(crate) async fn a_failed_redo_keeps_the_earlier_result(harness: &mut Harness) {
    let run = three_tasks(harness).await;
    for _ in 0..2 {
        let before = harness.finished(run).await.remove(0);
        redo(harness, run, vec![chain(&before, 0, 3)]).await;
        let queue = harness.claim_one(run).await;
        harness.done(&queue).await;
        let ended = harness.settle(failed(queue.lease, 1, Class::Server)).await;
        assert_eq!(ended, Settled::Finished { ok: false });
        let row = harness.finished(run).await.remove(0);
        assert_eq!(
            row.warnings,
            ["a redo failed, so this is the earlier result: it did not work"]
        );
        assert_eq!(
            (harness.names(run).await, row.failure),
            (vec![OLD.to_owned()], None)
        );
        assert_eq!(unfinished(harness, run).await, 0);
        assert!(harness.claim(run, 9).await.is_empty());
        assert_eq!(harness.retry(run).await, 0, "the request is not failed");
    }
    let before = harness.finished(run).await.remove(0);
    redo(harness, run, vec![chain(&before, 2, 3)]).await;
    harness.drain(run).await;
    let row = harness.finished(run).await.remove(0);
    assert!(row.warnings.is_empty(), "{:?}", row.warnings);
    assert_eq!(
        harness.names(run).await,
        ["x@0 completed completed[answer1] completed[answer2] completed[answer6]"]
    );
    harness.store().check().await.expect("the store is consistent");
}

pub(crate) async fn a_failed_request_takes_the_new_failure(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").tasks(2)]).await;
    let queue = harness.claim_one(run).await;
    harness.done(&queue).await;
    harness.settle(failed(queue.lease, 1, Class::Server)).await;
    let before = harness.finished(run).await.remove(0);
    redo(harness, run, vec![chain(&before, 0, 2)]).await;
    let queue = harness.claim_one(run).await;
    harness.fail(&queue, Class::Timeout).await;
    let row = harness.finished(run).await.remove(0);
    assert_eq!(row.failure.expect("it failed").class, Class::Timeout);
    assert_eq!(harness.names(run).await, ["x@0 failed failed[] skipped[]"]);
}

pub(crate) async fn unfinished_and_bad_lines_are_left_out(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x"), request("y"), bad("{")]).await;
    let queues = harness.claim(run, 1).await;
    harness.done(&queues[0]).await;
    let rows = harness.finished(run).await;
    let mut all: Vec<RedoneQueue> = rows.iter().map(|row| chain(row, 0, 1)).collect();
    let y = harness.claim_one(run).await;
    all.push(RedoneQueue {
        queue_id: y.lease.queue_id,
        ..all[0].clone()
    });
    assert_eq!(redo(harness, run, all.clone()).await, 1);
    assert_eq!(redo(harness, run, all).await, 0, "it is under way");
    harness.done(&y).await;
    assert_eq!(harness.drain(run).await, ["x"]);
}

pub(crate) async fn a_redone_request_keeps_its_session_in_order(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [request("x").session("s").tasks(2), request("y").session("s")];
    harness.read(run, &input).await;
    harness.drain(run).await;
    let rows = harness.finished(run).await;
    let both = vec![chain(&rows[0], 1, 2), chain(&rows[1], 0, 1)];
    assert_eq!(redo(harness, run, both).await, 2);
    let x = harness.claim_one(run).await;
    assert_eq!((id(&x), x.current_task), ("x".to_owned(), 1));
    harness.done(&x).await;
    let y = harness.claim_one(run).await;
    harness.done(&y).await;
    assert_eq!(
        harness.names(run).await,
        [
            "x@0 completed completed[answer1] completed[answer4]",
            "y@1 completed completed[answer5]"
        ]
    );
    let rounds: Vec<_> = rounds(harness).await;
    assert_eq!(rounds, ["x", "y"], "the history has its order");
}

/// The names of the session's rounds, in their order.
async fn rounds(harness: &Harness) -> Vec<String> {
    let user = nova3::domain::ids::UserId::parse("default").expect("a user");
    let session = nova3::domain::ids::SessionId::parse("s").expect("a session");
    let record = harness.store().session(&user, &session).await.expect("reads");
    let rounds = record.expect("it exists").rounds;
    rounds.into_iter().filter_map(|round| round.custom_id).collect()
}

pub(crate) async fn an_edit_cancels_a_redo(harness: &mut Harness) {
    let run = three_tasks(harness).await;
    let before = harness.finished(run).await.remove(0);
    redo(harness, run, vec![chain(&before, 0, 3)]).await;
    let lost = harness.claim_one(run).await;
    harness.done(&lost).await;
    harness.read(run, &[request("x").query("other").tasks(1)]).await;
    assert_eq!(
        harness.settle(completed(lost.lease, 1, 1)).await,
        Settled::LostLease
    );
    harness.drain(run).await;
    assert_eq!(harness.names(run).await, ["x@0 completed completed[answer1]"]);
    harness.read(run, &[request("x").tasks(3)]).await;
    assert_eq!(harness.names(run).await, [OLD], "the undone edit has its result");
    assert_eq!(unfinished(harness, run).await, 0);
}

pub(crate) async fn a_split_task_is_split_anew(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").tasks(2)]).await;
    split(harness, &harness.claim_one(run).await, &["b", "c"]).await;
    let before = harness.finished(run).await.remove(0);
    assert_eq!(before.tasks[0].parts.len(), 2);
    redo(harness, run, vec![chain(&before, 0, 2)]).await;
    let row = harness.finished(run).await.remove(0);
    assert_eq!(row.tasks[0].parts.len(), 2, "the earlier parts are shown");
    let queue = harness.claim_one(run).await;
    split(harness, &queue, &["d", "e", "f"]).await;
    let row = harness.finished(run).await.remove(0);
    assert_eq!(row.tasks[0].parts.len(), 3);
    // A redo that fails brings the three parts back.
    redo(harness, run, vec![chain(&row, 0, 2)]).await;
    let queue = harness.claim_one(run).await;
    harness
        .settle(Settlement::fanned_out(queue.lease, 0, new_parts(1)))
        .await;
    harness.settle(part_done(&queue, TaskNo::part(0, 1), "g")).await;
    harness.settle(failed(queue.lease, 0, Class::Server)).await;
    let row = harness.finished(run).await.remove(0);
    assert_eq!((row.tasks[0].parts.len(), row.warnings.len()), (3, 1));
}

/// Splits the first task, does its parts, joins them, and completes the second task.
async fn split(harness: &Harness, queue: &Claimed, texts: &[&str]) {
    let parts = Settlement::fanned_out(queue.lease, 0, new_parts(texts.len()));
    assert_eq!(harness.settle(parts).await, Settled::Moved(TaskNo::part(0, 1)));
    for (number, text) in (1..).zip(texts) {
        let done = part_done(queue, TaskNo::part(0, number), text);
        let next = if number == texts.len() {
            TaskNo::planned(0)
        } else {
            TaskNo::part(0, number + 1)
        };
        assert_eq!(harness.settle(done).await, Settled::Moved(next));
    }
    harness.settle(completed(queue.lease, 0, 1)).await;
    harness.settle(completed(queue.lease, 1, 1)).await;
}

pub(crate) async fn a_paused_request_pauses_again(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").tasks(3).until("answer")]).await;
    let queue = harness.claim_one(run).await;
    harness.done(&queue).await;
    harness.settle(made(queue.lease, 1, "answer", Then::Pause)).await;
    let paused = "x@0 paused completed[answer1] completed[answer2] pending[]";
    assert_eq!(harness.names(run).await, [paused]);
    for class in [Some(Class::Server), None] {
        let row = harness.finished(run).await.remove(0);
        redo(harness, run, vec![chain(&row, 1, 3)]).await;
        assert_eq!(harness.names(run).await, [paused]);
        let queue = harness.claim_one(run).await;
        assert_eq!(queue.current_task, 1);
        match class {
            Some(class) => {
                harness.fail(&queue, class).await;
                assert_eq!(harness.names(run).await, [paused], "the earlier result is kept");
            }
            None => {
                harness.settle(made(queue.lease, 1, "answer", Then::Pause)).await;
            }
        }
    }
    assert_eq!(
        harness.names(run).await,
        ["x@0 paused completed[answer1] completed[answer3] pending[]"]
    );
    harness.store().check().await.expect("the store is consistent");
}

pub(crate) async fn events_keep_the_results_that_they_told(harness: &mut Harness) {
    let run = three_tasks(harness).await;
    let before = harness.events(run, false).await;
    let row = harness.finished(run).await.remove(0);
    redo(harness, run, vec![chain(&row, 2, 3)]).await;
    assert_eq!(harness.events(run, false).await, before);
    harness.drain(run).await;
    let after = harness.events(run, false).await;
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(after[before.len()..], ["x/3 task003[answer4]", "x/3 completed"]);
}

pub(crate) async fn a_split_task_keeps_the_tasks_that_it_needs(harness: &mut Harness) {
    let run = harness.run("a").await;
    let draft = request("x").tasks(3).needs(&[Some(&[]), Some(&[0]), Some(&[0])]);
    harness.read(run, &[draft]).await;
    for parts in [2, 1] {
        let queue = harness.claim_one(run).await;
        harness.done(&queue).await;
        let side = harness.claim_one(run).await;
        assert_eq!(
            side.task,
            TaskNo::planned(2),
            "both tasks behind the first one go on"
        );
        harness
            .settle(Settlement::fanned_out(side.lease, 2, new_parts(parts)))
            .await;
        for part in 1..=parts {
            harness
                .settle(part_done(&side, TaskNo::part(2, part), &format!("part {part}")))
                .await;
        }
        harness.settle(completed(side.lease, 2, 1)).await;
        harness.settle(completed(queue.lease, 1, 1)).await;
        let row = harness.finished(run).await.remove(0);
        let needs: Vec<&[usize]> = row.tasks.iter().map(|task| task.needs.as_slice()).collect();
        assert_eq!(needs, [&[][..], &[0], &[0]]);
        assert_eq!(row.tasks[2].parts.len(), parts);
        let task = |(index, needs): (usize, &[usize])| RedoneTask {
            index,
            needs: needs.to_vec(),
        };
        let again = RedoneQueue {
            queue_id: row.queue_id,
            tasks: needs.into_iter().enumerate().map(task).collect(),
        };
        assert_eq!(redo(harness, run, vec![again]).await, 1);
    }
}
