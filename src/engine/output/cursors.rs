//! How the cursor of a file begins and changes.

use crate::engine::output::pages::beginning;
use crate::sink::Mark;
use crate::store::{Cursor, Feed, Order, Rewrite};

/// The cursor of a file that holds no line of the run yet.
pub(in crate::engine) fn fresh(
    feed: Feed,
    order: Order,
    append: bool,
    base: u64,
    tail: [u8; 32],
    epoch: i64,
) -> Cursor {
    Cursor {
        base,
        settled: 0,
        announced: 0,
        after: beginning(order),
        announced_after: beginning(order),
        tail,
        order,
        append,
        since: None,
        epoch,
        rewrite: None,
        feed,
        stamp: 0,
        writer: None,
    }
}

/// The expected content of the file. `lines` are the announced lines, if the store still has them.
pub(in crate::engine) fn mark(cursor: &Cursor, lines: Option<Vec<u8>>) -> Mark {
    Mark {
        base: cursor.base,
        settled: cursor.settled,
        announced: cursor.announced,
        lines,
        tail: cursor.tail,
        replacement: cursor.rewrite.map(|rewrite| (rewrite.length, rewrite.tail)),
    }
}

/// The cursor under the options of this invocation. Another order makes the file wrong, and so does the end of
/// appending, because the lines of removed requests have to go. A wrong file gets the epoch -1, which is never the
/// present one, so that it is written anew. A file that begins to append keeps the lines that it has.
pub(in crate::engine) fn with_rules(cursor: Cursor, order: Order, append: bool, complete: i64) -> Cursor {
    let same = cursor.order == order && (append || !cursor.append || failpoint!("append-rule-lost"));
    Cursor {
        order,
        append,
        since: match (append, cursor.append) {
            (true, true) => cursor.since,
            (true, false) => Some(complete),
            (false, _) => None,
        },
        epoch: if same { cursor.epoch } else { -1 },
        ..cursor
    }
}

/// The cursor of a file that was replaced by a rewritten one.
pub(in crate::engine) fn replaced(cursor: Cursor, base: u64, rewrite: Rewrite) -> Cursor {
    Cursor {
        base,
        settled: rewrite.length - base.min(rewrite.length),
        announced: 0,
        after: rewrite.after,
        announced_after: rewrite.after,
        tail: rewrite.tail,
        epoch: rewrite.epoch,
        rewrite: None,
        ..cursor
    }
}
