//! Performs the tasks of one lease.

pub(in crate::engine) mod budget;
pub(in crate::engine) mod contain;
pub(in crate::engine) mod crash_marks;
pub(in crate::engine) mod parts;
pub(in crate::engine) mod perform;
pub(in crate::engine) mod planning;
pub(in crate::engine) mod search;
mod search_events;
pub(in crate::engine) mod steps;
pub(in crate::engine) mod worker;
