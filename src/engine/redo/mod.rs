//! Redos: which tasks of finished requests are made anew, and why.
//!
//! A redo is chosen before any call: the chosen tasks and all tasks that depend on them begin a new version in the store,
//! in one transaction. After that the run performs them like any unfinished work. The store keeps each earlier result
//! until the new one is settled.

mod choice;
mod find;
mod stale;

pub use choice::{RedoChoice, RedoFilter};
pub use find::{RedoEntry, RedoList, RedoReason, RedoTools, TaskToRedo, find_redos};
