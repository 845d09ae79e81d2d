//! The cursors of output files.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::fault::JobFault;
use crate::store::{Cursor, CursorPut, Feed, FileKey, Order, Outputs, Rewrite, RowMark, RunId, StoreError};

#[async_trait]
impl Outputs for SqliteStore {
    async fn cursor(&self, run: RunId, file: &FileKey) -> Result<Option<Cursor>, StoreError> {
        let file = file.clone();
        self.read(move |c| one(c, run, &file)).await
    }

    async fn cursors(&self, run: RunId) -> Result<Vec<(FileKey, Cursor)>, StoreError> {
        self.read(move |c| all(c, run)).await
    }

    async fn put_cursor(
        &self,
        run: RunId,
        file: &FileKey,
        expected: Option<&Cursor>,
        cursor: &Cursor,
        newest: Option<RowMark>,
    ) -> Result<CursorPut, StoreError> {
        let (file, cursor, expected) = (file.clone(), *cursor, expected.map(|cursor| cursor.stamp));
        self.write(move |c| put(c, run, &file, expected, &cursor, newest))
            .await
    }

    async fn has_rows(&self, run: RunId, feed: Feed, rows: Vec<RowMark>) -> Result<bool, StoreError> {
        self.read(move |c| has_rows(c, run, feed, &rows)).await
    }
}

const CURSOR: &str = "host, path, base, settled, announced, after, announced_after, tail, input_order, append, epoch, \
     rewrite_length, rewrite_tail, rewrite_after, rewrite_epoch, events, stamp, since, writer";

pub(super) fn all(c: &Connection, run: RunId) -> Result<Vec<(FileKey, Cursor)>, JobFault> {
    let sql = format!("SELECT {CURSOR} FROM nova3_outputs WHERE run_id=?1 ORDER BY host, path");
    Ok(c.prepare_cached(&sql)?
        .query_map([run.0], read)?
        .collect::<Result<_, _>>()?)
}

pub(super) fn one(c: &Connection, run: RunId, file: &FileKey) -> Result<Option<Cursor>, JobFault> {
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
        stamp: row.get(16)?,
        since: row.get(17)?,
        writer: row.get(18)?,
    };
    Ok((
        FileKey {
            host: row.get(0)?,
            path: row.get(1)?,
        },
        cursor,
    ))
}

pub(super) fn put(
    c: &Connection,
    run: RunId,
    file: &FileKey,
    expected: Option<i64>,
    cursor: &Cursor,
    newest: Option<RowMark>,
) -> Result<CursorPut, JobFault> {
    let stored: Option<i64> = c
        .prepare_cached("SELECT stamp FROM nova3_outputs WHERE run_id=?1 AND host=?2 AND path=?3")?
        .query_row(params![run.0, file.host, file.path], |row| row.get(0))
        .optional()?;
    if stored != expected {
        return Ok(CursorPut::OtherCursor);
    }
    if let Some(newest) = newest
        && !has_rows(c, run, cursor.feed, &[newest])?
    {
        return Ok(CursorPut::RowGone);
    }
    c.prepare_cached(
        "INSERT OR REPLACE INTO nova3_outputs(run_id, host, path, base, settled, announced, after, announced_after,
           tail, input_order, append, epoch, rewrite_length, rewrite_tail, rewrite_after, rewrite_epoch, events, stamp,
           since, writer)
         VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20)",
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
        cursor.stamp,
        cursor.since,
        cursor.writer,
    ])?;
    Ok(CursorPut::Stored)
}

pub(super) fn has_rows(c: &Connection, run: RunId, feed: Feed, rows: &[RowMark]) -> Result<bool, JobFault> {
    let mut query = c.prepare_cached(match feed {
        Feed::Results => "SELECT 1 FROM nova3_queues WHERE run_id=?1 AND finish_no=?2 AND completed_at=?3",
        Feed::Events => "SELECT 1 FROM nova3_events WHERE run_id=?1 AND event_no=?2 AND created_at=?3",
    })?;
    for row in rows {
        if !query.exists(params![run.0, row.number, row.at])? {
            return Ok(false);
        }
    }
    Ok(true)
}
