//! The sinks that a command starts.

use super::event_bus::EventSink;
use super::screen::Screen;
use super::sinks::log::LogSink;
use super::sinks::minute::MinuteSink;
use super::sinks::progress::ProgressSink;
use super::sinks::summary::{SummaryExtent, SummarySink};

/// How a run is shown on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A panel, messages above it, then the closing block.
    Bar,
    /// Messages, a line a minute, then the closing block.
    Plain,
    /// The closing line, only if the run did not end well.
    Silent,
}

impl Style {
    /// The sinks of this style, in the order in which they are closed: the panel is removed before the closing block is
    /// written. `store` is the store that a next command has to name.
    #[must_use]
    pub fn sinks(self, screen: &Screen, store: Option<String>) -> Vec<Box<dyn EventSink>> {
        let mut sinks: Vec<Box<dyn EventSink>> = Vec::new();
        match self {
            Self::Bar => sinks.push(Box::new(ProgressSink::new(screen.clone()))),
            Self::Plain => sinks.push(Box::new(MinuteSink::default())),
            Self::Silent => {}
        }
        if self != Self::Silent {
            sinks.push(Box::new(LogSink::new(screen.clone())));
        }
        let extent = match self {
            Self::Bar => SummaryExtent::Whole,
            Self::Plain => SummaryExtent::Short,
            Self::Silent => SummaryExtent::Quiet,
        };
        sinks.push(Box::new(SummarySink::new(extent, store)));
        sinks
    }
}
