//! Shows a run to people and programs: events, and the sinks that receive them.
//!
//! ```text
//! engine, llm ── Event ──▶ EventBus ─┬─▶ bounded queue ─▶ thread: progress (the bar)
//!                                    ├─▶ bounded queue ─▶ thread: log (messages, log lines)
//!                                    └─▶ bounded queue ─▶ thread: summary (the closing line)
//! ```
//!
//! Events are facts in the past tense. A sink runs on its own thread behind its own bounded queue. Publishing never
//! blocks: an event that finds a queue full is dropped for that sink alone, and counted. A sink that is slow, stuck or
//! panics changes nothing for the run and for the other sinks.
//!
//! To add a sink: implement [`EventSink`] in `sinks/`, and name it in [`Style::sinks`].

mod event;
mod event_bus;
mod message;
mod screen;
mod sinks;
mod style;
mod task_event;

pub use event::{Commonest, Event, InputChange, Report, RunEnding, RunEvent, Snapshot};
pub use event_bus::{EventBus, EventSink};
pub use message::{MESSAGE, tell, tell_error};
pub use screen::Screen;
pub use sinks::summary::{closing_line, told_otherwise};
pub use style::Style;
pub use task_event::{CallFact, TaskEnding, TaskEvent, TaskEvents, TaskFact, TaskRef};
