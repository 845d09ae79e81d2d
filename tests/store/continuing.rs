//! Pausing for a person, going on, and pending tasks that a later request takes over.

use nova3::domain::ids::{SessionId, UserId};
use nova3::domain::outcome::PlanOrigin;
use nova3::domain::tally::Counts;
use nova3::store::{AddOutcome, Claimed, PendingTask, RunId, SessionCounts, Settled, TakeOver, Then};

use crate::bed::{Bed, Draft, completed, id, ids, planned, request, tasks};

/// What a person asks for in session `s`: three tasks, stopped behind the first.
fn asked(id: &str) -> Draft {
    request(id)
        .session("s")
        .plan(&["insight", "profile", "facts"])
        .until("insight")
}

/// A later request of session `s` that wants to go on.
fn going_on(id: &str) -> Draft {
    request(id).session("s").unplanned()
}

/// What was pending behind `insight`, as another queue has it.
fn rest() -> TakeOver {
    TakeOver::Taken(tasks(&["profile", "facts"]))
}

/// `p` is paused and `c` has its pending tasks.
async fn continued(bed: &Bed, run: RunId) -> Claimed {
    bed.read(run, &[asked("p"), going_on("c")]).await;
    bed.pause(&bed.claim_one(run).await).await;
    let queue = bed.claim_one(run).await;
    assert_eq!(bed.take_over(&queue).await, rest());
    queue
}

/// What a request of session `s` that continues would take over.
async fn pending(bed: &Bed) -> Vec<PendingTask> {
    let user = UserId::default();
    let session = SessionId::parse("s").expect("a name");
    let record = bed.store().session(&user, &session).await.expect("reads");
    record.map_or_else(Vec::new, |record| record.pending)
}

async fn counts(bed: &Bed, run: RunId) -> Counts {
    bed.store().counts(run).await.expect("counts")
}

pub(crate) async fn a_pause_is_an_end_that_lets_the_session_go_on(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(run, &[asked("p"), request("y").session("s")]).await;
    let queue = bed.claim_one(run).await;
    assert_eq!(bed.pause(&queue).await, Settled::Finished { ok: true });
    bed.crash().await;
    let expected = Counts {
        total: 2,
        paused: 1,
        ..Counts::default()
    };
    assert_eq!(counts(bed, run).await, expected);
    let row = "p@0 paused completed[insight1] pending[] pending[]";
    assert_eq!(bed.names(run).await, [row]);
    assert_eq!(pending(bed).await, tasks(&["insight", "profile", "facts"])[1..]);
    assert_eq!(bed.done(&queue).await, Settled::LostLease);
    assert_eq!(bed.drain(run).await, ["y"]);
    assert!(!bed.store().has_unfinished(run).await.expect("reads"));
    assert_eq!(bed.retry(run).await, 0, "a pause is no failure");
    let sessions = bed.store().sessions(run, 9).await.expect("reads");
    assert_eq!(
        (sessions[0].total, sessions[0].done, sessions[0].failed),
        (2, 1, 0)
    );
}

pub(crate) async fn the_last_task_pauses_nothing(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(run, &[request("x").each()]).await;
    assert_eq!(
        bed.pause(&bed.claim_one(run).await).await,
        Settled::Finished { ok: true }
    );
    assert_eq!(bed.names(run).await, ["x@0 completed completed[answer1]"]);
    assert_eq!(counts(bed, run).await.done, 1);
}

