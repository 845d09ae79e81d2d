//! The counts of a run, and its finished requests page by page.

use nova3::domain::failure::Class;
use nova3::domain::outcome::{NewItem, Product};
use nova3::domain::stream_event::{Happening, SettledEvent};
use nova3::domain::tally::Counts;
use nova3::store::{Order, RunId, Settlement, Then};
use serde_json::Map;

use crate::store::harness::{Harness, attempt, bad, making, request, show};

pub(crate) async fn every_state_is_counted(harness: &mut Harness) {
    let run = harness.run("a").await;
    let counts = async || harness.store().counts(run).await.expect("counts");
    assert_eq!(counts().await, Counts::default());
    let input = [
        request("done"),
        request("failed"),
        request("running").session("s"),
        request("blocked").session("s"),
        bad("{"),
        request("ready").priority(9),
    ];
    harness.read(run, &input).await;
    assert_eq!(
        counts().await,
        Counts {
            total: 6,
            failed: 1,
            blocked: 1,
            ..Counts::default()
        }
    );
    let queues = harness.claim(run, 3).await;
    harness.done(&queues[0]).await;
    harness.fail(&queues[1], Class::Server).await;
    let mixed = Counts {
        total: 6,
        done: 1,
        failed: 2,
        paused: 0,
        running: 1,
        blocked: 1,
        ..Counts::default()
    };
    assert_eq!(counts().await, mixed);
    harness
        .read(
            run,
            &[
                request("done").query("else"),
                request("failed"),
                request("running").session("s"),
            ],
        )
        .await;
    let edited = Counts {
        total: 3,
        failed: 1,
        running: 1,
        ..Counts::default()
    };
    assert_eq!(
        counts().await,
        edited,
        "superseded and removed ones are not counted"
    );
    assert_eq!((edited.finished(), edited.unfinished()), (1, 2));
}

pub(crate) async fn an_unfinished_reading_counts_what_it_has_not_seen(harness: &mut Harness) {
    let run = harness.run("a").await;
    let first = harness.begin(run).await;
    harness.add(run, first, &[request("x"), request("y")]).await;
    let counts = async || harness.store().counts(run).await.expect("counts");
    assert_eq!(counts().await.total, 2, "the first reading counts as it goes");
    harness.end(run, first, 2).await;
    harness.drain(run).await;
    let epoch = harness.begin(run).await;
    assert_eq!(
        counts().await,
        Counts {
            total: 2,
            done: 2,
            ..Counts::default()
        }
    );
    harness
        .add(run, epoch, &[request("z"), request("y").query("else")])
        .await;
    assert_eq!(
        counts().await,
        Counts {
            total: 3,
            done: 1,
            ..Counts::default()
        }
    );
    harness.end(run, epoch, 2).await;
    assert_eq!(
        counts().await,
        Counts {
            total: 2,
            ..Counts::default()
        }
    );
}

pub(crate) async fn finished_pages_are_in_order_and_complete(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input: Vec<_> = (0..8).map(|n| request(&format!("r{n}"))).collect();
    harness.read(run, &input).await;
    let queues = harness.claim(run, 9).await;
    let order = [5, 1, 7, 0, 2, 6, 4, 3];
    for place in order {
        harness.done(&queues[place]).await;
    }
    let rows = harness.finished(run).await;
    let names: Vec<_> = rows.iter().map(|row| row.index).collect();
    assert_eq!(names, order.map(|place| place as u64));
    assert!(rows.windows(2).all(|pair| pair[0].finish_no < pair[1].finish_no));
    let highest = harness
        .store()
        .find_run(Some("a"))
        .await
        .expect("reads")
        .expect("is there")
        .finished;
    assert_eq!(highest, rows[7].finish_no);
    let rest = harness
        .store()
        .finished(run, Order::Completion, None, rows[4].finish_no, 100)
        .await
        .expect("reads");
    assert_eq!(
        rest.rows.iter().map(|row| row.index).collect::<Vec<_>>(),
        [6, 4, 3]
    );
    assert_eq!(rest.after, highest);
    let none = harness
        .store()
        .finished(run, Order::Completion, None, highest, 100)
        .await
        .expect("reads");
    assert_eq!((none.rows.len(), none.after), (0, highest));
}

