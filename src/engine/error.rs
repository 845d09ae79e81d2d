//! The errors that end a run.

use crate::sink::SinkError;
use crate::store::StoreError;

use crate::engine::input::reader::InputError;

/// An error that ends a run without a report. Tasks that were settled before stay settled.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The result file failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The input cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Standard output failed. A closed pipe is not an error.
    #[error("writing to standard output failed")]
    Stdout {
        /// The system's error.
        source: std::io::Error,
    },
    /// The database did not answer before the process had to end.
    #[error(
        "{trouble}, and this process was told to stop (stored work stays; run the same command again to go on)"
    )]
    OutOfReach {
        /// Why it does not answer.
        trouble: String,
        /// The signal that ended the process, if one did.
        signal: Option<i32>,
    },
    /// A signal came before the first call was sent.
    #[error("ended by a signal before anything was sent (run the same command again to go on)")]
    Interrupted {
        /// The signal's number.
        signal: i32,
    },
    /// A stored queue is unfinished and has no task left.
    #[error(
        "queue {queue} of the store is unfinished but has no task left; the other requests are done (please report it; \
         change the line of its request to run it as a new one)"
    )]
    NoTask {
        /// The queue's number in the store.
        queue: i64,
    },
    /// A fault of nova3 itself.
    #[error(
        "a part of nova3 stopped unexpectedly: {part} (please report it; run the same command again to go on)"
    )]
    Broken {
        /// The part that stopped.
        part: String,
    },
}

impl RunError {
    /// Whether the store itself has failed, so that it can keep no more answers.
    pub(super) const fn is_end_of_store(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Io { .. } | StoreError::Corrupt { .. } | StoreError::Closed)
        )
    }
}
