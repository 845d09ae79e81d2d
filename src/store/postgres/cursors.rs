//! The cursors of output files.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::PostgresStore;
use super::fault::JobFault;
use super::rows::int;
use crate::postgres::{Connection, Param, PgText, text};
use crate::store::{Cursor, CursorPut, Feed, FileKey, Order, Outputs, Rewrite, RowMark, RunId, StoreError};

#[async_trait]
impl Outputs for PostgresStore {
    async fn cursor(&self, run: RunId, file: &FileKey) -> Result<Option<Cursor>, StoreError> {
        job!(self, |c| one(c, run, file))
    }

    async fn cursors(&self, run: RunId) -> Result<Vec<(FileKey, Cursor)>, StoreError> {
        job!(self, |c| all(c, run))
    }

    async fn put_cursor(
        &self,
        run: RunId,
        file: &FileKey,
        expected: Option<&Cursor>,
        cursor: &Cursor,
        newest: Option<RowMark>,
    ) -> Result<CursorPut, StoreError> {
        let expected = expected.map(|cursor| cursor.stamp);
        job!(self, |c| put(c, run, file, expected, cursor, newest))
    }

    async fn has_rows(&self, run: RunId, feed: Feed, rows: Vec<RowMark>) -> Result<bool, StoreError> {
        let rows = &rows;
        job!(self, |c| has_rows(c, run, feed, rows))
    }
}

const SELECT: &str = "SELECT host, path, base, settled, announced, after, announced_after, tail, input_order, append, epoch, \
     rewrite_length, rewrite_tail, rewrite_after, rewrite_epoch, events, stamp, since, writer FROM nova3_outputs WHERE run_id = $1";

pub(super) async fn all(c: &mut Connection, run: RunId) -> Result<Vec<(FileKey, Cursor)>, JobFault> {
    let sql = format!("{SELECT} ORDER BY host, path");
    c.rows(&sql, &[run.0.sent()]).await?.iter().map(read).collect()
}

pub(super) async fn one(c: &mut Connection, run: RunId, file: &FileKey) -> Result<Option<Cursor>, JobFault> {
    let sql = format!("{SELECT} AND host = $2 AND path = $3");
    let found = c
        .optional(
            &sql,
            &[run.0.sent(), text(&file.host).sent(), text(&file.path).sent()],
        )
        .await?;
    Ok(found.as_ref().map(read).transpose()?.map(|(_, cursor)| cursor))
}

fn read(row: &Row) -> Result<(FileKey, Cursor), JobFault> {
    let tail = |bytes: Vec<u8>| {
        <[u8; 32]>::try_from(bytes)
            .map_err(|_| JobFault::Row("a cursor's digest has another length".to_owned()))
    };
    let bytes = |column: usize| row.get::<_, i64>(column).unsigned_abs();
    let length: Option<i64> = row.get(11);
    let rewrite_tail: Option<Vec<u8>> = row.get(12);
    let rewrite = match (length, rewrite_tail, row.get(13), row.get(14)) {
        (Some(length), Some(bytes), Some(after), Some(epoch)) => Some(Rewrite {
            length: length.unsigned_abs(),
            tail: tail(bytes)?,
            after,
            epoch,
        }),
        _ => None,
    };
    let cursor = Cursor {
        base: bytes(2),
        settled: bytes(3),
        announced: bytes(4),
        after: row.get(5),
        announced_after: row.get(6),
        tail: tail(row.get(7))?,
        order: if row.get(8) {
            Order::Input
        } else {
            Order::Completion
        },
        append: row.get(9),
        epoch: row.get(10),
        rewrite,
        feed: if row.get(15) { Feed::Events } else { Feed::Results },
        stamp: row.get(16),
        since: row.get(17),
        writer: row
            .get::<_, Option<i64>>(18)
            .and_then(|pid| u32::try_from(pid).ok()),
    };
    let key = FileKey {
        host: row.get::<_, PgText>(0).0,
        path: row.get::<_, PgText>(1).0,
    };
    Ok((key, cursor))
}