pub(crate) async fn without_what_paused_it_a_line_goes_on(bed: &mut Bed) {
    let run = bed.run("a").await;
    let line = |id: &str| request(id).plan(&["insight", "profile"]);
    let paused = [line("x").until("insight"), line("y").each()];
    bed.read(run, &paused).await;
    for queue in bed.claim(run, 9).await {
        bed.pause(&queue).await;
    }
    let rows = bed.names(run).await;
    let before = bed.lines_epoch(run).await;
    let known: Vec<_> = bed.finished(run).await.iter().map(|row| row.queue_id).collect();
    let same = bed.read(run, &paused).await;
    assert_eq!(
        same,
        [AddOutcome::Finished(known[0]), AddOutcome::Finished(known[1])]
    );
    let others = [line("x").each(), line("y").until("insight")];
    bed.read(run, &others).await;
    assert_eq!(bed.names(run).await, rows, "they would pause again");
    assert!(bed.claim(run, 9).await.is_empty());
    let noted = bed.lines_epoch(run).await;

    let outcomes = bed.read(run, &[line("x"), line("y").until("profile")]).await;
    assert_eq!(outcomes, [AddOutcome::Waiting(0); 2], "the same versions");
    assert!(noted >= before && bed.lines_epoch(run).await > noted);
    assert!(bed.names(run).await.is_empty());
    bed.crash().await;
    let queues = bed.claim(run, 9).await;
    assert_eq!(ids(&queues), ["x", "y"]);
    assert!(
        queues
            .iter()
            .all(|queue| queue.current_task == 1 && queue.lease.fence > 1)
    );
    for (queue, known) in queues.iter().zip(known) {
        assert_eq!(queue.lease.queue_id, known);
        bed.done(queue).await;
    }
    let expected = ["x", "y"]
        .iter()
        .zip(0..)
        .map(|(name, at)| format!("{name}@{at} completed completed[insight1] completed[answer1]"));
    assert_eq!(bed.names(run).await, expected.collect::<Vec<_>>());
}

pub(crate) async fn a_line_that_goes_on_takes_its_place_again(bed: &mut Bed) {
    let run = bed.run("a").await;
    let line = request("p").session("s").tasks(2);
    let next = request("y").session("s");
    bed.read(run, &[line.clone().each(), next.clone()]).await;
    bed.pause(&bed.claim_one(run).await).await;
    bed.read(run, &[line, next]).await;
    assert_eq!(bed.drain(run).await, ["p", "y"], "`y` was ready and steps back");
    assert_eq!(
        bed.names(run).await,
        [
            "p@0 completed completed[answer1] completed[answer2]",
            "y@1 completed completed[answer3]"
        ]
    );
}

pub(crate) async fn an_undone_edit_without_what_paused_it_goes_on(bed: &mut Bed) {
    let run = bed.run("a").await;
    let line = request("x").tasks(2);
    bed.read(run, &[line.clone().until("answer")]).await;
    bed.pause(&bed.claim_one(run).await).await;
    bed.read(run, &[line.clone().query("else")]).await;
    let before = bed.lines_epoch(run).await;
    assert_eq!(bed.read(run, &[line]).await, [AddOutcome::Waiting(0)]);
    assert!(bed.lines_epoch(run).await > before);
    assert_eq!(bed.claim_one(run).await.current_task, 1);
}

pub(crate) async fn pending_tasks_go_to_a_later_request(bed: &mut Bed) {
    let run = bed.run("a").await;
    let queue = continued(bed, run).await;
    assert!(pending(bed).await.is_empty());
    assert_eq!(bed.take_over(&queue).await, TakeOver::LostLease, "it has a plan");
    if !bed.crash().await {
        bed.store()
            .release(vec![nova3::store::Left::untouched(queue.lease)])
            .await
            .expect("releases");
    }
    let queue = bed.claim_one(run).await;
    assert_eq!(
        (queue.planned, &queue.tasks),
        (true, &tasks(&["profile", "facts"]))
    );
    for task in 0..2 {
        bed.make(&queue, task, Then::GoOn).await;
    }
    let rows = [
        "p@0 continued completed[insight1] pending[] pending[]",
        "c@1 completed completed[profile1] completed[facts1]",
    ];
    assert_eq!(bed.names(run).await, rows);
    let finished = bed.finished(run).await.remove(1);
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
    assert_eq!(counts(bed, run).await, expected);
    let sessions = [SessionCounts {
        user_id: "default".to_owned(),
        session_id: "s".to_owned(),
        total: 2,
        done: 1,
        failed: 0,
        paused: 0,
        continued: 1,
    }];
    assert_eq!(bed.store().sessions(run, 9).await.expect("reads"), sessions);
    // The line that paused goes on no more: its tasks are another's.
    let goes_on = request("p").session("s").plan(&["insight", "profile", "facts"]);
    bed.read(run, &[goes_on, going_on("c")]).await;
    assert_eq!(bed.names(run).await, rows);
}

