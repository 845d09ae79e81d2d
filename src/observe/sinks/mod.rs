//! The sinks of events, one file each.

pub(super) mod log;
pub(super) mod minute;
pub(super) mod progress;
pub(super) mod summary;
