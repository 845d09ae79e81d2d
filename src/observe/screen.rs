//! The terminal that a bar, messages and results share.

use std::io::{self, IsTerminal, Write};

use console::Term;
use indicatif::{MultiProgress, ProgressDrawTarget, TermLike};

/// Redraws of the bar a second at most.
const REDRAWS: u8 = 8;

/// A terminal on which results and messages stand above the bar. Clones share it.
#[derive(Debug, Clone)]
pub struct Screen(MultiProgress);

impl Screen {
    /// The terminal at stderr; without one, no bar is drawn.
    pub(super) fn new() -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::term_like_with_hz(Box::new(Lines(Term::buffered_stderr())), REDRAWS)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self(MultiProgress::with_draw_target(target))
    }

    /// Writes to standard output while the bar is taken away, and draws the bar again below.
    pub fn write(&self, text: &[u8]) -> io::Result<()> {
        self.0.suspend(|| {
            let mut out = io::stdout().lock();
            out.write_all(text).and_then(|()| out.flush())
        })
    }

    /// Writes a line above the bar.
    pub(super) fn print(&self, line: &str) {
        self.0.println(line).unwrap_or_default();
    }

    pub(super) fn bars(&self) -> &MultiProgress {
        &self.0
    }
}

/// A terminal whose cursor rests at the left edge of the bar's last line.
///
/// A terminal echoes Ctrl-C as `^C` where the cursor stands. At the right edge, where a full line leaves the cursor, the echo
/// moves it one line down; the next redraw then misses the bar's first line and leaves it on the screen.
#[derive(Debug)]
struct Lines(Term);

impl TermLike for Lines {
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
