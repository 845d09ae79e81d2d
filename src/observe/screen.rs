//! The terminal that the bar, messages and results share.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, TermLike};

use super::message::tell;
use crate::domain::printable::printable;

/// Redraws of the bar a second at most.
const REDRAWS: u8 = 8;

/// A terminal with results and messages above the bar. Clones share it.
#[derive(Debug, Clone)]
pub struct Screen {
    bars: MultiProgress,
    /// Whether a bar is shown.
    has_bar: Arc<AtomicBool>,
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Screen {
    /// The terminal at stderr. Without one, no bar is drawn.
    #[must_use]
    pub fn new() -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::term_like_with_hz(Box::new(LeftEdgeTerm(Term::buffered_stderr())), REDRAWS)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            has_bar: Arc::default(),
        }
    }

    /// Writes to standard output while the bar is hidden, and draws the bar again below.
    pub fn write(&self, text: &[u8]) -> io::Result<()> {
        self.bars.suspend(|| {
            let mut out = io::stdout().lock();
            out.write_all(text).and_then(|()| out.flush())
        })
    }

    /// Writes a message: above the bar if there is one, or else with [`tell`].
    pub(super) fn message(&self, line: &str) {
        if self.has_bar() {
            self.bars.println(printable(line)).unwrap_or_default();
        } else {
            tell(line);
        }
    }

    /// Whether a bar is shown.
    pub(super) fn has_bar(&self) -> bool {
        self.has_bar.load(Ordering::Relaxed)
    }

    /// Shows the bar.
    pub(super) fn add(&self, bar: ProgressBar) -> ProgressBar {
        self.has_bar.store(true, Ordering::Relaxed);
        self.bars.add(bar)
    }

    /// Removes the bar.
    pub(super) fn remove(&self, bar: &ProgressBar) {
        bar.finish_and_clear();
        self.has_bar.store(false, Ordering::Relaxed);
    }
}

/// A terminal whose cursor rests at the left edge of the bar's last line.
///
/// A terminal echoes Ctrl-C as `^C` at the cursor. A full line leaves the cursor at the right edge. There the echo
/// moves the cursor one line down. The next redraw then misses the bar's first line and leaves it on the screen.
#[derive(Debug)]
struct LeftEdgeTerm(Term);

impl TermLike for LeftEdgeTerm {
    fn width(&self) -> u16 {
        TermLike::width(&self.0)
    }

    fn height(&self) -> u16 {
        TermLike::height(&self.0)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.0.write_line(line)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.write_str("\r")?;
        self.0.flush()
    }
}
