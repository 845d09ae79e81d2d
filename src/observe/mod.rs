//! What people see of a run. Observers get facts in the past tense and can neither slow nor break it: an
//! event that finds the channel full is dropped and counted.

mod display;
mod event;
mod message;
mod progress;
mod screen;
mod summary;

pub use display::{Announcer, Style};
pub use event::{Commonest, Ending, InputChange, Report, RunEvent, Snapshot};
pub use message::{MESSAGE, tell, tell_error};
pub use screen::Screen;
pub use summary::{closing_line, told_otherwise};
