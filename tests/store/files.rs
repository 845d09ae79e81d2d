//! The cursors of output files.

use nova3::store::{Cursor, CursorPut, Feed, FileKey, Order, Rewrite, RowMark, RunId};

use crate::store::harness::{Harness, request};

pub(crate) async fn cursors_round_trip(harness: &mut Harness) {
    let (run, other) = (harness.run("a").await, harness.run("b").await);
    let file = |host: &str, path: &str| FileKey {
        host: host.to_owned(),
        path: path.to_owned(),
    };
    let (one, two) = (file("h1", "/out/结果.jsonl"), file("h2", "/out/结果.jsonl"));
    assert_eq!(harness.store().cursor(run, &one).await.expect("reads"), None);
    let first = Cursor {
        base: 1,
        settled: 1 << 40,
        announced: 3,
        after: 4,
        announced_after: 5,
        tail: [6; 32],
        order: Order::Completion,
        append: true,
        since: Some(3),
        epoch: 7,
        rewrite: None,
        feed: Feed::Results,
        stamp: 1,
        writer: Some(7),
    };
    let second = Cursor {
        order: Order::Input,
        append: false,
        since: None,
        after: -1,
        feed: Feed::Events,
        stamp: 2,
        writer: None,
        rewrite: Some(Rewrite {
            length: 8,
            tail: [9; 32],
            after: 10,
            epoch: 11,
        }),
        ..first
    };
    let stored = CursorPut::Stored;
    assert_eq!(put(harness, run, &one, None, &first, None).await, stored);
    assert_eq!(put(harness, run, &two, None, &second, None).await, stored);
    harness.crash().await;
    assert_eq!(
        harness.store().cursor(run, &one).await.expect("reads"),
        Some(first)
    );
    let all = harness.store().cursors(run).await.expect("reads");
    assert_eq!(all, [(one.clone(), first), (two.clone(), second)]);
    assert_eq!(put(harness, run, &two, Some(&second), &first, None).await, stored);
    assert_eq!(
        harness.store().cursor(run, &two).await.expect("reads"),
        Some(first),
        "no rewrite is left over"
    );
    assert_eq!(harness.store().cursor(other, &one).await.expect("reads"), None);
    assert!(harness.store().cursors(other).await.expect("reads").is_empty());
}

async fn put(
    harness: &Harness,
    run: RunId,
    file: &FileKey,
    expected: Option<&Cursor>,
    cursor: &Cursor,
    newest: Option<RowMark>,
) -> CursorPut {
    let put = harness.store().put_cursor(run, file, expected, cursor, newest);
    put.await.expect("answers")
}

/// Another process, or an older copy of the store, leaves a cursor that is not the expected one.
pub(crate) async fn a_cursor_takes_the_place_of_the_expected_one_only(harness: &mut Harness) {
    let run = harness.run("a").await;
    let file = FileKey {
        host: "h".to_owned(),
        path: "/out".to_owned(),
    };
    let cursor = |stamp| Cursor {
        base: 0,
        settled: 1,
        announced: 0,
        after: 1,
        announced_after: 1,
        tail: [0; 32],
        order: Order::Completion,
        append: false,
        since: None,
        epoch: 0,
        rewrite: None,
        feed: Feed::Results,
        stamp,
        writer: None,
    };
    let [one, two, three] = [1, 2, 3].map(cursor);
    let other = CursorPut::OtherCursor;
    assert_eq!(put(harness, run, &file, Some(&one), &two, None).await, other);
    assert_eq!(harness.store().cursor(run, &file).await.expect("reads"), None);
    assert_eq!(
        put(harness, run, &file, None, &one, None).await,
        CursorPut::Stored
    );
    assert_eq!(put(harness, run, &file, None, &two, None).await, other);
    assert_eq!(put(harness, run, &file, Some(&three), &two, None).await, other);
    assert_eq!(
        harness.store().cursor(run, &file).await.expect("reads"),
        Some(one)
    );
    assert_eq!(
        put(harness, run, &file, Some(&one), &two, None).await,
        CursorPut::Stored
    );
    assert_eq!(
        harness.store().cursor(run, &file).await.expect("reads"),
        Some(two)
    );
}

pub(crate) async fn a_cursor_is_stored_with_the_rows_it_speaks_of(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x"), request("y")]).await;
    harness.drain(run).await;
    let store = harness.store();
    let finished = store
        .finished(run, Order::Input, None, -1, 9)
        .await
        .expect("reads");
    let events = store.events(run, false, 0, 9).await.expect("reads");
    for (feed, newest) in [
        (Feed::Results, finished.newest()),
        (Feed::Events, events.newest()),
    ] {
        let newest = newest.expect("there are rows");
        let known = |row: RowMark| async move { store.has_rows(run, feed, vec![row]).await.expect("reads") };
        assert!(known(newest).await, "{feed:?}");
        assert!(store.has_rows(run, feed, Vec::new()).await.expect("reads"));
        let file = FileKey {
            host: "h".to_owned(),
            path: format!("/{feed:?}"),
        };
        let cursor = Cursor {
            base: 0,
            settled: 0,
            announced: 9,
            after: 0,
            announced_after: newest.number,
            tail: [0; 32],
            order: Order::Completion,
            append: false,
            since: None,
            epoch: 0,
            rewrite: None,
            feed,
            stamp: 1,
            writer: Some(7),
        };
        // Numbers that were not given, and a number that was given again at another time.
        let later = RowMark {
            number: newest.number + 1,
            ..newest
        };
        let again = RowMark {
            at: newest.at + 1,
            ..newest
        };
        for row in [later, again] {
            assert!(!known(row).await);
            let two = vec![newest, row];
            assert!(!store.has_rows(run, feed, two).await.expect("reads"));
            assert_eq!(
                put(harness, run, &file, None, &cursor, Some(row)).await,
                CursorPut::RowGone
            );
            assert_eq!(store.cursor(run, &file).await.expect("reads"), None);
        }
        assert_eq!(
            put(harness, run, &file, None, &cursor, Some(newest)).await,
            CursorPut::Stored
        );
    }
}
