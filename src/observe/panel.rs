//! Lines at the bottom of a terminal that are drawn again in place.
//!
//! The cursor rests on an empty line below the panel. A `^C` that the terminal echoes, and the prompt after a kill, are
//! therefore below it. Most terminals wrap drawn lines anew when the window becomes narrower. The panel counts the rows
//! that its lines take then, so that the next drawing covers all of them.

use super::styled::StyledLine;

/// The size of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WindowSize {
    /// Its width in characters.
    pub(super) columns: usize,
    /// Its height in lines.
    pub(super) rows: usize,
}

/// The lines, and what of them is on the terminal.
#[derive(Debug, Default)]
pub(super) struct Panel {
    lines: Vec<StyledLine>,
    /// The widths of the lines on the terminal.
    drawn: Vec<usize>,
    /// Whether lines have colours.
    colours: bool,
    /// Whether the terminal leaves drawn lines as they are when its window becomes narrower.
    keeps_lines: bool,
}

impl Panel {
    pub(super) const fn new(colours: bool, keeps_lines: bool) -> Self {
        Self {
            lines: Vec::new(),
            drawn: Vec::new(),
            colours,
            keeps_lines,
        }
    }

    /// Replaces the lines. Returns the text that draws them.
    pub(super) fn show(&mut self, lines: Vec<StyledLine>, size: WindowSize) -> String {
        self.lines = lines;
        self.redraw(size)
    }

    /// Returns the text that erases the panel. The cursor is then at the place of its first line.
    pub(super) fn erase(&mut self, size: WindowSize) -> String {
        let text = self.back_to_top(size);
        self.drawn.clear();
        if text.is_empty() { text } else { text + "\x1b[J" }
    }

    /// Returns the text that draws the lines over what is drawn. One row of the window stays free for the cursor.
    pub(super) fn redraw(&mut self, size: WindowSize) -> String {
        let mut text = self.back_to_top(size);
        self.drawn.clear();
        let rows = size.rows.saturating_sub(1).max(1);
        for line in self.lines.iter().take(rows) {
            // The last column stays free, because a terminal may wrap behind it.
            let line = line.clone().cut(size.columns.saturating_sub(1).max(1));
            self.drawn.push(line.width());
            text += &line.painted(self.colours);
            text += "\x1b[K\n";
        }
        text + "\x1b[J"
    }

    /// Moves the cursor from below the panel to its first row.
    fn back_to_top(&self, size: WindowSize) -> String {
        let rows: usize = self
            .drawn
            .iter()
            .map(|width| {
                if self.keeps_lines {
                    1
                } else {
                    width.div_ceil(size.columns.max(1)).max(1)
                }
            })
            .sum();
        if rows == 0 {
            String::new()
        } else {
            format!("\r\x1b[{rows}A")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: WindowSize = WindowSize {
        columns: 40,
        rows: 10,
    };

    fn lines(texts: &[&str]) -> Vec<StyledLine> {
        texts.iter().map(|text| StyledLine::from(*text)).collect()
    }

    /// A screen after these bytes.
    fn screen(size: WindowSize, text: &str) -> vt100::Parser {
        let number = |n: usize| u16::try_from(n).unwrap();
        let mut screen = vt100::Parser::new(number(size.rows), number(size.columns), 100);
        // A terminal returns to the left edge at each line end.
        screen.process(text.replace('\n', "\r\n").as_bytes());
        screen
    }

    #[test]
    fn a_shorter_panel_leaves_nothing_of_a_longer_one() {
        let mut panel = Panel::new(false, false);
        let mut text = "before\n".to_owned();
        text += &panel.show(lines(&["a long first line", "second", "third"]), WIDE);
        text += "^C";
        text += &panel.show(lines(&["short"]), WIDE);
        assert_eq!(screen(WIDE, &text).screen().contents(), "before\nshort");
        text += &panel.erase(WIDE);
        text += "after\n";
        text += &panel.redraw(WIDE);
        assert_eq!(screen(WIDE, &text).screen().contents(), "before\nafter\nshort");
    }

    #[test]
    fn lines_are_cut_to_the_window() {
        let mut panel = Panel::new(false, false);
        let small = WindowSize { columns: 8, rows: 3 };
        let text = panel.show(lines(&["0123456789", "b", "c", "d"]), small);
        assert_eq!(screen(small, &text).screen().contents(), "012345…\nb");
    }

    #[test]
    fn wrapped_lines_are_covered_after_the_window_became_narrower() {
        let narrow = WindowSize {
            columns: 10,
            rows: 10,
        };
        let long = "012345678901234567890123456789";
        let mut wraps = Panel::new(false, false);
        wraps.show(lines(&[long, "b"]), WIDE);
        // The first line takes three rows of the narrow window.
        assert!(wraps.redraw(narrow).starts_with("\r\x1b[4A"));
        let mut keeps = Panel::new(false, true);
        keeps.show(lines(&[long, "b"]), WIDE);
        assert!(keeps.redraw(narrow).starts_with("\r\x1b[2A"));
    }

    #[test]
    fn nothing_is_written_where_nothing_is_drawn() {
        assert_eq!(Panel::new(true, false).erase(WIDE), "");
    }
}
