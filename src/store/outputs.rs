//! The values of the port for output files: file, cursor, page.

use super::event_rows;
use crate::domain::outcome::Finished;
use crate::domain::stream_event::SettledEvent;

/// An output file on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileKey {
    /// The host's name.
    pub host: String,
    /// The absolute path.
    pub path: String,
}

/// How far a run's lines have been written to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The bytes before our first line.
    pub base: u64,
    /// The bytes of our lines that are known to be in the file.
    pub settled: u64,
    /// The bytes about to be appended. After a crash at most this many are cut off.
    pub announced: u64,
    /// The last row written, by its place in the file's order.
    pub after: i64,
    /// The last row of the announced bytes, by its place in the file's order.
    pub announced_after: i64,
    /// Digest of the last bytes before `base + settled`.
    pub tail: [u8; 32],
    /// The order of the lines.
    pub order: Order,
    /// Whether lines stay in the file when their requests leave the input.
    pub append: bool,
    /// The first reading whose lines stay. `None` until the reading during which the file was begun has ended.
    pub since: Option<i64>,
    /// The lines epoch of the file's content.
    pub epoch: i64,
    /// The announced file that is about to replace this one.
    pub rewrite: Option<Rewrite>,
    /// The kind of lines in the file.
    pub feed: Feed,
    /// A random number, drawn anew for each write. Two cursors are equal if their stamps are.
    pub stamp: i64,
    /// The process that writes the file. `None` after it has ended properly.
    pub writer: Option<u32>,
}

/// The outcome of storing a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorPut {
    /// It is stored.
    Stored,
    /// The store holds a cursor other than the expected one.
    OtherCursor,
    /// The row of the last line is no longer in the store.
    RowGone,
}

/// Identifies a row of a page. The time is needed because a database that went back in time gives the number to another
/// row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowMark {
    /// The finish number of a request, or the number of an event.
    pub number: i64,
    /// The Unix milliseconds at which it was settled.
    pub at: i64,
}

/// The kind of lines that are written to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// One line for each finished request.
    Results,
    /// Lines for each settlement.
    Events,
}

/// The announced replacement of a result file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrite {
    /// Its length in bytes.
    pub length: u64,
    /// Digest of its last bytes.
    pub tail: [u8; 32],
    /// The last row in it.
    pub after: i64,
    /// The lines epoch of its content.
    pub epoch: i64,
}

/// The order in which finished lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In the order in which they finished.
    Completion,
    /// In the order of the input.
    Input,
}

/// A page of finished requests.
#[derive(Debug, Clone)]
pub struct FinishedPage {
    /// The requests.
    pub rows: Vec<Finished>,
    /// Where the next page begins.
    pub after: i64,
}

impl FinishedPage {
    /// The row with the highest finish number. Rows become visible in the order of their numbers, so a store that holds
    /// this row also holds the earlier ones.
    pub fn newest(&self) -> Option<RowMark> {
        let newest = self.rows.iter().max_by_key(|row| row.finish_no)?;
        Some(RowMark {
            number: newest.finish_no,
            at: newest.completed_at,
        })
    }
}

/// A page of settled events.
#[derive(Debug, Clone)]
pub struct EventPage {
    /// The events.
    pub rows: Vec<SettledEvent>,
    /// Where the next page begins.
    pub after: i64,
}

impl EventPage {
    /// The event with the highest number.
    pub fn newest(&self) -> Option<RowMark> {
        let newest = self.rows.iter().max_by_key(|event| event.event_no)?;
        Some(RowMark {
            number: event_rows::row_of(newest.event_no),
            at: newest.settled_at,
        })
    }
}
