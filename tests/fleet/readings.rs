//! Two hosts run the same command: two readings of one run at once, and settlements while lines change.

use nova3::domain::tally::Counts;
use nova3::store::{AddOutcome, Changes, Settled, StoreError};

use crate::fleet::draft::lines;
use crate::fleet::harness::{Lock, Sql, claim, workers, wrongs};
use crate::store::harness::{Draft, Harness, ids, mark, nameless, request};

fn input() -> Vec<Draft> {
    let mut input: Vec<Draft> = (0..24)
        .map(|number| {
            let draft = request(&format!("r{number}"));
            if number % 3 == 0 {
                draft.session(&format!("s{}", number % 2))
            } else {
                draft
            }
        })
        .collect();
    input.extend((0..6).map(|_| nameless("the same")));
    input.push(crate::store::harness::bad("no request"));
    input
}

/// Does a complete reading, a few lines at a time.
async fn read(harness: &Harness, run: nova3::store::RunId, drafts: &[Draft]) -> Vec<AddOutcome> {
    let epoch = harness.begin(run).await;
    let mut outcomes = Vec::new();
    for chunk in lines(drafts).chunks(4) {
        let added = harness
            .store()
            .add(run, epoch, chunk.to_vec(), Changes::Replace)
            .await;
        outcomes.extend(added.expect("adds"));
        tokio::task::yield_now().await;
    }
    let end = harness.store().end_ingest(run, epoch, &mark(drafts.len())).await;
    end.expect("ends");
    outcomes
}

