//! The errors of writing a result file.

use std::io::ErrorKind;
use std::path::PathBuf;

/// The error ends a run with exit code 110; finished results stay in the store.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The file holds something that this run did not write.
    #[error(
        "result file `{}` does not hold what this run wrote: {reason} (use `--append` to keep it and add to it, \
         `--overwrite` to replace it, or another `-o`)",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How it differs.
        reason: String,
    },
    /// Another program changed the file while this process wrote it.
    #[error(
        "result file `{}` was changed while this run wrote it: {reason} (nothing was overwritten and nothing finished is \
         lost: move that file away, or use another `-o`, and run the same command again)",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// How it differs.
        reason: String,
    },
    /// Another process writes the file.
    #[error("result file `{}` is being written by another process (wait for it, or use another `-o`)", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The operating system failed.
    #[error("result file `{}`: {action} failed{}", path.display(), cure(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// The failed operation.
        action: &'static str,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
}

/// Returns the cure for a full disk or a size limit; other errors of the system need none.
fn cure(source: &std::io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            " (free some space and run the same command again: nothing finished is lost)"
        }
        ErrorKind::FileTooLarge => {
            " (raise the limit on the size of files, `ulimit -f`, and run the same command again: nothing finished is \
             lost)"
        }
        _ => "",
    }
}
