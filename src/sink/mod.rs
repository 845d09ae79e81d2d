//! The result file: whole lines only, nothing of anyone else's destroyed.
//!
//! What should be in the file is known elsewhere (a cursor in the store) and handed in as a [`Mark`].
//! Here that is compared with what is there: at most the announced bytes are cut off, where the announced lines
//! are known only their beginning, and a file that is something else is left alone.
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
pub use file::{Existing, Found, Mark, ResultFile, tail_digest};
pub use replacement::Replacement;
pub use stdout::check_stdout;
