//! Shows a run to people and programs: events, and the sinks that receive them.
//!
//! ```text
//! engine, llm ── Event ──▶ EventBus ─┬─▶ bounded queue ─▶ thread: progress (the panel)
//!                                    ├─▶ bounded queue ─▶ thread: log (messages, log lines)
//!                                    ├─▶ bounded queue ─▶ thread: summary (the closing block)
//!                                    └─▶ in place: taps, which miss no event and never block (metrics, traces)
//! ```
//!
//! Events are facts in the past tense. A sink runs on its own thread behind its own bounded queue. Publishing never
//! blocks: an event that finds a queue full is dropped for that sink alone, and counted. A sink that is slow, stuck or
//! panics changes nothing for the run and for the other sinks. A tap ([`EventTap`]) misses no event: it works
//! on the thread of the publisher, without a wait.
//!
//! To add a sink: implement [`EventSink`] in `sinks/`, and name it in [`Style::sinks`]. To add a tap: implement
//! [`EventTap`], and give it to [`EventBus::with_taps`].

mod amounts;
mod closing;
mod dashboard;
mod event;
mod event_bus;
mod event_tap;
mod message;
mod metrics;
mod panel;
mod rate;
mod screen;
mod sinks;
mod style;
mod styled;
mod summary_json;
mod task_event;

pub use event::{
    CallAge, Commonest, Event, InputChange, InputPosition, Report, RouteTraffic, RunEnding, RunEvent,
    SlowestCall, Snapshot,
};
pub use event_bus::{EventBus, EventSink};
pub use event_tap::{EventTap, Exchange, ExchangeDetail};
pub use message::{MESSAGE, tell, tell_error};
pub use metrics::{
    DroppedTraces, LabelNames, METRICS, METRICS_BEGIN, MetricKind, MetricSpec, MetricsEndpoint, RunMetrics,
    last_success,
};
pub use panel::TerminalTraits;
pub use screen::{Screen, WatchedText};
pub use sinks::summary::{closing_line, told_otherwise};
pub use style::Style;
pub use summary_json::{SUMMARY_BEGINS, failed_summary, run_summary, summary_text};
pub use task_event::{CallFact, TaskEnding, TaskEvent, TaskEvents, TaskFact, TaskRef};