pub(crate) async fn input_order_stops_at_the_first_gap(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness
        .read(
            run,
            &[request("a"), request("b"), bad("{"), request("d"), request("e")],
        )
        .await;
    let queues = harness.claim(run, 9).await;
    let shown = async || -> Vec<String> {
        harness
            .pages(run, Order::Input, None)
            .await
            .iter()
            .map(show)
            .collect()
    };
    harness.done(&queues[1]).await;
    harness.done(&queues[3]).await;
    assert!(shown().await.is_empty());
    harness.fail(&queues[0], Class::Server).await;
    let (a, b) = ("a@0 failed failed[]", "b@1 completed completed[answer1]");
    assert_eq!(shown().await, [a, b, "-@2 failed"]);
    harness.done(&queues[2]).await;
    let (d, e) = (
        "d@3 completed completed[answer1]",
        "e@4 completed completed[answer1]",
    );
    assert_eq!(shown().await, [a, b, "-@2 failed", d, e]);
    harness
        .read(run, &[request("e"), request("new"), request("a")])
        .await;
    assert_eq!(shown().await, ["e@0 completed completed[answer1]"]);
}

pub(crate) async fn finished_by_number(harness: &mut Harness) {
    let run = harness.run("a").await;
    let other = harness.run("b").await;
    harness
        .read(run, &[request("x"), request("y"), request("z")])
        .await;
    let queues = harness.claim(run, 9).await;
    harness.done(&queues[0]).await;
    harness.done(&queues[2]).await;
    let numbers: Vec<i64> = queues.iter().rev().map(|queue| queue.lease.queue_id).collect();
    let page = harness
        .store()
        .finished_by_id(run, numbers.clone())
        .await
        .expect("reads");
    let names: Vec<_> = page.rows.iter().map(show).collect();
    assert_eq!(
        names,
        [
            "z@2 completed completed[answer1]",
            "x@0 completed completed[answer1]"
        ]
    );
    let none = harness
        .store()
        .finished_by_id(other, numbers)
        .await
        .expect("reads");
    assert!(none.rows.is_empty());
}

/// Finishes `count` requests, each with an answer of a megabyte.
pub(crate) async fn finish_large(harness: &Harness, run: RunId, count: usize) -> Vec<i64> {
    let input: Vec<_> = (0..count).map(|n| request(&format!("r{n}"))).collect();
    harness.read(run, &input).await;
    let queues = harness.claim(run, count).await;
    let mut random = fastrand::Rng::with_seed(7);
    for queue in &queues {
        // Text that can be compressed would be small in the database.
        let text: String = (0..1 << 20).map(|_| random.alphanumeric()).collect();
        let answer = NewItem {
            kind: "answer".to_owned(),
            body: Map::from_iter([("content".to_owned(), text.into())]),
        };
        let product = Product::Items(vec![answer]);
        let settlement = Settlement::completed(
            queue.lease,
            0,
            product,
            Then::GoOn,
            making(1),
            vec![attempt(None, 1)],
        );
        harness.settle(settlement).await;
    }
    queues.iter().map(|queue| queue.lease.queue_id).collect()
}

pub(crate) async fn pages_end_early_where_results_are_large(harness: &mut Harness) {
    let run = harness.run("a").await;
    let queues = finish_large(harness, run, 7).await;
    let store = harness.store();
    for order in [Order::Completion, Order::Input] {
        let mut after = if order == Order::Input { -1 } else { 0 };
        let mut sizes = Vec::new();
        while sizes.iter().sum::<usize>() < 7 {
            let page = store.finished(run, order, None, after, 512).await.expect("reads");
            after = page.after;
            sizes.push(page.rows.len());
        }
        assert_eq!(sizes, [2, 2, 2, 1], "{order:?}");
    }
    let (mut after, mut sizes) = (0, Vec::new());
    while sizes.len() < 4 {
        let page = store.events(run, true, after, 512).await.expect("reads");
        after = page.after;
        sizes.push(page.rows.iter().filter(|event| is_answer(event)).count());
    }
    assert_eq!(sizes, [2, 2, 2, 1], "events");
    let (mut finished, mut told) = (queues.clone(), queues);
    for expected in [2, 2, 2, 1] {
        let page = store.finished_by_id(run, finished.clone()).await.expect("reads");
        let answered: Vec<i64> = page.rows.iter().map(|row| row.queue_id).collect();
        assert_eq!(answered, finished[..expected]);
        assert_eq!(page.after, i64::try_from(expected).expect("it fits"));
        finished.drain(..expected);
        let page = store.events_of(run, told.clone(), 99).await.expect("reads");
        let answers = page.rows.iter().filter(|event| is_answer(event)).count();
        assert_eq!(
            (answers, page.after),
            (expected, i64::try_from(expected).expect("it fits"))
        );
        told.drain(..expected);
    }
}

fn is_answer(event: &SettledEvent) -> bool {
    matches!(event.what, Happening::Completed { .. })
}

pub(crate) async fn a_whole_store_passes_its_check(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.store().check().await.expect("nothing is in it");
    harness
        .read(run, &[request("x").tasks(2), request("y"), bad("{")])
        .await;
    let queues = harness.claim(run, 9).await;
    harness.done(&queues[0]).await;
    harness.fail(&queues[1], Class::Server).await;
    harness.crash().await;
    harness.store().check().await.expect("it is whole");
}
