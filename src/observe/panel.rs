//! Lines at the bottom of a terminal that are drawn again in place. `indicatif` draws them and the bar in the first line.
//!
//! The cursor rests on an empty line below the panel. A `^C` that the terminal echoes, and the prompt after a kill, are
//! therefore below it. `indicatif` leaves the cursor in the last line and takes each line for as high as it was drawn.
//! [`PanelTerm`] is the terminal that it draws on: it ends each line, and returns to the first row by itself. Most
//! terminals wrap drawn lines anew when the window becomes narrower, so it counts the rows that the lines take then.

use std::fmt::{Debug, Write};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike};

use super::styled::{StyledLine, Tone, painted_width};

/// The size of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WindowSize {
    /// Its width in characters.
    pub(super) columns: usize,
    /// Its height in lines.
    pub(super) rows: usize,
}

/// A place that shows a panel.
pub(super) trait PanelWindow: Debug + Send + Sync {
    /// Its present size.
    fn size(&self) -> WindowSize;
    /// Writes text with control sequences, in one piece.
    fn write(&self, text: &str);
}

/// The properties of a terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TerminalTraits {
    /// Whether colours are wanted.
    pub colours: bool,
    /// Whether the terminal leaves drawn lines as they are when its window becomes narrower. Most wrap them anew.
    pub keeps_lines: bool,
}

/// The text of a panel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PanelContent {
    /// The beginning of the first line.
    pub(super) bar: Option<BarPart>,
    /// The lines. The first one continues behind the bar.
    pub(super) lines: Vec<StyledLine>,
}

/// A bar, and the text before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BarPart {
    pub(super) before: StyledLine,
    /// The width of the bar without its brackets.
    pub(super) columns: usize,
    /// The part that is done.
    pub(super) position: u64,
    /// The whole.
    pub(super) length: u64,
}

impl BarPart {
    /// The columns of the brackets and the space before them.
    pub(super) const FRAME: usize = 3;
}

/// A panel that is shown. A panel that is dropped is erased.
#[derive(Debug)]
pub(super) struct Panel {
    bar: ProgressBar,
    content: PanelContent,
    window: Arc<dyn PanelWindow>,
    colours: bool,
}

impl Panel {
    /// The panel is not drawn yet.
    pub(super) fn new(window: Arc<dyn PanelWindow>, traits: TerminalTraits) -> Self {
        let term = PanelTerm {
            window: Arc::clone(&window),
            keeps_lines: traits.keeps_lines,
            drawing: Mutex::default(),
        };
        // No limit of drawings a second: each snapshot is drawn once.
        let target = ProgressDrawTarget::term_like(Box::new(term));
        Self {
            bar: ProgressBar::with_draw_target(None, target),
            content: PanelContent::default(),
            window,
            colours: traits.colours,
        }
    }

    /// Replaces the text.
    pub(super) fn show(&mut self, content: PanelContent) {
        self.content = content;
        self.lay_out();
        let bar = self.content.bar.as_ref();
        self.bar.update(|state| {
            if let Some(bar) = bar {
                state.set_len(bar.length);
                state.set_pos(bar.position);
            }
        });
    }

    /// Does something while the panel is erased, and draws it again below.
    pub(super) fn above<T>(&self, f: impl FnOnce() -> T) -> T {
        self.lay_out();
        self.bar.suspend(f)
    }

    /// Erases the panel. The cursor is then at the place of its first line.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Cuts the text to the present width. `indicatif` would let a wider line wrap.
    fn lay_out(&self) {
        // The last column stays free, because a terminal may wrap behind it.
        let columns = self.window.size().columns.saturating_sub(1).max(1);
        let style = self.content.style(columns, self.colours);
        self.bar.set_style(style);
    }
}

