//! Pausing for a person, continuing, and pending tasks that a later request takes over.

use nova3::domain::ids::{SessionId, UserId};
use nova3::domain::outcome::PlanOrigin;
use nova3::domain::tally::Counts;
use nova3::store::{AddOutcome, Claimed, PendingTask, RunId, SessionCounts, Settled, TakeOver, Then};

use crate::store::harness::{Draft, Harness, completed, id, ids, planned, request, tasks};

/// A request in session `s` with three tasks that pauses behind the first.
fn asked(id: &str) -> Draft {
    request(id)
        .session("s")
        .plan(&["insight", "profile", "facts"])
        .until("insight")
}

/// A later request in session `s` that continues.
fn going_on(id: &str) -> Draft {
    request(id).session("s").unplanned()
}

/// The tasks that were pending behind `insight`, as taken over by another queue.
fn rest() -> TakeOver {
    TakeOver::Taken(tasks(&["profile", "facts"]))
}

/// Pauses `p`, and lets `c` take over its pending tasks.
async fn continued(harness: &Harness, run: RunId) -> Claimed {
    harness.read(run, &[asked("p"), going_on("c")]).await;
    harness.pause(&harness.claim_one(run).await).await;
    let queue = harness.claim_one(run).await;
    assert_eq!(harness.take_over(&queue).await, rest());
    queue
}

/// Returns the tasks that a continuing request in session `s` would take over.
async fn pending(harness: &Harness) -> Vec<PendingTask> {
    let user = UserId::default();
    let session = SessionId::parse("s").expect("a name");
    let record = harness.store().session(&user, &session).await.expect("reads");
    record.map_or_else(Vec::new, |record| record.pending)
}

async fn counts(harness: &Harness, run: RunId) -> Counts {
    harness.store().counts(run).await.expect("counts")
}

pub(crate) async fn a_pause_is_an_end_that_lets_the_session_go_on(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[asked("p"), request("y").session("s")]).await;
    let queue = harness.claim_one(run).await;
    assert_eq!(harness.pause(&queue).await, Settled::Finished { ok: true });
    harness.crash().await;
    let expected = Counts {
        total: 2,
        paused: 1,
        ..Counts::default()
    };
    assert_eq!(counts(harness, run).await, expected);
    let row = "p@0 paused completed[insight1] pending[] pending[]";
    assert_eq!(harness.names(run).await, [row]);
    assert_eq!(
        pending(harness).await,
        tasks(&["insight", "profile", "facts"])[1..]
    );
    assert_eq!(harness.done(&queue).await, Settled::LostLease);
    assert_eq!(harness.drain(run).await, ["y"]);
    assert!(!harness.store().has_unfinished(run).await.expect("reads"));
    assert_eq!(harness.retry(run).await, 0, "a pause is no failure");
    let sessions = harness.store().sessions(run, 9).await.expect("reads");
    assert_eq!(
        (sessions[0].total, sessions[0].done, sessions[0].failed),
        (2, 1, 0)
    );
}

pub(crate) async fn the_last_task_pauses_nothing(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").each()]).await;
    assert_eq!(
        harness.pause(&harness.claim_one(run).await).await,
        Settled::Finished { ok: true }
    );
    assert_eq!(harness.names(run).await, ["x@0 completed completed[answer1]"]);
    assert_eq!(counts(harness, run).await.done, 1);
}

