//! The failures of a database, and whether waiting cures them.

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

/// A failed statement or connection. A failed statement outside a transaction has changed nothing, unless its answer
/// was lost.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub struct DatabaseFault {
    /// The server's code, if it sent one.
    pub code: Option<SqlState>,
    /// The server's message, or the reason here.
    pub reason: String,
    passes: bool,
    /// Whether a row is missing that every run has.
    pub is_gone: bool,
}

/// An error that says whether waiting cures it.
pub trait Passing {
    /// Returns the passing cause if the same operation may succeed later.
    fn passing(&self) -> Option<Passes>;

    /// Whether the server cancelled the statement, which it does at its time limit. The same statement would be
    /// cancelled again: the caller splits it, tries it within a longer limit, or gives up.
    fn is_cancelled(&self) -> bool;
}

/// A passing cause.
#[derive(Debug, Clone)]
pub struct Passes {
    /// The cause as text.
    pub reason: String,
    /// Whether concurrent transactions caused it; the database itself is well.
    pub of_rivals: bool,
}

impl Passes {
    /// Creates the cause of a conflict with concurrent transactions.
    pub fn rival(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            of_rivals: true,
        }
    }
}

impl Passing for DatabaseFault {
    fn passing(&self) -> Option<Passes> {
        let code = self.code.as_ref().map(SqlState::code);
        self.passes.then(|| Passes {
            reason: self.reason.clone(),
            of_rivals: code.is_some_and(|code| RIVALS.contains(&code)),
        })
    }

    fn is_cancelled(&self) -> bool {
        self.code == Some(SqlState::QUERY_CANCELED)
    }
}

/// A serialization failure, a deadlock, a lock that was not available.
const RIVALS: &[&str] = &["40001", "40P01", "55P03"];

/// Codes that waiting cures: a restart, a failover, an overload or a concurrent transaction. `58030` and class 53 are
/// the server's disk and memory (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
const PASSING: &[&str] = &[
    "25006", "25P03", "40001", "40P01", "55P03", "57P01", "57P02", "57P03", "57P05", "58030",
];
const PASSING_CLASSES: &[&str] = &["08", "53"];

impl DatabaseFault {
    /// Creates a failure that waiting cures.
    pub fn lost(reason: impl Into<String>) -> Self {
        Self {
            code: None,
            reason: reason.into(),
            passes: true,
            is_gone: false,
        }
    }

    /// Whether a lock was not available in time.
    pub fn is_about_a_lock(&self) -> bool {
        self.code == Some(SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Creates the failure of a missing row that every run has. Waiting does not cure it.
    pub(super) fn missing() -> Self {
        Self {
            code: None,
            reason: "its run is gone, unless somebody dropped it".to_owned(),
            passes: false,
            is_gone: true,
        }
    }

    /// Creates the failure of a type that the schema lacks, or of a field whose type is unknown.
    pub(super) fn unknown_type(name: &str) -> Self {
        Self {
            code: Some(SqlState::UNDEFINED_OBJECT),
            reason: format!("it has no type `{name}` as this program knows it"),
            passes: false,
            is_gone: false,
        }
    }

    /// Whether the server does not know a type or a function of the statement.
    pub fn is_about_a_name(&self) -> bool {
        self.code == Some(SqlState::UNDEFINED_OBJECT) || self.code == Some(SqlState::UNDEFINED_FUNCTION)
    }

    pub(super) fn of_pool(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(_) => Self::lost("connecting took too long"),
            PoolError::Closed => Self {
                code: None,
                reason: "the connections are closed".to_owned(),
                passes: false,
                is_gone: false,
            },
            other => Self::lost(other.to_string()),
        }
    }
}

impl From<tokio_postgres::Error> for DatabaseFault {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(said) = error.as_db_error() {
            let code = said.code().clone();
            let passes = PASSING.contains(&code.code())
                || PASSING_CLASSES.iter().any(|class| code.code().starts_with(class));
            let hint = said.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            return Self {
                reason: format!("{}{hint}", said.message()),
                code: Some(code),
                passes,
                is_gone: false,
            };
        }
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(&error);
        let of_the_network = error.is_closed() || is_io(&error);
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        Self {
            code: None,
            passes: of_the_network,
            is_gone: false,
            reason,
        }
    }
}

/// Whether the error comes from below the protocol: a refused, cut or silent connection.
fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            // TLS wraps a certificate error in an I/O error; waiting does not cure it.
            return io.kind() != std::io::ErrorKind::InvalidData
                && io.kind() != std::io::ErrorKind::InvalidInput;
        }
        source = cause.source();
    }
    error.to_string().contains("timed out")
}
