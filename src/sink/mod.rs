//! The result file: it gets whole lines only, and no foreign bytes are destroyed.
//!
//! The expected content of the file comes from a cursor in the store and is passed in as a [`Mark`]. This module
//! compares the mark with the file. It cuts off at most the announced bytes; if the announced lines are known, only a
//! beginning of them. It leaves any other file alone.
//!
//! ```text
//! announce (store) → append, fsync → settle (store)          a kill anywhere leaves a length that the mark explains
//! write beside, fsync → announce (store) → rename → settle   a kill anywhere leaves the old file or the new one
//! announce (store) → empty, append as above                  where a file cannot be replaced: a kill leaves the old
//!                                                            lines, or some of the new ones and their mark
//! ```

mod error;
mod file;
mod replacement;
mod stdout;

pub use error::SinkError;
pub use file::{Existing, FileState, Mark, ResultFile, tail_digest};
pub use replacement::Replacement;
pub use stdout::check_stdout;