impl PanelContent {
    /// The style that draws the text in so many columns.
    fn style(&self, columns: usize, colours: bool) -> ProgressStyle {
        let mut lines = self.lines.clone();
        let mut template = String::new();
        let mut before = String::new();
        if let (Some(bar), Some(first)) = (&self.bar, lines.first_mut()) {
            if bar.before.width() + BarPart::FRAME + bar.columns + first.width() <= columns {
                let mut place = StyledLine::default();
                place.push(Tone::Good, &format!("{{bar:{}}}", bar.columns));
                template = format!("{{before}} [{}]", place.painted(colours));
                before = bar.before.painted(colours);
            } else {
                let mut whole = bar.before.clone();
                whole.append(std::mem::take(first));
                *first = whole;
            }
        }
        let lines = lines.into_iter().map(|line| line.cut(columns).painted(colours));
        let lines = lines.collect::<Vec<_>>().join("\n");
        ProgressStyle::with_template(&(template + "{lines}"))
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ")
            .with_key("before", constant(before))
            .with_key("lines", constant(lines))
    }
}

/// A key of a template that stands for this text.
fn constant(text: String) -> impl Fn(&ProgressState, &mut dyn Write) + Clone + Send + Sync {
    move |_, out| out.write_str(&text).unwrap_or_default()
}

/// The terminal that `indicatif` draws on.
#[derive(Debug)]
struct PanelTerm {
    window: Arc<dyn PanelWindow>,
    keeps_lines: bool,
    drawing: Mutex<PanelDrawing>,
}

#[derive(Debug, Default)]
struct PanelDrawing {
    /// The pieces of the next drawing. `indicatif` writes each line in two: its text, and spaces up to the right edge.
    pieces: Vec<String>,
    /// The widths of the lines on the terminal.
    drawn: Vec<usize>,
}

impl PanelTerm {
    fn drawing(&self) -> MutexGuard<'_, PanelDrawing> {
        self.drawing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows that the drawn lines take in a window of so many columns.
    fn rows(&self, drawn: &[usize], columns: usize) -> usize {
        let rows = drawn.iter().map(|width| {
            if self.keeps_lines {
                1
            } else {
                width.div_ceil(columns.max(1)).max(1)
            }
        });
        rows.sum()
    }
}

impl TermLike for PanelTerm {
    fn width(&self) -> u16 {
        u16::try_from(self.window.size().columns.saturating_sub(1).max(1)).unwrap_or(u16::MAX)
    }

    /// One row of the window stays free for the cursor.
    fn height(&self) -> u16 {
        u16::try_from(self.window.size().rows.saturating_sub(1).max(1)).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.write_str("")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.drawing().pieces.push(text.to_owned());
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    /// Draws the lines over what is drawn.
    fn flush(&self) -> io::Result<()> {
        let mut drawing = self.drawing();
        let rows = self.rows(&drawing.drawn, self.window.size().columns);
        let pieces = std::mem::take(&mut drawing.pieces);
        drawing.drawn.clear();
        let mut text = String::new();
        if rows > 0 {
            // Each row is erased as a whole. A terminal would join rows of a line that it wrapped when the window becomes
            // wider, although other text was written over them. Erasing all below the first row is no way: tmux moves
            // a screen that is erased as a whole into its history.
            text = "\r\x1b[J".to_owned() + &"\x1b[A\x1b[2K".repeat(rows);
        }
        for line in pieces.iter().step_by(2) {
            drawing.drawn.push(painted_width(line));
            text += line;
            text += "\n";
        }
        if !text.is_empty() {
            self.window.write(&text);
        }
        Ok(())
    }
}

/// A window for tests.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct TestWindow(Mutex<(WindowSize, String)>);

#[cfg(test)]
impl TestWindow {
    pub(super) fn new(size: WindowSize) -> Arc<Self> {
        Arc::new(Self(Mutex::new((size, String::new()))))
    }

    pub(super) fn resize(&self, size: WindowSize) {
        self.0.lock().unwrap().0 = size;
    }

    /// The text that was written since the last question.
    pub(super) fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }
}

