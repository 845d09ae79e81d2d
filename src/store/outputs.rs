//! What goes through the port of results: files, how far they are written, and what is written to them.

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
    /// Whether lines of removed requests and what was there before are kept.
    pub append: bool,
    /// The lines epoch that the file shows.
    pub epoch: i64,
    /// A file that is about to take this one's place.
    pub rewrite: Option<Rewrite>,
    /// What the file holds.
    pub feed: Feed,
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

/// A page of what was settled.
#[derive(Debug, Clone)]
pub struct EventPage {
    /// The events.
    pub rows: Vec<SettledEvent>,
    /// Where the next page begins.
    pub after: i64,
}
