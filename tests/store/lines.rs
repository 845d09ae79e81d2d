//! Lines in a store that may have seen them before.

use nova3::domain::tally::Counts;
use nova3::store::{AddOutcome, Changes, NewLine, Order, RunId, Settled, StoreError};

use crate::store::harness::{Draft, Harness, bad, batch, completed, ids, lines, nameless, request};

pub(crate) async fn a_line_is_new_then_known_then_changed(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [request("x"), request("y")];
    assert_eq!(harness.read(run, &input).await, [AddOutcome::Queued; 2]);
    assert_eq!(harness.read(run, &input).await, [AddOutcome::Waiting(0); 2]);
    harness.drain(run).await;
    let rows = harness.finished(run).await;
    let known = [
        AddOutcome::Finished(rows[0].queue_id),
        AddOutcome::Finished(rows[1].queue_id),
    ];
    assert_eq!(harness.read(run, &input).await, known);
    let edited = [request("x"), request("y").query("else")];
    assert_eq!(harness.read(run, &edited).await, [known[0], AddOutcome::Changed]);
    assert_eq!(harness.names(run).await, ["x@0 completed completed[answer1]"]);
    assert_eq!(ids(&harness.claim(run, 9).await), ["y"]);
}

pub(crate) async fn an_undone_edit_finds_its_answer(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x")]).await;
    harness.drain(run).await;
    let answer = harness.finished(run).await[0].queue_id;
    let before = harness.lines_epoch(run).await;
    assert_eq!(
        harness.read(run, &[request("x").query("else")]).await,
        [AddOutcome::Changed]
    );
    let edited = harness.lines_epoch(run).await;
    assert!(edited > before, "the old line is no longer true");
    let doing = harness.claim_one(run).await;
    assert_eq!(
        harness.read(run, &[request("x")]).await,
        [AddOutcome::Finished(answer)]
    );
    assert!(
        harness.lines_epoch(run).await > edited,
        "the old line is true again"
    );
    assert_eq!(harness.names(run).await, ["x@0 completed completed[answer1]"]);
    assert_eq!(harness.done(&doing).await, nova3::store::Settled::LostLease);
    assert!(harness.claim(run, 9).await.is_empty());
}

pub(crate) async fn an_undone_edit_without_an_answer_goes_on(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").tasks(2)]).await;
    let first = harness.claim_one(run).await;
    harness.done(&first).await;
    harness.read(run, &[request("x").query("else")]).await;
    assert_eq!(
        harness.read(run, &[request("x").tasks(2)]).await,
        [AddOutcome::Waiting(0)]
    );
    let again = harness.claim_one(run).await;
    assert_eq!(
        (again.lease.queue_id, again.current_task),
        (first.lease.queue_id, 1)
    );
    assert!(again.lease.fence > first.lease.fence);
    assert_eq!(
        harness.settle(completed(first.lease, 1, 1)).await,
        Settled::LostLease,
        "an edit takes the lease away"
    );
}

pub(crate) async fn a_custom_id_twice_is_a_bad_line(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [request("x"), request("x").query("else"), request("x")];
    let outcomes = harness.read(run, &input).await;
    let rows = harness.finished(run).await;
    assert_eq!(
        outcomes,
        [
            AddOutcome::Queued,
            AddOutcome::Duplicate(rows[0].queue_id),
            AddOutcome::Duplicate(rows[1].queue_id)
        ]
    );
    assert_eq!(harness.names(run).await, ["-@1 failed", "-@2 failed"]);
    let failure = rows[1].failure.clone().expect("a reason");
    assert!(
        failure.message.contains("`x`") && failure.line == Some(5),
        "{failure:?}"
    );
    let again = harness.read(run, &input).await;
    assert_eq!(again[1..], outcomes[1..]);
    assert_eq!(ids(&harness.claim(run, 9).await), ["x"]);
}

