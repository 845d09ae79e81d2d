//! Tables as input: each row becomes one request line.
//!
//! ```text
//! bytes → decompressed → UTF-8 → rows (CSV, TSV) or objects (JSON) → mapping → request line → read_line
//! ```
//!
//! All parts take chunks of any size and hold one row at most. A row that cannot be read is a bad row; an error of the
//! header ends the input, before any request of it is known.

mod cells;
mod cutter;
mod delimiter;
mod elements;
mod fields;
mod header;
pub(in crate::engine) mod mapping;
mod objects;

#[cfg(test)]
mod tests;

pub(super) use cutter::{InputRow, RowCutter};

/// An error of a table as a whole: its header, or its outer form.
#[derive(Debug)]
pub(super) struct TableError(pub(super) String);
