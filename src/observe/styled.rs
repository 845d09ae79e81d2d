//! Lines of text with colours that can be left out.
//!
//! The colours are those of the terminal's own palette that are readable on a light and on a dark background.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::domain::printable::printable;

/// The meaning of a piece of text, from which its colour follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// No colour.
    Plain,
    /// A heading.
    Strong,
    /// A part of the work that is done.
    Good,
    /// Failures.
    Bad,
    /// Everything that is waited for.
    Waiting,
}

impl Tone {
    /// The number of the terminal's own style (SGR).
    const fn code(self) -> Option<u8> {
        match self {
            Self::Plain => None,
            Self::Strong => Some(1),
            Self::Good => Some(32),
            Self::Bad => Some(31),
            Self::Waiting => Some(35),
        }
    }
}

/// One line, in pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StyledLine(Vec<(Tone, String)>);

impl StyledLine {
    /// Adds text without the characters that steer a terminal. Line ends become spaces.
    pub(super) fn push(&mut self, tone: Tone, text: &str) {
        if !text.is_empty() {
            self.0.push((tone, printable(text).replace(['\n', '\t'], " ")));
        }
    }

    /// Adds the pieces of another line.
    pub(super) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Removes spaces at the end.
    #[must_use]
    pub(super) fn trimmed(mut self) -> Self {
        while let Some((tone, text)) = self.0.pop() {
            let text = text.trim_end();
            if !text.is_empty() {
                self.0.push((tone, text.to_owned()));
                break;
            }
        }
        self
    }

    /// The columns that the line takes.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// Cuts the line to so many columns. The last one shows that something was cut.
    #[must_use]
    pub(super) fn cut(self, columns: usize) -> Self {
        if self.width() <= columns {
            return self;
        }
        let mut left = columns.saturating_sub(1);
        let mut cut = Self::default();
        for (tone, text) in self.0 {
            let mut part = String::new();
            for c in text.chars() {
                let width = c.width().unwrap_or(0);
                if width > left {
                    part.push('…');
                    cut.0.push((tone, part));
                    return cut;
                }
                left -= width;
                part.push(c);
            }
            cut.0.push((tone, part));
        }
        cut
    }

    /// The text, with colours if they are wanted.
    pub(super) fn painted(&self, colours: bool) -> String {
        let mut out = String::new();
        for (tone, text) in &self.0 {
            match tone.code().filter(|_| colours) {
                Some(code) => out += &format!("\x1b[{code}m{text}\x1b[0m"),
                None => out += text,
            }
        }
        out
    }
}

/// The columns of a painted text. Its colours take none.
pub(super) fn painted_width(text: &str) -> usize {
    let mut parts = text.split('\x1b');
    let first = parts.next().map_or(0, UnicodeWidthStr::width);
    let others = parts.map(|part| part.split_once('m').map_or(0, |(_, text)| text.width()));
    first + others.sum::<usize>()
}

impl From<&str> for StyledLine {
    fn from(text: &str) -> Self {
        let mut line = Self::default();
        line.push(Tone::Plain, text);
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_by_columns_and_not_by_characters() {
        let mut line = StyledLine::from("运行 ");
        line.push(Tone::Bad, "失败了");
        assert_eq!(line.width(), 11);
        let cut = |columns| line.clone().cut(columns);
        assert_eq!(cut(11).painted(false), "运行 失败了");
        assert_eq!(cut(9).painted(false), "运行 失…");
        assert!((0..11).all(|columns| cut(columns).width() <= columns.max(1)));
    }

    #[test]
    fn nothing_steers_the_terminal_but_the_colours() {
        let mut line = StyledLine::default();
        line.push(Tone::Bad, "a\x1b[2Jb\nc");
        assert_eq!(line.painted(true), "\x1b[31ma[2Jb c\x1b[0m");
        assert_eq!(line.painted(false), "a[2Jb c");
        assert_eq!(painted_width(&line.painted(true)), line.width());
    }
}