/// Stores a cursor. When the answer to an earlier try was lost, the row already has the new stamp, which is accepted
/// like the expected one.
pub(super) async fn put(
    c: &mut Connection,
    run: RunId,
    file: &FileKey,
    expected: Option<i64>,
    cursor: &Cursor,
    newest: Option<RowMark>,
) -> Result<CursorPut, JobFault> {
    let rewrite = cursor.rewrite;
    let row = match cursor.feed {
        Feed::Results => {
            "SELECT 1 FROM nova3_queues r WHERE r.run_id = $1 AND r.finish_no = $20 AND r.completed_at = $21"
        }
        Feed::Events => {
            "SELECT 1 FROM nova3_events r WHERE r.run_id = $1 AND r.event_no = $20 AND r.created_at = $21"
        }
    };
    let sql = format!(
        "INSERT INTO nova3_outputs AS o (run_id, host, path, base, settled, announced, after, announced_after, tail,
           input_order, append, epoch, rewrite_length, rewrite_tail, rewrite_after, rewrite_epoch, events, stamp, since, writer)
         SELECT $1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$22,$23
         WHERE ($19 IS NULL OR EXISTS (SELECT 1 FROM nova3_outputs s WHERE s.run_id = $1 AND s.host = $2 AND s.path = $3))
           AND ($20 IS NULL OR EXISTS ({row}))
         ON CONFLICT (run_id, host, path) DO UPDATE SET base = excluded.base, settled = excluded.settled,
           announced = excluded.announced, after = excluded.after, announced_after = excluded.announced_after,
           tail = excluded.tail, input_order = excluded.input_order, append = excluded.append, epoch = excluded.epoch,
           rewrite_length = excluded.rewrite_length, rewrite_tail = excluded.rewrite_tail,
           rewrite_after = excluded.rewrite_after, rewrite_epoch = excluded.rewrite_epoch, events = excluded.events,
           stamp = excluded.stamp, since = excluded.since, writer = excluded.writer
         WHERE o.stamp IN ($19, excluded.stamp)"
    );
    let stored = c
        .execute(
            &sql,
            &[
                run.0.sent(),
                text(&file.host).sent(),
                text(&file.path).sent(),
                int(cursor.base).sent(),
                int(cursor.settled).sent(),
                int(cursor.announced).sent(),
                cursor.after.sent(),
                cursor.announced_after.sent(),
                cursor.tail.to_vec().sent(),
                (cursor.order == Order::Input).sent(),
                cursor.append.sent(),
                cursor.epoch.sent(),
                rewrite.map(|rewrite| int(rewrite.length)).sent(),
                rewrite.map(|rewrite| rewrite.tail.to_vec()).sent(),
                rewrite.map(|rewrite| rewrite.after).sent(),
                rewrite.map(|rewrite| rewrite.epoch).sent(),
                (cursor.feed == Feed::Events).sent(),
                cursor.stamp.sent(),
                expected.sent(),
                newest.map(|row| row.number).sent(),
                newest.map(|row| row.at).sent(),
                cursor.since.sent(),
                cursor.writer.map(i64::from).sent(),
            ],
        )
        .await?;
    if stored > 0 {
        return Ok(CursorPut::Stored);
    }
    let there = one(c, run, file).await?.map(|cursor| cursor.stamp);
    Ok(if there == expected {
        CursorPut::RowGone
    } else {
        CursorPut::OtherCursor
    })
}

pub(super) async fn has_rows(
    c: &mut Connection,
    run: RunId,
    feed: Feed,
    rows: &[RowMark],
) -> Result<bool, JobFault> {
    let (table, number, at) = match feed {
        Feed::Results => ("nova3_queues", "finish_no", "completed_at"),
        Feed::Events => ("nova3_events", "event_no", "created_at"),
    };
    // `OFFSET 0` makes the planner look up each row separately.
    let sql = format!(
        "SELECT count(*) FROM unnest($2, $3) i(number, at) CROSS JOIN LATERAL (
           SELECT 1 FROM {table} r WHERE r.run_id = $1 AND r.{number} = i.number AND r.{at} = i.at OFFSET 0) r"
    );
    let (numbers, times): (Vec<i64>, Vec<i64>) = rows.iter().map(|row| (row.number, row.at)).unzip();
    let row = c.row(&sql, &[run.0.sent(), numbers.sent(), times.sent()]).await?;
    Ok(row.get::<_, i64>(0) == int(rows.len()))
}