pub(crate) async fn what_was_paused_last_goes_on_first(bed: &mut Bed) {
    let run = bed.run("a").await;
    let other = request("q").session("s").plan(&["answer", "outline"]).each();
    bed.read(
        run,
        &[asked("p"), other, going_on("c"), going_on("d"), going_on("e")],
    )
    .await;
    for _ in 0..2 {
        bed.pause(&bed.claim_one(run).await).await;
    }
    let expected = [TakeOver::Taken(tasks(&["outline"])), rest(), TakeOver::Nothing];
    for taken in expected {
        let queue = bed.claim_one(run).await;
        assert_eq!(bed.take_over(&queue).await, taken, "{}", id(&queue));
        let TakeOver::Taken(tasks) = taken else { return };
        for task in 0..tasks.len() {
            bed.settle(completed(queue.lease, task, 1)).await;
        }
    }
}

pub(crate) async fn a_queue_that_continues_can_pause_too(bed: &mut Bed) {
    let run = bed.run("a").await;
    bed.read(run, &[asked("p"), going_on("c").each(), going_on("d")])
        .await;
    bed.pause(&bed.claim_one(run).await).await;
    let queue = bed.claim_one(run).await;
    bed.take_over(&queue).await;
    bed.store()
        .release(vec![nova3::store::Left::untouched(queue.lease)])
        .await
        .expect("releases");
    bed.pause(&bed.claim_one(run).await).await;
    let queue = bed.claim_one(run).await;
    assert_eq!(bed.take_over(&queue).await, TakeOver::Taken(tasks(&["facts"])));
    assert_eq!(bed.done(&queue).await, Settled::Finished { ok: true });
    let expected = Counts {
        total: 3,
        done: 1,
        continued: 2,
        ..Counts::default()
    };
    assert_eq!(counts(bed, run).await, expected);
}

pub(crate) async fn nothing_is_taken_where_nothing_is_pending(bed: &mut Bed) {
    let run = bed.run("a").await;
    let input = [
        request("alone").each().tasks(2),
        request("lone").unplanned(),
        asked("p"),
        request("u").session("s").user("u").unplanned(),
        request("t").session("t").unplanned(),
    ];
    bed.read(run, &input).await;
    let queues = bed.claim(run, 9).await;
    bed.pause(&queues[0]).await;
    bed.pause(&queues[2]).await;
    for queue in [&queues[1], &queues[3], &queues[4]] {
        assert_eq!(bed.take_over(queue).await, TakeOver::Nothing, "{}", id(queue));
        assert_eq!(
            bed.settle_plan(planned(queue.lease, &["answer"])).await,
            Settled::Stepped
        );
    }
    assert_eq!(counts(bed, run).await.paused, 2);
    bed.read(run, &[going_on("c")]).await;
    let stale = bed.claim_one(run).await;
    bed.store()
        .release(vec![nova3::store::Left::untouched(stale.lease)])
        .await
        .expect("releases");
    assert_eq!(bed.take_over(&stale).await, TakeOver::LostLease);
    assert_eq!(pending(bed).await, tasks(&["insight", "profile", "facts"])[1..]);
    assert_eq!(bed.take_over(&bed.claim_one(run).await).await, rest());
}

