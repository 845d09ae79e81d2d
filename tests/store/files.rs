//! How far lines have been written to which file.

use nova3::store::{Cursor, Feed, FileKey, Order, Rewrite};

use crate::bed::Bed;

pub(crate) async fn cursors_round_trip(bed: &mut Bed) {
    let (run, other) = (bed.run("a").await, bed.run("b").await);
    let file = |host: &str, path: &str| FileKey {
        host: host.to_owned(),
        path: path.to_owned(),
    };
    let (one, two) = (file("h1", "/out/结果.jsonl"), file("h2", "/out/结果.jsonl"));
    assert_eq!(bed.store().cursor(run, &one).await.expect("reads"), None);
    let first = Cursor {
        base: 1,
        settled: 1 << 40,
        announced: 3,
        after: 4,
        announced_after: 5,
        tail: [6; 32],
        order: Order::Completion,
        append: true,
        epoch: 7,
        rewrite: None,
        feed: Feed::Results,
    };
    let second = Cursor {
        order: Order::Input,
        append: false,
        after: -1,
        feed: Feed::Events,
        rewrite: Some(Rewrite {
            length: 8,
            tail: [9; 32],
            after: 10,
            epoch: 11,
        }),
        ..first
    };
    bed.store().put_cursor(run, &one, &first).await.expect("writes");
    bed.store().put_cursor(run, &two, &second).await.expect("writes");
    bed.crash().await;
    assert_eq!(bed.store().cursor(run, &one).await.expect("reads"), Some(first));
    let all = bed.store().cursors(run).await.expect("reads");
    assert_eq!(all, [(one.clone(), first), (two.clone(), second)]);
    bed.store().put_cursor(run, &two, &first).await.expect("writes");
    assert_eq!(
        bed.store().cursor(run, &two).await.expect("reads"),
        Some(first),
        "no rewrite is left over"
    );
    assert_eq!(bed.store().cursor(other, &one).await.expect("reads"), None);
    assert!(bed.store().cursors(other).await.expect("reads").is_empty());
}
