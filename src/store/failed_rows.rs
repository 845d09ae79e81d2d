//! The rows of failed requests, as both engines group them.

use crate::domain::failure::{Class, Failure};
use crate::domain::tally::FailedClass;

/// The failed requests of one class.
pub(super) struct FailedRows {
    /// The stored name of the class.
    pub(super) class: Option<String>,
    pub(super) requests: u64,
    /// The first of their queues.
    pub(super) first: i64,
}

/// Adds the example. A stored failure that cannot be read is shown without a message, so that it ends no run.
pub(super) fn failed_class(rows: &FailedRows, custom_id: Option<String>, error: Option<&str>) -> FailedClass {
    let failure: Option<Failure> = error.and_then(|error| serde_json::from_str(error).ok());
    let class = rows.class.as_deref().and_then(Class::parse);
    FailedClass {
        class: class.unwrap_or(Class::Internal),
        requests: rows.requests,
        custom_id,
        line: failure.as_ref().and_then(|failure| failure.line),
        message: failure.map(|failure| failure.message).unwrap_or_default(),
    }
}
