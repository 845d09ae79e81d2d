//! The terminal that the panel, messages and results share.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::closing::wrapped;
use super::message::tell;
use super::panel::{Panel, WindowSize};
use super::styled::StyledLine;
use crate::domain::printable::printable;

/// The properties of a terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TerminalTraits {
    /// Whether colours are wanted.
    pub colours: bool,
    /// Whether the terminal leaves drawn lines as they are when its window becomes narrower. Most wrap them anew.
    pub keeps_lines: bool,
}

/// A terminal with results and messages above a panel. Clones share it.
#[derive(Debug, Clone)]
pub struct Screen {
    panel: Arc<Mutex<Panel>>,
    /// Whether a panel is shown.
    has_panel: Arc<AtomicBool>,
}

impl Screen {
    /// The terminal at stderr.
    #[must_use]
    pub fn new(traits: TerminalTraits) -> Self {
        Self {
            panel: Arc::new(Mutex::new(Panel::new(traits.colours, traits.keeps_lines))),
            has_panel: Arc::default(),
        }
    }

    /// Writes to standard output while the panel is hidden, and draws the panel again below.
    pub fn write(&self, text: &[u8]) -> io::Result<()> {
        self.above(|| {
            let mut out = io::stdout().lock();
            out.write_all(text).and_then(|()| out.flush())
        })
    }

    /// Writes a message: above the panel if there is one, or else with [`tell`].
    pub(super) fn message(&self, line: &str) {
        if self.has_panel() {
            self.above(|| to_stderr(&format!("{}\n", printable(line))));
        } else {
            tell(line);
        }
    }

    /// Whether a panel is shown.
    pub(super) fn has_panel(&self) -> bool {
        self.has_panel.load(Ordering::Relaxed)
    }

    /// Shows these lines as the panel.
    pub(super) fn show(&self, lines: Vec<StyledLine>) {
        let mut panel = self.panel();
        self.has_panel.store(true, Ordering::Relaxed);
        to_stderr(&panel.show(lines, stderr_size()));
    }

    /// Removes the panel.
    pub(super) fn remove(&self) {
        let mut panel = self.panel();
        if self.has_panel.swap(false, Ordering::Relaxed) {
            to_stderr(&panel.erase(stderr_size()));
        }
    }

    /// Does something while the panel is erased.
    fn above<T>(&self, f: impl FnOnce() -> T) -> T {
        let mut panel = self.panel();
        if !self.has_panel() {
            return f();
        }
        to_stderr(&panel.erase(stderr_size()));
        let done = f();
        to_stderr(&panel.redraw(stderr_size()));
        done
    }

    fn panel(&self) -> MutexGuard<'_, Panel> {
        self.panel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Text on standard output that is replaced in place, such as a status that is watched.
#[derive(Debug)]
pub struct WatchedText(Panel);

impl WatchedText {
    /// Nothing is shown yet.
    #[must_use]
    pub const fn new(traits: TerminalTraits) -> Self {
        Self(Panel::new(false, traits.keeps_lines))
    }

    /// Returns the bytes that replace the text before by this one. Lines that the window has no room for are left out,
    /// and the last line says how many.
    pub fn replace(&mut self, text: &str) -> String {
        let size = window_size(&io::stdout());
        let lines = fitting(text, size);
        self.0.show(lines, size)
    }

    /// Returns the bytes that remove the text.
    pub fn remove(&mut self) -> String {
        self.0.erase(window_size(&io::stdout()))
    }
}

/// The lines of a text that fit into a window, of which one row stays free. A line that is too wide continues on the
/// next one.
fn fitting(text: &str, size: WindowSize) -> Vec<StyledLine> {
    let columns = size.columns.saturating_sub(1).max(1);
    let lines: Vec<String> = text.lines().flat_map(|line| wrapped(line, 2, columns)).collect();
    let room = size.rows.saturating_sub(1).max(1);
    let shown = if lines.len() > room { room - 1 } else { lines.len() };
    let mut fitting: Vec<StyledLine> = lines
        .iter()
        .take(shown)
        .map(|line| StyledLine::from(line.as_str()))
        .collect();
    if shown < lines.len() {
        let more = format!("… {} more lines (`nova3 status` shows all)", lines.len() - shown);
        fitting.push(StyledLine::from(more.as_str()));
    }
    fitting
}

/// The size of the window at stderr.
pub(super) fn stderr_size() -> WindowSize {
    window_size(&io::stderr())
}

/// The size of the window of a stream; 80 by 24 if it is unknown.
fn window_size(stream: &impl std::os::fd::AsFd) -> WindowSize {
    let size = rustix::termios::tcgetwinsize(stream).ok();
    let known = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    known.map_or(
        WindowSize {
            columns: 80,
            rows: 24,
        },
        |size| WindowSize {
            columns: size.ws_col.into(),
            rows: size.ws_row.into(),
        },
    )
}

/// Writes in one piece, so that no half-drawn panel is seen. A closed stderr is no error.
fn to_stderr(text: &str) {
    let mut out = io::stderr().lock();
    out.write_all(text.as_bytes()).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rows: usize) -> Vec<String> {
        let size = WindowSize { columns: 50, rows };
        let lines = fitting("a\nb\nc\n", size);
        lines.iter().map(|line| line.painted(false)).collect()
    }

    #[test]
    fn a_text_that_is_too_high_says_how_much_is_left_out() {
        assert_eq!(shown(4), ["a", "b", "c"]);
        assert_eq!(shown(3), ["a", "… 2 more lines (`nova3 status` shows all)"]);
        assert_eq!(shown(0), ["… 3 more lines (`nova3 status` shows all)"]);
    }
}