#[tokio::test]
async fn two_readings_at_once_are_one_input() {
    let (url, [first, second]) = workers::<2>().await;
    let run = first.run("a").await;
    assert_eq!(second.run("a").await, run);
    let input = input();
    for _ in 0..3 {
        let (ours, theirs) = tokio::join!(read(&first, run, &input), read(&second, run, &input));
        assert_eq!((ours.len(), theirs.len()), (input.len(), input.len()));
        let counts = first.store().counts(run).await.expect("counts");
        assert_eq!((counts.total, counts.failed), (31, 1));
    }
    assert_eq!(first.drain(run).await.len(), 30);
    let counts = second.store().counts(run).await.expect("counts");
    let expected = Counts {
        total: 31,
        done: 30,
        failed: 1,
        ..Counts::default()
    };
    assert_eq!(counts, expected);
    assert_eq!(first.finished(run).await.len(), 31);
    assert_eq!(wrongs(&mut Sql::at(&url).await).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_reading_that_began_last_counts() {
    let (_, [first, second]) = workers::<2>().await;
    let run = first.run("a").await;
    let old = first.begin(run).await;
    first.add(run, old, &[request("both"), request("old")]).await;
    let new = second.begin(run).await;
    second.add(run, new, &[request("both"), request("new")]).await;
    second.end(run, new, 2).await;
    // The reading that began first ends last, and has seen one more line by then.
    first
        .add(run, old, &[request("both"), request("old"), request("late")])
        .await;
    first.end(run, old, 3).await;
    assert_eq!(first.store().counts(run).await.expect("counts").total, 2);
    assert_eq!(first.drain(run).await, ["both", "new"]);
    let known = first
        .store()
        .find_run(Some("a"))
        .await
        .expect("reads")
        .expect("is there");
    assert_eq!(known.mark, Some(mark(2)), "the mark is that of the last");
    assert!(!second.store().has_unfinished(run).await.expect("reads"));
}

#[tokio::test]
async fn a_line_that_one_reading_leaves_out_while_the_other_sees_it_is_run() {
    let (url, [first, second]) = workers::<2>().await;
    let run = first.run("a").await;
    first.read(run, &[request("x"), request("y")]).await;
    let without = first.begin(run).await;
    first.add(run, without, &[request("y")]).await;
    let with = second.begin(run).await;
    // The second reading's look-up is outdated when it writes, because the first reading has ended in the meantime.
    let mut hold = Lock::of(
        &url,
        "SELECT 1 FROM nova3_queues WHERE custom_id = 'x' FOR UPDATE",
    )
    .await;
    tokio::join!(
        async {
            first.end(run, without, 1).await;
        },
        async {
            hold.until_waited_for(1).await;
            let drafts = [request("x"), request("y")];
            tokio::join!(second.add(run, with, &drafts), async {
                // It waits for the end of the other reading, or for the same row.
                let mut look = Sql::at(&url).await;
                crate::fleet::harness::until("the second reading", async || {
                    look.number("SELECT count(*) FROM pg_locks WHERE NOT granted")
                        .await
                        >= 2
                })
                .await;
                hold.commit().await;
            });
        }
    );
    second.end(run, with, 2).await;
    let mut order = first.drain(run).await;
    order.sort();
    assert_eq!(order, ["x", "y"]);
}

#[tokio::test]
async fn a_result_that_comes_while_its_line_changes_is_no_longer_true() {
    let (url, [first, second]) = workers::<2>().await;
    let run = first.run("a").await;
    let x = |query: &str| request("x").query(query);
    first.read(run, &[x("old")]).await;
    let queue = claim(&first, "p", run, 1).await.remove(0);
    let before = first.lines_epoch(run).await;
    // The reading has looked the line up as unfinished and waits to replace it. The line's result is committed first.
    let epoch = second.begin(run).await;
    let settle = format!(
        "SELECT * FROM nova3_settle({}, ARRAY[ROW({}, {}, 0, 1, 'go_on', true, NULL, '[]', '{{}}', NULL, NULL, NULL, '{{}}', '{{}}', '{{}}')::nova3_settlement])",
        run.0, queue.lease.queue_id, queue.lease.fence
    );
    let mut hold = Lock::of(&url, &settle).await;
    let drafts = [x("new")];
    tokio::join!(second.add(run, epoch, &drafts), async {
        hold.until_waited_for(1).await;
        hold.commit().await;
    });
    second.end(run, epoch, 1).await;
    assert_eq!(first.names(run).await, Vec::<String>::new());
    assert!(
        first.lines_epoch(run).await > before,
        "its writer has to write the file anew"
    );
}

#[tokio::test]
async fn a_result_that_comes_while_its_line_moves_is_written_anew() {
    let (url, [first, second]) = workers::<2>().await;
    let run = first.run("a").await;
    first.read(run, &[request("x")]).await;
    let queue = claim(&first, "p", run, 1).await.remove(0);
    let epoch = second.begin(run).await;
    let before = first.lines_epoch(run).await;
    let mut hold = Lock::of(
        &url,
        "SELECT 1 FROM nova3_queues WHERE custom_id = 'x' FOR UPDATE",
    )
    .await;
    let drafts = [request("new"), request("x")];
    tokio::join!(second.add(run, epoch, &drafts), async {
        hold.until_waited_for(1).await;
        hold.and(
            "UPDATE nova3_queues SET state = 'done', status = 'completed', finish_no = 1, leased = 0 WHERE custom_id = 'x'",
        )
        .await;
        hold.and("UPDATE nova3_tasks SET status = 'completed', lease_owner = NULL, lease_until = NULL")
            .await;
        hold.commit().await;
    });
    second.end(run, epoch, 2).await;
    assert_eq!(first.done(&queue).await, Settled::LostLease);
    assert!(
        first.lines_epoch(run).await > before,
        "it says where its line stood"
    );
}

#[tokio::test]
async fn what_another_takes_over_meanwhile_does_not_go_on_as_well() {
    let (url, [first, second]) = workers::<2>().await;
    let run = first.run("a").await;
    let paused = |until: bool| {
        let draft = request("x").session("s").plan(&["insight", "answer"]);
        if until { draft.until("insight") } else { draft }
    };
    first.read(run, &[paused(true)]).await;
    first.pause(&claim(&first, "p", run, 1).await[0]).await;
    let epoch = second.begin(run).await;
    let mut hold = Lock::of(
        &url,
        "UPDATE nova3_queues SET state = 'continued' WHERE custom_id = 'x'",
    )
    .await;
    let drafts = [paused(false)];
    tokio::join!(second.add(run, epoch, &drafts), async {
        hold.until_waited_for(1).await;
        hold.commit().await;
    });
    second.end(run, epoch, 1).await;
    assert_eq!(ids(&claim(&second, "q", run, 9).await), Vec::<String>::new());
    let state = Sql::at(&url).await.text("SELECT state FROM nova3_queues").await;
    assert_eq!(state, "continued");
}

/// A reading is refused when the database has lost a part of it.
async fn refused(first: &Harness, sql: &mut Sql, loss: &str) {
    let run = first.run("a").await;
    let epoch = first.begin(run).await;
    first.add(run, epoch, &[request("x")]).await;
    first.add(run, epoch, &[request("y")]).await;
    sql.run(loss).await;
    let added = first.try_add(run, epoch, &[request("z")], Changes::Replace).await;
    assert!(
        matches!(added, Err(StoreError::WentBack { .. })),
        "{loss}: {added:?}"
    );
    let ended = first.store().end_ingest(run, epoch, &mark(3)).await;
    assert!(
        matches!(ended, Err(StoreError::WentBack { .. })),
        "{loss}: {ended:?}"
    );
}

#[tokio::test]
async fn a_reading_that_has_lost_lines_goes_no_further() {
    let losses = [
        // The last chunk, all chunks, and the beginning of the reading as well.
        "UPDATE nova3_readings SET ticket = ticket - 1",
        "DELETE FROM nova3_readings",
        "UPDATE nova3_runs SET ingest = ingest - 1",
        "SELECT nova3_drop_run('a')",
    ];
    for loss in losses {
        let (url, [first]) = workers::<1>().await;
        refused(&first, &mut Sql::at(&url).await, loss).await;
    }
}
