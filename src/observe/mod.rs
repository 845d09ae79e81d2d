//! What people see of a run. Observers get facts in the past tense and can neither slow nor break it: an
//! event that finds the channel full is dropped and counted.

mod display;
mod event;
mod progress;
mod summary;

pub use display::{Announcer, Style};
pub use event::{Ending, Report, RunEvent, Snapshot};
pub use summary::{closing_line, told_otherwise};