pub(crate) async fn without_what_paused_it_a_line_goes_on(harness: &mut Harness) {
    let run = harness.run("a").await;
    let line = |id: &str| request(id).plan(&["insight", "profile"]);
    let paused = [line("x").until("insight"), line("y").each()];
    harness.read(run, &paused).await;
    for queue in harness.claim(run, 9).await {
        harness.pause(&queue).await;
    }
    let rows = harness.names(run).await;
    let before = harness.lines_epoch(run).await;
    let known: Vec<_> = harness
        .finished(run)
        .await
        .iter()
        .map(|row| row.queue_id)
        .collect();
    let same = harness.read(run, &paused).await;
    assert_eq!(
        same,
        [AddOutcome::Finished(known[0]), AddOutcome::Finished(known[1])]
    );
    let others = [line("x").each(), line("y").until("insight")];
    harness.read(run, &others).await;
    assert_eq!(harness.names(run).await, rows, "they would pause again");
    assert!(harness.claim(run, 9).await.is_empty());
    let noted = harness.lines_epoch(run).await;

    let outcomes = harness.read(run, &[line("x"), line("y").until("profile")]).await;
    assert_eq!(outcomes, [AddOutcome::Waiting(0); 2], "the same versions");
    assert!(noted >= before && harness.lines_epoch(run).await > noted);
    assert!(harness.names(run).await.is_empty());
    harness.crash().await;
    let queues = harness.claim(run, 9).await;
    assert_eq!(ids(&queues), ["x", "y"]);
    assert!(
        queues
            .iter()
            .all(|queue| queue.current_task == 1 && queue.lease.fence > 1)
    );
    for (queue, known) in queues.iter().zip(known) {
        assert_eq!(queue.lease.queue_id, known);
        harness.done(queue).await;
    }
    let expected = ["x", "y"]
        .iter()
        .zip(0..)
        .map(|(name, at)| format!("{name}@{at} completed completed[insight1] completed[answer1]"));
    assert_eq!(harness.names(run).await, expected.collect::<Vec<_>>());
}

pub(crate) async fn a_line_that_goes_on_takes_its_place_again(harness: &mut Harness) {
    let run = harness.run("a").await;
    let line = request("p").session("s").tasks(2);
    let next = request("y").session("s");
    harness.read(run, &[line.clone().each(), next.clone()]).await;
    harness.pause(&harness.claim_one(run).await).await;
    harness.read(run, &[line, next]).await;
    assert_eq!(
        harness.drain(run).await,
        ["p", "y"],
        "`y` was ready and steps back"
    );
    assert_eq!(
        harness.names(run).await,
        [
            "p@0 completed completed[answer1] completed[answer2]",
            "y@1 completed completed[answer3]"
        ]
    );
}

pub(crate) async fn an_undone_edit_without_what_paused_it_goes_on(harness: &mut Harness) {
    let run = harness.run("a").await;
    let line = request("x").tasks(2);
    harness.read(run, &[line.clone().until("answer")]).await;
    harness.pause(&harness.claim_one(run).await).await;
    harness.read(run, &[line.clone().query("else")]).await;
    let before = harness.lines_epoch(run).await;
    assert_eq!(harness.read(run, &[line]).await, [AddOutcome::Waiting(0)]);
    assert!(harness.lines_epoch(run).await > before);
    assert_eq!(harness.claim_one(run).await.current_task, 1);
}

pub(crate) async fn pending_tasks_go_to_a_later_request(harness: &mut Harness) {
    let run = harness.run("a").await;
    let queue = continued(harness, run).await;
    assert!(pending(harness).await.is_empty());
    assert_eq!(
        harness.take_over(&queue).await,
        TakeOver::LostLease,
        "it has a plan"
    );
    if !harness.crash().await {
        harness
            .store()
            .release(vec![nova3::store::ReleasedLease::untouched(queue.lease)])
            .await
            .expect("releases");
    }
    let queue = harness.claim_one(run).await;
    assert_eq!(
        (queue.planned, &queue.tasks),
        (true, &tasks(&["profile", "facts"]))
    );
    for task in 0..2 {
        harness.make(&queue, task, Then::GoOn).await;
    }
    let rows = [
        "p@0 continued completed[insight1] pending[] pending[]",
        "c@1 completed completed[profile1] completed[facts1]",
    ];
    assert_eq!(harness.names(run).await, rows);
    let finished = harness.finished(run).await.remove(1);
    let plan = finished.plan.expect("it has one");
    assert_eq!(
        (plan.origin, plan.making.attempts),
        (Some(PlanOrigin::Continued), 0)
    );
    let expected = Counts {
        total: 2,
        done: 1,
        continued: 1,
        ..Counts::default()
    };
    assert_eq!(counts(harness, run).await, expected);
    let sessions = [SessionCounts {
        user_id: "default".to_owned(),
        session_id: "s".to_owned(),
        total: 2,
        done: 1,
        failed: 0,
        paused: 0,
        continued: 1,
    }];
    assert_eq!(harness.store().sessions(run, 9).await.expect("reads"), sessions);
    // The paused line does not continue any more, because another request has its tasks.
    let goes_on = request("p").session("s").plan(&["insight", "profile", "facts"]);
    harness.read(run, &[goes_on, going_on("c")]).await;
    assert_eq!(harness.names(run).await, rows);
}