pub(crate) async fn bad_lines_are_stored_as_failed(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [bad("{"), request("x"), bad("{")];
    let outcomes = harness.read(run, &input).await;
    let rows = harness.finished(run).await;
    let bads = [
        AddOutcome::Bad(rows[0].queue_id),
        AddOutcome::Bad(rows[1].queue_id),
    ];
    assert_eq!(outcomes, [bads[0], AddOutcome::Queued, bads[1]]);
    assert_ne!(bads[0], bads[1]);
    let epoch = harness.lines_epoch(run).await;
    assert_eq!(
        harness.read(run, &input).await,
        [bads[0], AddOutcome::Waiting(0), bads[1]]
    );
    assert_eq!(harness.lines_epoch(run).await, epoch, "nothing moved");
    let shifted = [request("w"), bad("{"), bad("{")];
    harness.read(run, &shifted).await;
    assert!(harness.lines_epoch(run).await > epoch);
    let rows = harness.finished(run).await;
    let places: Vec<_> = rows.iter().map(|row| (row.index, row.line)).collect();
    assert_eq!(places, [(1, 3), (2, 5)]);
}

pub(crate) async fn equal_lines_are_told_apart_by_occurrence(harness: &mut Harness) {
    let run = harness.run("a").await;
    let three = [nameless("q"), nameless("q"), nameless("q")];
    assert_eq!(harness.read(run, &three).await, [AddOutcome::Queued; 3]);
    harness.drain(run).await;
    let known: Vec<_> = harness
        .finished(run)
        .await
        .iter()
        .map(|row| AddOutcome::Finished(row.queue_id))
        .collect();
    assert_eq!(harness.read(run, &three).await, known);
    assert_eq!(harness.read(run, &three[..2]).await, known[..2]);
    assert_eq!(harness.finished(run).await.len(), 2);
    let four = [nameless("q"), nameless("q"), nameless("q"), nameless("q")];
    let outcomes = harness.read(run, &four).await;
    assert_eq!((&outcomes[..3], outcomes[3]), (&known[..], AddOutcome::Queued));
}

pub(crate) async fn a_thousand_equal_lines_are_a_thousand_requests(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = vec![nameless("q"); 1000];
    assert_eq!(harness.read(run, &input).await, [AddOutcome::Queued; 1000]);
    let epoch = harness.begin(run).await;
    // Occurrences are counted over all calls of one reading.
    for chunk in input.chunks(300) {
        assert_eq!(
            harness.add(run, epoch, chunk).await,
            vec![AddOutcome::Waiting(0); chunk.len()]
        );
    }
    let counts = harness.store().counts(run).await.expect("counts");
    assert_eq!(
        counts,
        Counts {
            total: 1000,
            ..Counts::default()
        }
    );
}