pub(crate) async fn pending_tasks_go_to_another_run(bed: &mut Bed) {
    let (a, b) = (bed.run("a").await, bed.run("b").await);
    bed.read(a, &[asked("p")]).await;
    bed.read(b, &[going_on("c")]).await;
    bed.pause(&bed.claim_one(a).await).await;
    bed.crash().await;
    assert_eq!(bed.take_over(&bed.claim_one(b).await).await, rest());
    let done = Counts {
        total: 1,
        continued: 1,
        ..Counts::default()
    };
    assert_eq!(counts(bed, a).await, done);
    assert_eq!(
        bed.names(a).await,
        ["p@0 continued completed[insight1] pending[] pending[]"]
    );
}

pub(crate) async fn an_edit_gives_back_and_undoing_it_takes_again(bed: &mut Bed) {
    let run = bed.run("a").await;
    let before = bed.lines_epoch(run).await;
    let queue = continued(bed, run).await;
    assert!(
        bed.lines_epoch(run).await > before,
        "the line of `p` says something else"
    );
    bed.done(&queue).await;
    let before = bed.lines_epoch(run).await;
    let edited = [asked("p"), going_on("c").query("else")];
    bed.read(run, &edited).await;
    assert_eq!(pending(bed).await, tasks(&["insight", "profile", "facts"])[1..]);
    assert_eq!(counts(bed, run).await.paused, 1);
    assert_eq!(
        bed.names(run).await,
        ["p@0 paused completed[insight1] pending[] pending[]"]
    );
    assert!(bed.lines_epoch(run).await > before);
    let new = bed.claim_one(run).await;
    assert_eq!(bed.take_over(&new).await, rest());
    assert!(pending(bed).await.is_empty());

    bed.read(run, &[asked("p"), going_on("c")]).await;
    assert!(pending(bed).await.is_empty(), "its own again");
    let old = bed.claim_one(run).await;
    assert_eq!(
        (old.lease.queue_id, old.current_task, &old.tasks),
        (queue.lease.queue_id, 1, &tasks(&["profile", "facts"]))
    );
    bed.done(&old).await;
    let stand = counts(bed, run).await;
    assert_eq!((stand.done, stand.continued), (1, 1));
}

pub(crate) async fn what_another_has_now_is_not_given_back(bed: &mut Bed) {
    let run = bed.run("a").await;
    continued(bed, run).await;
    let (first, second) = (going_on("c"), going_on("c").query("else").tasks(1));
    let other = going_on("d");
    bed.read(run, &[asked("p"), second.clone(), other.clone()]).await;
    bed.done(&bed.claim_one(run).await).await;
    let has = bed.claim_one(run).await;
    assert_eq!((id(&has), bed.take_over(&has).await), ("d".to_owned(), rest()));
    for version in [&first, &second, &first] {
        bed.read(run, &[asked("p"), version.clone(), other.clone()]).await;
        assert!(pending(bed).await.is_empty(), "`d` has them");
        assert_eq!(counts(bed, run).await.paused, 0);
    }
    bed.store()
        .release(vec![nova3::store::Left::untouched(has.lease)])
        .await
        .expect("releases");
    let undone = bed.claim_one(run).await;
    assert_eq!(
        (id(&undone), undone.planned, undone.tasks.len()),
        ("c".to_owned(), false, 0),
        "no task is done for two"
    );
    bed.read(run, &[asked("p"), second, other.query("else")]).await;
    assert_eq!(pending(bed).await, tasks(&["insight", "profile", "facts"])[1..]);
}

pub(crate) async fn an_undone_edit_of_what_was_continued_stays_continued(bed: &mut Bed) {
    let run = bed.run("a").await;
    continued(bed, run).await;
    bed.read(run, &[asked("p").query("else"), going_on("c")]).await;
    let again = request("p").session("s").plan(&["insight", "profile", "facts"]);
    for undone in [asked("p"), again] {
        bed.read(run, &[undone, going_on("c")]).await;
        assert!(pending(bed).await.is_empty(), "`c` has them");
        assert_eq!(
            bed.names(run).await,
            ["p@0 continued completed[insight1] pending[] pending[]"]
        );
    }
}
