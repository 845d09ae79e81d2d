//! The context of a task, and the numbers of items.

use nova3::domain::failure::Class;
use nova3::domain::ids::{SessionId, UserId};
use nova3::store::{Claimed, Earlier, Material, Round, StoredItem, TakeOver, Then, Wanted};

use crate::store::harness::{Harness, body, completed, ids, request, tasks};

/// Returns the context of that queue with these items and that many rounds.
async fn context(harness: &Harness, queue: &Claimed, items: &[&str], rounds: usize) -> Material {
    let wanted = Wanted {
        queue_id: Some(queue.lease.queue_id),
        user: queue.request.user.clone(),
        session: queue.request.session.clone(),
        items: items.iter().map(|id| (*id).to_owned()).collect(),
        rounds,
    };
    let mut material = harness.store().context(&wanted).await.expect("reads");
    for round in &mut material.rounds {
        assert!(round.completed_at > 0);
        round.completed_at = 0;
    }
    material
}

fn stored(ids: &[&str]) -> Vec<StoredItem> {
    let item = |id: &&str| StoredItem {
        id: (*id).to_owned(),
        body: body(),
    };
    ids.iter().map(item).collect()
}

fn earlier(task_id: &str, action: &str, ids: &[&str]) -> Earlier {
    Earlier {
        task_id: task_id.to_owned(),
        action: action.to_owned(),
        items: stored(ids),
        own: false,
    }
}

/// Marks the result as one of the queue itself.
fn own(earlier: Earlier) -> Earlier {
    Earlier { own: true, ..earlier }
}

/// A round of run `a` whose query is its name.
fn round(number: u64, name: &str, status: &str, output: &[&str]) -> Round {
    Round {
        number,
        run: "a".to_owned(),
        custom_id: Some(name.to_owned()),
        status: status.to_owned(),
        query: Some("q".to_owned()),
        output: stored(output),
        completed_at: 0,
    }
}

pub(crate) async fn earlier_results_reach_back_through_what_is_continued(harness: &mut Harness) {
    let run = harness.run("a").await;
    let p = request("p")
        .session("s")
        .plan(&["insight", "profile", "facts", "answer"])
        .until("profile");
    let c = request("c").session("s").unplanned();
    harness.read(run, &[p, c.clone().each(), c.id("d")]).await;
    let queue = harness.claim_one(run).await;
    assert_eq!(context(harness, &queue, &[], 9).await, Material::default());
    harness.make(&queue, 0, Then::GoOn).await;
    let made = vec![own(earlier("task001", "insight", &["insight1"]))];
    assert_eq!(context(harness, &queue, &[], 9).await.earlier, made);
    harness.make(&queue, 1, Then::Pause).await;
    let continues = async || {
        let queue = harness.claim_one(run).await;
        harness.take_over(&queue).await;
        harness
            .store()
            .release(vec![nova3::store::ReleasedLease::untouched(queue.lease)])
            .await
            .expect("releases");
        harness.claim_one(run).await
    };
    harness.pause(&continues().await).await;
    harness.crash().await;
    let last = harness.claim_one(run).await;
    assert_eq!(
        harness.take_over(&last).await,
        TakeOver::Taken(tasks(&["answer"]))
    );
    harness.settle(completed(last.lease, 0, 2)).await;
    let expected = Material {
        earlier: vec![
            earlier("task001", "insight", &["insight1"]),
            earlier("task002", "profile", &["profile1"]),
            earlier("task001", "facts", &["facts1"]),
            own(earlier("task001", "answer", &["answer1", "answer2"])),
        ],
        items: vec![],
        // Earlier results are not rounds as well.
        rounds: vec![],
        left: vec![],
        replaced: vec![],
    };
    assert_eq!(context(harness, &last, &[], 9).await, expected);
}

pub(crate) async fn items_of_the_session_are_found_by_their_names(harness: &mut Harness) {
    let (a, b) = (harness.run("a").await, harness.run("b").await);
    let of = |id: &str| request(id).plan(&["insight", "profile"]);
    harness
        .read(a, &[of("x").session("s"), of("t").session("t").tasks(3)])
        .await;
    harness
        .read(b, &[of("y").session("s"), of("u").session("s").user("u")])
        .await;
    let queues = harness.claim(a, 9).await;
    harness.make(&queues[0], 0, Then::GoOn).await;
    harness.settle(completed(queues[1].lease, 0, 9)).await;
    harness.make(&queues[0], 1, Then::GoOn).await;
    let queues = harness.claim(b, 9).await;
    assert_eq!(ids(&queues), ["y", "u"]);
    harness.make(&queues[0], 0, Then::GoOn).await;
    let wish = [
        "insight2",
        "answer1",
        "profile1",
        "insight1",
        "insight3",
        "insight01",
        "@insight1",
        "",
        "profile1",
    ];
    assert_eq!(
        context(harness, &queues[0], &wish, 0).await.items,
        stored(&["insight2", "profile1", "insight1", "profile1"])
    );
    assert_eq!(context(harness, &queues[1], &wish, 0).await, Material::default());
}

pub(crate) async fn what_was_left_is_remembered_until_it_is_chosen(harness: &mut Harness) {
    let run = harness.run("a").await;
    let of = |id: &str| request(id).session("s");
    harness
        .read(
            run,
            &[
                of("x").shown(&["insight1"], &["insight2", "insight3"]),
                of("y").shown(&["insight3"], &["insight4"]),
                of("z"),
            ],
        )
        .await;
    harness.done(&harness.claim_one(run).await).await;
    let second = harness.claim_one(run).await;
    assert_eq!(
        context(harness, &second, &[], 9).await.left,
        ["insight2", "insight3"]
    );
    harness.done(&second).await;
    harness.crash().await;
    let third = harness.claim_one(run).await;
    assert_eq!(
        context(harness, &third, &[], 9).await.left,
        ["insight2", "insight4"]
    );
    // Selections count as long as their rounds do.
    assert_eq!(context(harness, &third, &[], 1).await.left, ["insight4"]);
}

