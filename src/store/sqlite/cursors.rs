//! How far finished lines have been written to which file.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Fault;
use crate::store::{Cursor, Feed, FileKey, Order, Rewrite, RunId};

const CURSOR: &str = "host, path, base, settled, announced, after, announced_after, tail, input_order, append, epoch, \
     rewrite_length, rewrite_tail, rewrite_after, rewrite_epoch, events";

pub(super) fn all(c: &Connection, run: RunId) -> Result<Vec<(FileKey, Cursor)>, Fault> {
    let sql = format!("SELECT {CURSOR} FROM nova3_outputs WHERE run_id=?1 ORDER BY host, path");
    Ok(c.prepare_cached(&sql)?
        .query_map([run.0], read)?
        .collect::<Result<_, _>>()?)
}

pub(super) fn one(c: &Connection, run: RunId, file: &FileKey) -> Result<Option<Cursor>, Fault> {
    let sql = format!("SELECT {CURSOR} FROM nova3_outputs WHERE run_id=?1 AND host=?2 AND path=?3");
    Ok(c.prepare_cached(&sql)?
        .query_row(params![run.0, file.host, file.path], read)
        .optional()?
        .map(|(_, cursor)| cursor))
}

fn read(row: &Row<'_>) -> rusqlite::Result<(FileKey, Cursor)> {
    let rewrite = match (row.get(11)?, row.get(12)?, row.get(13)?, row.get(14)?) {
        (Some(length), Some(tail), Some(after), Some(epoch)) => Some(Rewrite {
            length,
            tail,
            after,
            epoch,
        }),
        _ => None,
    };
    let cursor = Cursor {
        base: row.get(2)?,
        settled: row.get(3)?,
        announced: row.get(4)?,
        after: row.get(5)?,
        announced_after: row.get(6)?,
        tail: row.get(7)?,
        order: if row.get(8)? {
            Order::Input
        } else {
            Order::Completion
        },
        append: row.get(9)?,
        epoch: row.get(10)?,
        rewrite,
        feed: if row.get(15)? { Feed::Events } else { Feed::Results },
    };
    Ok((
        FileKey {
            host: row.get(0)?,
            path: row.get(1)?,
        },
        cursor,
    ))
}

pub(super) fn put(c: &Connection, run: RunId, file: &FileKey, cursor: &Cursor) -> Result<(), Fault> {
    c.prepare_cached(
        "INSERT OR REPLACE INTO nova3_outputs(run_id, host, path, base, settled, announced, after, announced_after,
           tail, input_order, append, epoch, rewrite_length, rewrite_tail, rewrite_after, rewrite_epoch, events)
         VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)",
    )?
    .execute(params![
        run.0,
        file.host,
        file.path,
        cursor.base,
        cursor.settled,
        cursor.announced,
        cursor.after,
        cursor.announced_after,
        &cursor.tail[..],
        cursor.order == Order::Input,
        cursor.append,
        cursor.epoch,
        cursor.rewrite.map(|rewrite| rewrite.length),
        cursor.rewrite.map(|rewrite| rewrite.tail.to_vec()),
        cursor.rewrite.map(|rewrite| rewrite.after),
        cursor.rewrite.map(|rewrite| rewrite.epoch),
        cursor.feed == Feed::Events,
    ])?;
    Ok(())
}