#[cfg(test)]
impl PanelWindow for TestWindow {
    fn size(&self) -> WindowSize {
        self.0.lock().unwrap().0
    }

    fn write(&self, text: &str) {
        self.0.lock().unwrap().1 += text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: WindowSize = WindowSize {
        columns: 40,
        rows: 10,
    };

    fn lines(texts: &[&str]) -> PanelContent {
        PanelContent {
            bar: None,
            lines: texts.iter().map(|text| StyledLine::from(*text)).collect(),
        }
    }

    fn panel(window: &Arc<TestWindow>, keeps_lines: bool) -> Panel {
        let traits = TerminalTraits {
            colours: false,
            keeps_lines,
        };
        Panel::new(Arc::clone(window) as Arc<dyn PanelWindow>, traits)
    }

    /// The screen after all that was written.
    fn screen(window: &TestWindow) -> String {
        let size = window.size();
        let number = |n: usize| u16::try_from(n).unwrap();
        let mut screen = vt100::Parser::new(number(size.rows), number(size.columns), 100);
        // A terminal returns to the left edge at each line end.
        screen.process(window.take().replace('\n', "\r\n").as_bytes());
        screen.screen().contents()
    }

    #[test]
    fn a_shorter_panel_leaves_nothing_of_a_longer_one() {
        let draw = || {
            let window = TestWindow::new(WIDE);
            let mut panel = panel(&window, false);
            window.write("before\n");
            panel.show(lines(&["a long first line", "second", "", "third"]));
            window.write("^C");
            panel.show(lines(&["short"]));
            (window, panel)
        };
        let (window, _panel) = draw();
        assert_eq!(screen(&window), "before\nshort");
        let (window, panel) = draw();
        panel.above(|| window.write("after\n"));
        assert_eq!(screen(&window), "before\nafter\nshort");
        let (window, panel) = draw();
        panel.clear();
        assert_eq!(screen(&window), "before");
    }

    #[test]
    fn lines_are_cut_to_the_window() {
        let window = TestWindow::new(WindowSize { columns: 8, rows: 3 });
        let mut panel = panel(&window, false);
        panel.show(lines(&["0123456789", "b", "c", "d"]));
        assert_eq!(screen(&window), "012345…\nb");
    }

    #[test]
    fn a_bar_without_room_is_left_out_before_the_next_snapshot() {
        let window = TestWindow::new(WIDE);
        let mut panel = panel(&window, false);
        panel.show(PanelContent {
            bar: Some(BarPart {
                before: StyledLine::from("{run}"),
                columns: 10,
                position: 1,
                length: 2,
            }),
            lines: vec![StyledLine::from(" 1 of 2"), StyledLine::from("second")],
        });
        assert_eq!(screen(&window), "{run} [=====>    ] 1 of 2\nsecond");
        window.resize(WindowSize {
            columns: 12,
            rows: 10,
        });
        panel.above(|| ());
        let text = window.take();
        assert!(text.ends_with("\x1b[2K{run} 1 of…\nsecond\n"), "{text:?}");
    }

    #[test]
    fn wrapped_lines_are_covered_after_the_window_became_narrower() {
        let long = "012345678901234567890123456789";
        // The first line takes three rows of the narrow window.
        for (keeps_lines, rows) in [(false, 4), (true, 2)] {
            let window = TestWindow::new(WIDE);
            let mut panel = panel(&window, keeps_lines);
            panel.show(lines(&[long, "b"]));
            window.take();
            window.resize(WindowSize {
                columns: 10,
                rows: 10,
            });
            panel.show(lines(&["short"]));
            let text = window.take();
            assert_eq!(text.matches("\x1b[A\x1b[2K").count(), rows, "{text:?}");
        }
    }

    #[test]
    fn nothing_is_written_where_nothing_is_drawn() {
        let window = TestWindow::new(WIDE);
        panel(&window, false).clear();
        assert_eq!(window.take(), "");
    }
}
