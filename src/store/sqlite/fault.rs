//! Conversion of SQLite's errors to the errors of the port.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// Why a job failed.
#[derive(Debug)]
pub(super) enum JobFault {
    /// SQLite reported an error.
    Sqlite(rusqlite::Error),
    /// The job refused, and none of its changes are kept.
    Refused(StoreError),
    /// A row holds an invalid value.
    Row(String),
    /// The file is damaged below the level of rows.
    Damaged(String),
    /// The file is intact, but its rows contradict each other.
    Inconsistent(String),
}

impl From<rusqlite::Error> for JobFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for JobFault {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<serde_json::Error> for JobFault {
    fn from(error: serde_json::Error) -> Self {
        Self::Row(format!("a stored value is not the expected JSON: {error}"))
    }
}

impl JobFault {
    /// Whether the disk or the file caused it, so that every other job would fail too.
    pub(super) fn is_of_the_disk(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::ReadOnly
                    | ErrorCode::CannotOpen
                    | ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
            )
        )
    }

    /// Converts to the port's error for the store at `path`.
    pub(super) fn at(self, path: &Path) -> StoreError {
        let path = path.to_path_buf();
        let error = match self {
            Self::Refused(error) => return error,
            Self::Row(reason) => return StoreError::Row { path, reason },
            Self::Damaged(finding) => return super::recovery::damaged(&path, &finding),
            Self::Inconsistent(reason) => return StoreError::Corrupt { path, reason },
            Self::Sqlite(error) => error,
        };
        let reason = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Io {
                path,
                action: "writing",
                reason: format!(
                    "{reason} (free some space and run the same command again: nothing stored is lost)"
                ),
            },
            Some(ErrorCode::ReadOnly) => StoreError::Io {
                path,
                action: "writing",
                reason: format!("{reason} (its folder and file must be writable, or give another `--store`)"),
            },
            Some(ErrorCode::SystemIoFailure) => StoreError::Io {
                path,
                action: "reading or writing",
                reason: format!(
                    "{reason} (a failing disk, see the system's log, or a limit on the size of files; fix the cause \
                     and run the same command again: nothing stored is lost)"
                ),
            },
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => StoreError::Io {
                path,
                action: "opening one of its files",
                reason: format!(
                    "{reason} (its folder and files must be writable, or give another `--store`)"
                ),
            },
            Some(ErrorCode::DatabaseCorrupt) => super::recovery::damaged(&path, &reason),
            Some(ErrorCode::NotADatabase) => StoreError::NotAStore { path, reason },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse {
                path,
                holder: "another program".to_owned(),
            },
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
                StoreError::Row { path, reason }
            }
            None if error.sqlite_error().is_none() => StoreError::Row { path, reason },
            _ => StoreError::Corrupt { path, reason },
        }
    }
}
