//! Observers that receive events in place, on the thread that publishes them.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::event::Event;

/// Receives every event, of the run and of tasks, on the publisher's thread. So it misses none.
///
/// It must not block: no I/O, and no lock that is held for longer than it takes to change a map. An observer that may be
/// slow is an [`EventSink`](super::EventSink).
pub trait EventTap: Send + Sync {
    /// The name of the tap, in log lines.
    fn name(&self) -> &'static str;

    /// How much of the exchanges with models it needs.
    fn detail(&self) -> ExchangeDetail;

    /// Receives an event. A panic switches the tap off.
    fn observe(&self, event: &Event);

    /// Learns that the sink of this name has missed events. Called once with 0 for each sink at the start.
    fn missed(&self, sink: &'static str, events: u64);
}

/// How much of the exchanges with models an observer needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExchangeDetail {
    /// Nothing.
    None,
    /// Parameters, ids and the finish reason.
    Figures,
    /// All of that, and the texts.
    Texts,
}

/// The exchange of one call with a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exchange {
    /// The messages that were sent: the role of each, and its text. Empty without texts.
    pub input: Vec<(&'static str, String)>,
    /// The answer. `None` without texts, or without an answer.
    pub output: Option<String>,
    /// The limit of the answer in tokens.
    pub max_tokens: Option<i64>,
    /// The sampling temperature.
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    pub top_p: Option<f64>,
    /// The seed.
    pub seed: Option<i64>,
    /// Whether the answer was streamed.
    pub streams: bool,
    /// The server's id of the answer.
    pub response_id: Option<String>,
    /// The model that answered.
    pub response_model: Option<String>,
    /// Why the answer ended.
    pub finish_reason: Option<String>,
}

/// A tap on the bus.
pub(super) struct Tap {
    tap: Arc<dyn EventTap>,
    is_off: AtomicBool,
}

impl Tap {
    pub(super) fn new(tap: Arc<dyn EventTap>) -> Self {
        Self {
            tap,
            is_off: AtomicBool::new(false),
        }
    }

    pub(super) fn detail(&self) -> ExchangeDetail {
        self.tap.detail()
    }

    pub(super) fn observe(&self, event: &Event) {
        self.run(|tap| tap.observe(event));
    }

    pub(super) fn missed(&self, sink: &'static str, events: u64) {
        self.run(|tap| tap.missed(sink, events));
    }

    fn run(&self, step: impl Fn(&dyn EventTap)) {
        if self.is_off.load(Ordering::Relaxed) {
            return;
        }
        let observed = catch_unwind(AssertUnwindSafe(|| step(&*self.tap)));
        if observed.is_err() && !self.is_off.swap(true, Ordering::Relaxed) {
            tracing::error!(
                tap = self.tap.name(),
                "an observer panicked; it receives no more events"
            );
        }
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap")
            .field("name", &self.tap.name())
            .finish_non_exhaustive()
    }
}