pub(crate) async fn what_was_paused_last_goes_on_first(harness: &mut Harness) {
    let run = harness.run("a").await;
    let other = request("q").session("s").plan(&["answer", "outline"]).each();
    harness
        .read(
            run,
            &[asked("p"), other, going_on("c"), going_on("d"), going_on("e")],
        )
        .await;
    for _ in 0..2 {
        harness.pause(&harness.claim_one(run).await).await;
    }
    let expected = [TakeOver::Taken(tasks(&["outline"])), rest(), TakeOver::Nothing];
    for taken in expected {
        let queue = harness.claim_one(run).await;
        assert_eq!(harness.take_over(&queue).await, taken, "{}", id(&queue));
        let TakeOver::Taken(tasks) = taken else { return };
        for task in 0..tasks.len() {
            harness.settle(completed(queue.lease, task, 1)).await;
        }
    }
}

pub(crate) async fn a_queue_that_continues_can_pause_too(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness
        .read(run, &[asked("p"), going_on("c").each(), going_on("d")])
        .await;
    harness.pause(&harness.claim_one(run).await).await;
    let queue = harness.claim_one(run).await;
    harness.take_over(&queue).await;
    harness
        .store()
        .release(vec![nova3::store::ReleasedLease::untouched(queue.lease)])
        .await
        .expect("releases");
    harness.pause(&harness.claim_one(run).await).await;
    let queue = harness.claim_one(run).await;
    assert_eq!(
        harness.take_over(&queue).await,
        TakeOver::Taken(tasks(&["facts"]))
    );
    assert_eq!(harness.done(&queue).await, Settled::Finished { ok: true });
    let expected = Counts {
        total: 3,
        done: 1,
        continued: 2,
        ..Counts::default()
    };
    assert_eq!(counts(harness, run).await, expected);
}

pub(crate) async fn nothing_is_taken_where_nothing_is_pending(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [
        request("alone").each().tasks(2),
        request("lone").unplanned(),
        asked("p"),
        request("u").session("s").user("u").unplanned(),
        request("t").session("t").unplanned(),
    ];
    harness.read(run, &input).await;
    let queues = harness.claim(run, 9).await;
    harness.pause(&queues[0]).await;
    harness.pause(&queues[2]).await;
    for queue in [&queues[1], &queues[3], &queues[4]] {
        assert_eq!(harness.take_over(queue).await, TakeOver::Nothing, "{}", id(queue));
        assert_eq!(
            harness.settle_plan(planned(queue.lease, &["answer"])).await,
            Settled::Stepped
        );
    }
    assert_eq!(counts(harness, run).await.paused, 2);
    harness.read(run, &[going_on("c")]).await;
    let stale = harness.claim_one(run).await;
    harness
        .store()
        .release(vec![nova3::store::ReleasedLease::untouched(stale.lease)])
        .await
        .expect("releases");
    assert_eq!(harness.take_over(&stale).await, TakeOver::LostLease);
    assert_eq!(
        pending(harness).await,
        tasks(&["insight", "profile", "facts"])[1..]
    );
    assert_eq!(harness.take_over(&harness.claim_one(run).await).await, rest());
}

