//! Why a result file cannot be written.

use std::io::ErrorKind;
use std::path::PathBuf;

/// All of these end a run with exit code 110; what is finished stays in the store.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The file holds something that this run did not write.
    #[error(
        "result file `{}` is not what this run wrote there: {reason} (use `--append` to keep it and add to it, \
         `--overwrite` to replace it, or another `-o`)",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How it differs.
        reason: String,
    },
    /// Somebody else changed the file while this process wrote it.
    #[error(
        "result file `{}` was changed while this run wrote it: {reason} (nothing was overwritten and nothing finished is \
         lost: move away what stands there, or use another `-o`, and run the same command again)",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// How it differs.
        reason: String,
    },
    /// Another process writes it.
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
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// What to do about a full disk or a limit; other errors of the system speak for themselves.
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