pub(crate) async fn notes_rewrite_the_line_and_cost_nothing(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").metadata(1)]).await;
    harness.drain(run).await;
    let before = harness.finished(run).await.remove(0);
    for edit in [
        request("x").metadata(2),
        request("x").metadata(2).priority(5),
        request("x"),
    ] {
        let epoch = harness.lines_epoch(run).await;
        assert_eq!(
            harness.read(run, &[edit]).await,
            [AddOutcome::Finished(before.queue_id)]
        );
        assert!(harness.lines_epoch(run).await > epoch);
        assert!(harness.claim(run, 9).await.is_empty());
    }
    let after = harness.finished(run).await.remove(0);
    assert_eq!(after.metadata.map(|raw| raw.get().to_owned()), None);
    assert_eq!(before.metadata.expect("it had some").get(), r#"{"row":1}"#);
    assert_eq!(after.finish_no, before.finish_no);
}

pub(crate) async fn a_move_makes_lines_stale(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x"), request("y")]).await;
    let unfinished = harness.lines_epoch(run).await;
    harness.read(run, &[request("y"), request("x")]).await;
    assert_eq!(
        harness.lines_epoch(run).await,
        unfinished,
        "nothing was written of them yet"
    );
    harness.drain(run).await;
    let epoch = harness.lines_epoch(run).await;
    harness.read(run, &[request("y"), request("x")]).await;
    assert_eq!(harness.lines_epoch(run).await, epoch);
    harness.read(run, &[request("x"), request("y")]).await;
    assert!(harness.lines_epoch(run).await > epoch);
    let places: Vec<_> = harness.names(run).await;
    assert_eq!(
        places,
        [
            "x@0 completed completed[answer1]",
            "y@1 completed completed[answer1]"
        ]
    );
}

pub(crate) async fn a_frozen_run_refuses_and_changes_nothing(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x"), request("y")]).await;
    let epoch = harness.begin(run).await;
    let edited = [request("z"), request("x"), request("y").query("else")];
    let refused = harness
        .try_add(run, epoch, &edited, Changes::Refuse)
        .await
        .expect_err("it changed");
    assert!(
        matches!(&refused, StoreError::Frozen { run, id, line: 5 } if run == "a" && id == "y"),
        "{refused}"
    );
    let counts = harness.store().counts(run).await.expect("counts");
    assert_eq!(
        counts,
        Counts {
            total: 2,
            ..Counts::default()
        },
        "`z` came in the same call"
    );
    let same = harness
        .try_add(run, epoch, &[request("x"), request("y")], Changes::Refuse)
        .await;
    assert_eq!(same.expect("nothing changed"), [AddOutcome::Waiting(0); 2]);
}

pub(crate) async fn a_frozen_run_refuses_to_go_back_too(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x")]).await;
    harness.read(run, &[request("x").query("else")]).await;
    let epoch = harness.begin(run).await;
    let refused = harness
        .try_add(run, epoch, &[request("x")], Changes::Refuse)
        .await;
    assert!(matches!(refused, Err(StoreError::Frozen { .. })));
}

/// Returns the names of all finished lines, in input order.
async fn names_of(harness: &Harness, run: RunId) -> Vec<Option<String>> {
    let rows = harness.pages(run, Order::Completion, None).await;
    let mut named: Vec<_> = rows.into_iter().map(|row| (row.index, row.custom_id)).collect();
    named.sort();
    named.into_iter().map(|(_, name)| name).collect()
}

pub(crate) async fn a_bad_line_keeps_its_name_where_it_is_free(harness: &mut Harness) {
    let run = harness.run("a").await;
    let bad = |id: &str, query: &str| request(id).user("no name").query(query);
    let some = |name: &str| Some(name.to_owned());
    let input = [
        bad("a", "1"),
        request("b"),
        bad("b", "1"),
        bad("a", "2"),
        bad("c", "1"),
    ];
    harness.read(run, &input).await;
    harness.drain(run).await;
    let names = [some("a"), some("b"), None, None, some("c")];
    assert_eq!(names_of(harness, run).await, names);
    let before = harness.lines_epoch(run).await;
    harness.read(run, &input).await;
    assert_eq!(
        (names_of(harness, run).await, harness.lines_epoch(run).await),
        (names.to_vec(), before)
    );
    let epoch = harness.begin(run).await;
    harness.add(run, epoch, &[bad("a", "1")]).await;
    harness
        .store()
        .add(
            run,
            epoch,
            later(&[bad("x", "1"), request("a")]),
            Changes::Replace,
        )
        .await
        .expect("adds");
    harness.end(run, epoch, 3).await;
    harness.drain(run).await;
    assert_eq!(
        names_of(harness, run).await,
        [None, some("x"), some("a")],
        "a request takes its name"
    );
    assert!(harness.lines_epoch(run).await > before);
    harness.read(run, &[bad("a", "1")]).await;
    assert_eq!(names_of(harness, run).await, [some("a")]);
    let events = harness.events(run, false).await;
    assert!(
        events[0].starts_with("-/"),
        "no event has a name that may change: {events:?}"
    );
}

/// Lines that follow one that was added before.
fn later(drafts: &[Draft]) -> Vec<NewLine> {
    let mut lines = lines(drafts);
    for line in &mut lines {
        line.line += 2;
        line.index += 1;
    }
    lines
}

pub(crate) async fn a_bad_batch_line_has_the_form_of_one(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [batch("a").user("no name"), batch("b"), batch("b")];
    harness.read(run, &input).await;
    let rows = harness.finished(run).await;
    let forms: Vec<_> = rows
        .iter()
        .map(|row| (row.is_completion, row.custom_id.as_deref(), row.failure.is_some()))
        .collect();
    assert_eq!(forms, [(true, Some("a"), true), (true, None, true)]);
    assert_eq!(harness.retry(run).await, 0);
}
