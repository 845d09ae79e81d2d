//! Why a run could not go on.

use crate::sink::SinkError;
use crate::store::StoreError;

use crate::engine::input::reader::InputError;

/// A run that ended without a report. What was settled before stays settled.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The result file.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The input.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Standard output, for another reason than that its reader has gone.
    #[error("writing to standard output failed")]
    Stdout {
        /// What the system said.
        source: std::io::Error,
    },
    /// The database did not answer until the end.
    #[error(
        "{trouble}, and this process was told to end (what is stored stays; run the same command again to go on)"
    )]
    OutOfReach {
        /// What is known of it.
        trouble: String,
        /// The signal that told it so.
        signal: Option<i32>,
    },
    /// A signal came before anything was begun.
    #[error("ended by a signal before anything was sent (run the same command again to go on)")]
    Interrupted {
        /// Its number.
        signal: i32,
    },
    /// A stored queue is unfinished and has no task left.
    #[error(
        "queue {queue} of the store is unfinished and has no task left; the other requests are done (please report it; an \
         edit of its line makes it anew)"
    )]
    NoTask {
        /// Its number.
        queue: i64,
    },
    /// A fault of nova3 itself.
    #[error(
        "a part of nova3 stopped unexpectedly: {part} (please report it; run the same command again to go on)"
    )]
    Broken {
        /// Which part.
        part: String,
    },
}

impl RunError {
    /// Whether the store itself has failed, so that no answer could be kept any more.
    pub(super) const fn is_end_of_store(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Io { .. } | StoreError::Corrupt { .. } | StoreError::Closed)
        )
    }
}
