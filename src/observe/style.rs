//! The sinks that a command starts.

use super::event_bus::EventSink;
use super::screen::Screen;
use super::sinks::log::LogSink;
use super::sinks::progress::ProgressSink;
use super::sinks::summary::SummarySink;

/// How a run is shown on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A bar, messages above it, then the closing line.
    Bar,
    /// Messages, then the closing line.
    Plain,
    /// The closing line, only if the run did not end well.
    Silent,
}

impl Style {
    /// The sinks of this style, in the order in which they are closed: the bar is removed before the closing line is
    /// written.
    #[must_use]
    pub fn sinks(self, screen: &Screen) -> Vec<Box<dyn EventSink>> {
        let mut sinks: Vec<Box<dyn EventSink>> = Vec::new();
        if self == Self::Bar {
            sinks.push(Box::new(ProgressSink::new(screen.clone())));
        }
        if self != Self::Silent {
            sinks.push(Box::new(LogSink::new(screen.clone())));
        }
        sinks.push(Box::new(SummarySink::new(self == Self::Silent)));
        sinks
    }
}