pub(crate) async fn the_last_rounds_come_oldest_first(harness: &mut Harness) {
    let run = harness.run("a").await;
    let of = |id: &str| request(id).session("s").plan(&["insight", "answer"]);
    let input = [
        of("w").query("what was asked"),
        of("failed"),
        of("edited"),
        of("p").each(),
        of("x"),
        of("own"),
        of("t").session("t"),
    ];
    harness.read(run, &input).await;
    let mut own = None;
    while let Some(queue) = harness.claim(run, 1).await.pop() {
        match queue.request.custom_id.as_deref() {
            Some("failed") => drop(harness.fail(&queue, Class::Server).await),
            Some("p") => drop(harness.pause(&queue).await),
            Some("own") => own = Some(queue),
            _ => {
                harness.make(&queue, 0, Then::GoOn).await;
                harness.make(&queue, 1, Then::GoOn).await;
            }
        }
    }
    let own = own.expect("it came last of its session");
    let mut edited = input.to_vec();
    edited[2] = of("edited").query("else");
    harness.read(run, &edited).await;
    harness.crash().await;
    let rounds = [
        Round {
            query: Some("what was asked".to_owned()),
            ..round(1, "w", "completed", &["answer1"])
        },
        round(3, "p", "paused", &["insight3"]),
        round(4, "x", "completed", &["answer3"]),
    ];
    for most in [0, 1, 2, 3, 9] {
        let found = context(harness, &own, &[], most).await.rounds;
        assert_eq!(found, rounds[3 - most.min(3)..]);
    }
}

pub(crate) async fn an_ended_request_is_no_round_of_its_own(harness: &mut Harness) {
    let run = harness.run("a").await;
    let of = |id: &str| request(id).session("s");
    harness.read(run, &[of("x"), of("y"), of("z")]).await;
    harness.done(&harness.claim_one(run).await).await;
    harness.done(&harness.claim_one(run).await).await;
    let own = harness.claim_one(run).await;
    harness.done(&own).await;
    let found = context(harness, &own, &[], 2).await.rounds;
    let others = [
        round(1, "x", "completed", &["answer1"]),
        round(2, "y", "completed", &["answer2"]),
    ];
    assert_eq!(found, others);
}

pub(crate) async fn a_request_alone_sees_only_its_own(harness: &mut Harness) {
    let run = harness.run("a").await;
    let alone = request("x").plan(&["insight", "answer"]);
    harness
        .read(run, &[request("s").session("s"), alone, request("y")])
        .await;
    let queues = harness.claim(run, 9).await;
    harness.done(&queues[0]).await;
    harness.make(&queues[1], 0, Then::GoOn).await;
    harness.settle(completed(queues[1].lease, 1, 2)).await;
    harness.done(&queues[2]).await;
    let expected = Material {
        earlier: vec![
            own(earlier("task001", "insight", &["insight1"])),
            own(earlier("task002", "answer", &["answer1", "answer2"])),
        ],
        items: stored(&["answer2", "insight1"]),
        rounds: vec![],
        left: vec![],
        replaced: vec![],
    };
    let wish = ["answer2", "insight1", "answer3", "insight2"];
    assert_eq!(context(harness, &queues[1], &wish, 9).await, expected);
}

pub(crate) async fn numbers_have_no_gap_whatever_comes_between(harness: &mut Harness) {
    let runs = [harness.run("a").await, harness.run("b").await];
    let plan = ["insight", "answer", "insight"];
    for (run, names) in runs.into_iter().zip([["a1", "a2"], ["b1", "b2"]]) {
        let input = names.map(|name| request(name).session("s").plan(&plan));
        harness.read(run, &input).await;
    }
    // Each turn settles one task, fails it, releases it or crashes, in the two runs by turns.
    for turn in 0..40 {
        let run = runs[turn % 2];
        let Some(queue) = harness.claim(run, 1).await.pop() else {
            harness.retry(run).await;
            continue;
        };
        match turn % 7 {
            2 => drop(harness.fail(&queue, Class::Server).await),
            4 if harness.crash().await => {}
            _ => {
                harness.make(&queue, queue.current_task, Then::GoOn).await;
                harness
                    .store()
                    .release(vec![nova3::store::ReleasedLease::untouched(queue.lease)])
                    .await
                    .expect("releases");
            }
        }
    }
    for run in runs {
        harness.retry(run).await;
        harness.drain(run).await;
        let rows = harness.finished(run).await;
        assert!(rows.len() == 2 && rows.iter().all(|row| row.status.is_ok()));
    }
    let session = SessionId::parse("s").expect("a name");
    let record = harness.store().session(&UserId::default(), &session).await;
    let record = record.expect("reads").expect("it is known");
    let of = |kind: &str| {
        let numbers = record.items.iter().filter_map(|item| item.id.strip_prefix(kind));
        numbers
            .map(|number| number.parse().expect("a number"))
            .collect::<Vec<usize>>()
    };
    let (insights, answers) = (of("insight"), of("answer"));
    assert_eq!(insights.len() + answers.len(), 12, "one item for each task");
    for numbers in [insights, answers] {
        assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
    }
}
