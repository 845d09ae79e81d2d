//! What goes through the port of results: files, how far they are written, and what is written to them.

use super::telling;
use crate::domain::outcome::Finished;
use crate::domain::stream_event::SettledEvent;

/// A result file of one host.
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
    /// Bytes before the first line of ours.
    pub base: u64,
    /// Bytes of ours that are known to be in the file.
    pub settled: u64,
    /// Bytes about to be appended: at most so many are cut off after a crash.
    pub announced: u64,
    /// The last row written, in the order of writing.
    pub after: i64,
    /// The last row of the announced bytes.
    pub announced_after: i64,
    /// Digest of the last bytes before `base + settled`.
    pub tail: [u8; 32],
    /// The order of writing.
    pub order: Order,
    /// Whether what is in the file stays when its requests leave the input.
    pub append: bool,
    /// The first reading whose lines stay; `None` before the reading that the file was begun with has ended.
    pub since: Option<i64>,
    /// The lines epoch that the file shows.
    pub epoch: i64,
    /// A file that is about to take this one's place.
    pub rewrite: Option<Rewrite>,
    /// What the file holds.
    pub feed: Feed,
    /// A new random number for each write: two cursors are the same if their stamps are.
    pub stamp: i64,
    /// The process that is writing the file; `None` once it has ended in good order.
    pub writer: Option<u32>,
}

/// What became of a cursor that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorPut {
    /// It is stored.
    Stored,
    /// The store holds another cursor than the expected one.
    OtherCursor,
    /// The row that the lines end with is not in the store any more.
    RowGone,
}

/// A row of a page, as it is recognised later. A database that went back in time gives its number again, to another row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowMark {
    /// The finish number of a request, or the number of an event.
    pub number: i64,
    /// Unix milliseconds at which it was settled.
    pub at: i64,
}

/// What is written to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// A line for each finished request.
    Results,
    /// Lines for everything that was settled.
    Events,
}

/// The announced replacement of a result file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrite {
    /// Its whole length.
    pub length: u64,
    /// Digest of its last bytes.
    pub tail: [u8; 32],
    /// The last row in it.
    pub after: i64,
    /// The lines epoch it shows.
    pub epoch: i64,
}

/// The order in which finished lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they finished.
    Completion,
    /// As they stand in the input.
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
    /// The row that finished last. Rows become visible in the order of their numbers, so that a store which holds it holds
    /// the others too.
    pub fn newest(&self) -> Option<RowMark> {
        let newest = self.rows.iter().max_by_key(|row| row.finish_no)?;
        Some(RowMark {
            number: newest.finish_no,
            at: newest.completed_at,
        })
    }
}

/// A page of what was settled.
#[derive(Debug, Clone)]
pub struct EventPage {
    /// The events.
    pub rows: Vec<SettledEvent>,
    /// Where the next page begins.
    pub after: i64,
}

impl EventPage {
    /// The event that was settled last.
    pub fn newest(&self) -> Option<RowMark> {
        let newest = self.rows.iter().max_by_key(|event| event.event_no)?;
        Some(RowMark {
            number: telling::row_of(newest.event_no),
            at: newest.settled_at,
        })
    }
}