pub(crate) async fn pending_tasks_go_to_another_run(harness: &mut Harness) {
    let (a, b) = (harness.run("a").await, harness.run("b").await);
    harness.read(a, &[asked("p")]).await;
    harness.read(b, &[going_on("c")]).await;
    harness.pause(&harness.claim_one(a).await).await;
    harness.crash().await;
    assert_eq!(harness.take_over(&harness.claim_one(b).await).await, rest());
    let done = Counts {
        total: 1,
        continued: 1,
        ..Counts::default()
    };
    assert_eq!(counts(harness, a).await, done);
    assert_eq!(
        harness.names(a).await,
        ["p@0 continued completed[insight1] pending[] pending[]"]
    );
}

pub(crate) async fn an_edit_gives_back_and_undoing_it_takes_again(harness: &mut Harness) {
    let run = harness.run("a").await;
    let before = harness.lines_epoch(run).await;
    let queue = continued(harness, run).await;
    assert!(
        harness.lines_epoch(run).await > before,
        "the line of `p` says something else"
    );
    harness.done(&queue).await;
    let before = harness.lines_epoch(run).await;
    let edited = [asked("p"), going_on("c").query("else")];
    harness.read(run, &edited).await;
    assert_eq!(
        pending(harness).await,
        tasks(&["insight", "profile", "facts"])[1..]
    );
    assert_eq!(counts(harness, run).await.paused, 1);
    assert_eq!(
        harness.names(run).await,
        ["p@0 paused completed[insight1] pending[] pending[]"]
    );
    assert!(harness.lines_epoch(run).await > before);
    let new = harness.claim_one(run).await;
    assert_eq!(harness.take_over(&new).await, rest());
    assert!(pending(harness).await.is_empty());

    harness.read(run, &[asked("p"), going_on("c")]).await;
    assert!(pending(harness).await.is_empty(), "its own again");
    let old = harness.claim_one(run).await;
    assert_eq!(
        (old.lease.queue_id, old.current_task, &old.tasks),
        (queue.lease.queue_id, 1, &tasks(&["profile", "facts"]))
    );
    harness.done(&old).await;
    let stand = counts(harness, run).await;
    assert_eq!((stand.done, stand.continued), (1, 1));
}

pub(crate) async fn what_another_has_now_is_not_given_back(harness: &mut Harness) {
    let run = harness.run("a").await;
    continued(harness, run).await;
    let (first, second) = (going_on("c"), going_on("c").query("else").tasks(1));
    let other = going_on("d");
    harness
        .read(run, &[asked("p"), second.clone(), other.clone()])
        .await;
    harness.done(&harness.claim_one(run).await).await;
    let has = harness.claim_one(run).await;
    assert_eq!(
        (id(&has), harness.take_over(&has).await),
        ("d".to_owned(), rest())
    );
    for version in [&first, &second, &first] {
        harness
            .read(run, &[asked("p"), version.clone(), other.clone()])
            .await;
        assert!(pending(harness).await.is_empty(), "`d` has them");
        assert_eq!(counts(harness, run).await.paused, 0);
    }
    harness
        .store()
        .release(vec![nova3::store::ReleasedLease::untouched(has.lease)])
        .await
        .expect("releases");
    let undone = harness.claim_one(run).await;
    assert_eq!(
        (id(&undone), undone.planned, undone.tasks.len()),
        ("c".to_owned(), false, 0),
        "no task is done for two"
    );
    harness
        .read(run, &[asked("p"), second, other.query("else")])
        .await;
    assert_eq!(
        pending(harness).await,
        tasks(&["insight", "profile", "facts"])[1..]
    );
}

pub(crate) async fn an_undone_edit_of_what_was_continued_stays_continued(harness: &mut Harness) {
    let run = harness.run("a").await;
    continued(harness, run).await;
    harness
        .read(run, &[asked("p").query("else"), going_on("c")])
        .await;
    let again = request("p").session("s").plan(&["insight", "profile", "facts"]);
    for undone in [asked("p"), again] {
        harness.read(run, &[undone, going_on("c")]).await;
        assert!(pending(harness).await.is_empty(), "`c` has them");
        assert_eq!(
            harness.names(run).await,
            ["p@0 continued completed[insight1] pending[] pending[]"]
        );
    }
}
