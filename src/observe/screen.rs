//! The terminal that the panel, messages and results share.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::closing::wrapped;
use super::message::tell;
use super::panel::{Panel, PanelContent, PanelWindow, TerminalTraits, WindowSize};
use super::styled::StyledLine;
use crate::domain::printable::printable;

/// A terminal with results and messages above a panel. Clones share it.
#[derive(Debug, Clone)]
pub struct Screen {
    traits: TerminalTraits,
    /// The panel that is shown.
    panel: Arc<Mutex<Option<Panel>>>,
}

impl Screen {
    /// The terminal at stderr.
    #[must_use]
    pub fn new(traits: TerminalTraits) -> Self {
        Self {
            traits,
            panel: Arc::default(),
        }
    }

    /// Writes to standard output while the panel is hidden, and draws the panel again below.
    pub fn write(&self, text: &[u8]) -> io::Result<()> {
        let write = || {
            let mut out = io::stdout().lock();
            out.write_all(text).and_then(|()| out.flush())
        };
        match &*self.panel() {
            Some(panel) => panel.above(write),
            None => write(),
        }
    }

    /// Writes a message: above the panel if there is one, or else with [`tell`].
    pub(super) fn message(&self, line: &str) {
        match &*self.panel() {
            Some(panel) => panel.above(|| to_stderr(&format!("{}\n", printable(line)))),
            None => tell(line),
        }
    }

    /// Whether a panel is shown.
    pub(super) fn has_panel(&self) -> bool {
        self.panel().is_some()
    }

    /// Shows this text as the panel.
    pub(super) fn show(&self, content: PanelContent) {
        self.panel()
            .get_or_insert_with(|| Panel::new(Arc::new(StderrWindow), self.traits))
            .show(content);
    }

    /// Removes the panel.
    pub(super) fn remove(&self) {
        if let Some(panel) = self.panel().take() {
            panel.clear();
        }
    }

    fn panel(&self) -> MutexGuard<'_, Option<Panel>> {
        self.panel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The window at stderr.
#[derive(Debug)]
struct StderrWindow;

impl PanelWindow for StderrWindow {
    fn size(&self) -> WindowSize {
        stderr_size()
    }

    fn write(&self, text: &str) {
        to_stderr(text);
    }
}

/// Text on standard output that is replaced in place, such as a status that is watched.
#[derive(Debug)]
pub struct WatchedText {
    panel: Panel,
    window: Arc<WatchedWindow>,
}

impl WatchedText {
    /// The screen shows no panel yet.
    #[must_use]
    pub fn new(traits: TerminalTraits) -> Self {
        let window = Arc::<WatchedWindow>::default();
        Self {
            panel: Panel::new(Arc::clone(&window) as Arc<dyn PanelWindow>, traits),
            window,
        }
    }

    /// Returns the bytes that replace the text before by this one. Lines that the window has no room for are left out,
    /// and the last line says how many.
    pub fn replace(&mut self, text: &str) -> String {
        let lines = fitting(text, self.window.size());
        self.panel.show(PanelContent { bar: None, lines });
        self.window.take()
    }

    /// Returns the bytes that remove the text.
    pub fn remove(&self) -> String {
        self.panel.clear();
        self.window.take()
    }
}

/// The window at stdout. It keeps drawn text for the caller, who writes it and sees whether the reader has gone.
#[derive(Debug, Default)]
struct WatchedWindow(Mutex<String>);

impl WatchedWindow {
    fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PanelWindow for WatchedWindow {
    fn size(&self) -> WindowSize {
        window_size(&io::stdout())
    }

    fn write(&self, text: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += text;
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
