//! The errors of a job of this store.

use std::path::PathBuf;

use tokio_postgres::error::SqlState;

use crate::postgres::{self, Passes, Passing};
use crate::store::StoreError;

/// Why a job failed.
#[derive(Debug)]
pub(super) enum JobFault {
    /// The database reported an error or did not answer.
    Database(postgres::DatabaseFault),
    /// The database numbers its types differently than before, because a copy replaced it. The numbers are asked for
    /// again.
    Renumbered(postgres::DatabaseFault),
    /// The job refused, and none of its changes are kept.
    Refused(StoreError),
    /// A row holds an invalid value.
    Row(String),
}

impl From<postgres::DatabaseFault> for JobFault {
    fn from(fault: postgres::DatabaseFault) -> Self {
        Self::Database(fault)
    }
}

impl From<tokio_postgres::Error> for JobFault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
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

impl Passing for JobFault {
    fn passing(&self) -> Option<Passes> {
        let fault = match self {
            Self::Database(fault) => fault,
            Self::Renumbered(fault) => return Some(Passes::rival(&fault.reason)),
            Self::Refused(_) | Self::Row(_) => return None,
        };
        // Two transactions promoted queues of one session. The retry of the second one finds the promotion done.
        if fault.code == Some(SqlState::UNIQUE_VIOLATION) {
            return Some(Passes::rival(&fault.reason));
        }
        fault.passing()
    }

    fn is_cancelled(&self) -> bool {
        matches!(self, Self::Database(fault) if fault.is_cancelled())
    }
}

impl JobFault {
    /// Turns a lock conflict into a final error, for callers that cannot wait for a lock.
    pub(super) fn at_once(self, shown: &str) -> Self {
        match self {
            Self::Database(fault) if fault.is_about_a_lock() => Self::Refused(StoreError::Slow {
                path: PathBuf::from(shown),
                reason: fault.reason,
            }),
            other => other,
        }
    }

    /// Converts to the port's error; `shown` is the name of the store for people.
    pub(super) fn at(self, shown: &str) -> StoreError {
        let path = PathBuf::from(shown);
        match self {
            Self::Refused(error) => error,
            Self::Row(reason) => StoreError::Row { path, reason },
            Self::Database(fault) if fault.is_cancelled() => StoreError::Slow {
                path,
                reason: fault.reason,
            },
            Self::Database(fault) if fault.is_gone => StoreError::WentBack { reason: fault.reason },
            Self::Database(fault) | Self::Renumbered(fault) => of_database(&fault, path),
        }
    }
}

fn of_database(fault: &postgres::DatabaseFault, path: PathBuf) -> StoreError {
    let code = fault.code.as_ref().map(SqlState::code).unwrap_or_default();
    let cure = match code {
        "28P01" | "28000" => "set `PGPASSWORD`, or `PGPASSFILE` with a line for it",
        "3D000" => "make it with `createdb`, or name another one",
        "42501" => "the user must own the tables: let it create them in its own schema",
        "42P01" | "42883" | "3F000" => "it holds no store of nova3: start a run first",
        // The text is the driver's: the server asks for a password and none was given.
        _ if fault.reason.ends_with("password missing") => {
            "set `PGPASSWORD`, or `PGPASSFILE` with a line for it"
        }
        _ => "",
    };
    let reason = if cure.is_empty() {
        fault.reason.clone()
    } else {
        format!("{} ({cure})", fault.reason)
    };
    // The server refused one value: its data, integrity, a limit of the server, a trigger, or a row that is too large.
    let of_one_row = ["21", "22", "23", "54", "P0", "XX"];
    if of_one_row.iter().any(|class| code.starts_with(class)) {
        return StoreError::Row { path, reason };
    }
    // Errors of syntax and names mean that the store is not of the expected schema.
    let corrupt = code.starts_with("42") && cure.is_empty();
    if corrupt {
        return StoreError::Corrupt { path, reason };
    }
    let action = if fault.code.is_some() {
        "using it"
    } else {
        "reaching it"
    };
    StoreError::Io { path, action, reason }
}
