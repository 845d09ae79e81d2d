//! A text, cut into short pieces whose characters are folded.

use std::iter::Peekable;
use std::str::Chars;

use crate::domain::folding::narrow;

/// A piece ends at a sentence mark when it is longer than this. Rules look at one piece only.
const LONG: usize = 400;

/// A piece never has more characters, so a rule that reads a whole piece is still bounded.
const LONGEST: usize = 1000;

/// A longer run of letters is no word.
const LONGEST_WORD: usize = 40;

/// Consecutive characters of a text. Both forms have one entry for each character of the text, so an index into the
/// one is an index into the other.
pub(super) struct Piece {
    /// The offset of the first character in the text.
    pub(super) start: usize,
    /// The characters as they stand in the text.
    pub(super) written: Vec<char>,
    /// The characters in lower case, with full-width and traditional forms replaced.
    pub(super) folded: Vec<char>,
}

impl Piece {
    pub(super) fn at(&self, index: usize) -> Option<char> {
        self.folded.get(index).copied()
    }

    pub(super) fn before(&self, index: usize) -> Option<char> {
        self.at(index.checked_sub(1)?)
    }

    /// Whether `such` holds for the character at `index`. It does not hold behind the end.
    pub(super) fn is(&self, index: usize, such: impl Fn(char) -> bool) -> bool {
        self.at(index).is_some_and(such)
    }

    /// Whether `text` stands at `index`.
    pub(super) fn has(&self, index: usize, text: &str) -> bool {
        let mut behind = self.folded.get(index..).unwrap_or_default().iter();
        text.chars().all(|c| behind.next() == Some(&c))
    }

    /// Returns the first of `texts` that stands at `index`.
    pub(super) fn any<'a>(&self, index: usize, texts: &[&'a str]) -> Option<&'a str> {
        texts.iter().find(|text| self.has(index, text)).copied()
    }

    /// Returns the first of `texts` that ends directly before `index`.
    pub(super) fn any_before<'a>(&self, index: usize, texts: &[&'a str]) -> Option<&'a str> {
        let ends = |text: &&&str| {
            index
                .checked_sub(text.chars().count())
                .is_some_and(|start| self.has(start, text))
        };
        texts.iter().find(ends).copied()
    }

    /// Whether one of `texts` stands at one of the `reach` places from `index` on, in the same sentence.
    pub(super) fn near(&self, index: usize, reach: usize, texts: &[&str]) -> bool {
        (index..index + reach)
            .take_while(|&place| self.is(place, |c| !ends_clause(c)))
            .any(|place| self.any(place, texts).is_some())
    }

    /// Returns the number of characters from `index` on for which `such` holds.
    pub(super) fn run(&self, index: usize, such: impl Fn(char) -> bool) -> usize {
        let behind = self.folded.get(index..).unwrap_or_default();
        behind.iter().take_while(|c| such(**c)).count()
    }

    pub(super) fn skip_spaces(&self, index: usize) -> usize {
        index + self.folded.iter().skip(index).take_while(|c| **c == ' ').count()
    }

    /// Whether an English word begins at `index`. A part behind a hyphen begins none.
    pub(super) fn starts_word(&self, index: usize) -> bool {
        let before = |back: usize, such: fn(char) -> bool| {
            index.checked_sub(back).is_some_and(|place| self.is(place, such))
        };
        self.is(index, is_letter) && !before(1, is_letter) && !(before(1, is_joint) && before(2, is_letter))
    }

    /// Returns the end of the English word that begins at `index`: letters, with apostrophes and hyphens inside.
    pub(super) fn word_end(&self, index: usize) -> Option<usize> {
        if !self.starts_word(index) {
            return None;
        }
        let is_part =
            |end: usize| self.is(end, is_letter) || (self.is(end, is_joint) && self.is(end + 1, is_letter));
        (index..=index + LONGEST_WORD).find(|end| !is_part(*end))
    }

    /// Returns the English word that begins at `index`.
    pub(super) fn word(&self, index: usize) -> Option<(String, usize)> {
        let end = self.word_end(index)?;
        Some((self.folded_text(index, end), end))
    }

    /// Returns up to `most` English words from `index` on, each with its end. Only spaces stand between them.
    pub(super) fn words(&self, index: usize, most: usize) -> Vec<(String, usize)> {
        let mut found: Vec<(String, usize)> = Vec::new();
        let mut at = self.skip_spaces(index);
        while found.len() < most {
            let Some((word, end)) = self.word(at) else { break };
            at = self.skip_spaces(end);
            found.push((word, end));
            if at == end {
                break;
            }
        }
        found
    }

    /// Returns up to `most` English words before `index`, the nearest first. Only spaces stand between them.
    pub(super) fn words_before(&self, index: usize, most: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut end = index;
        while found.len() < most {
            while end > 0 && self.is(end - 1, |c| c == ' ') {
                end -= 1;
            }
            let mut start = end;
            while start > 0
                && end - start < LONGEST_WORD
                && self.is(start - 1, |c| is_letter(c) || is_joint(c))
            {
                start -= 1;
            }
            if start == end {
                break;
            }
            found.push(self.folded_text(start, end));
            end = start;
        }
        found
    }

    pub(super) fn folded_text(&self, start: usize, end: usize) -> String {
        self.folded
            .iter()
            .take(end)
            .skip(start)
            .map(|c| if *c == '’' { '\'' } else { *c })
            .collect()
    }

    pub(super) fn written_text(&self, start: usize, end: usize) -> String {
        self.written.iter().take(end).skip(start).collect()
    }
}

/// The pieces of a text, in order. Together they hold each character once.
pub(super) struct TextPieces<'a> {
    rest: Peekable<Chars<'a>>,
    start: usize,
}

/// Cuts `text` at line ends, and cuts long lines at sentence ends.
pub(super) fn pieces(text: &str) -> TextPieces<'_> {
    TextPieces {
        rest: text.chars().peekable(),
        start: 0,
    }
}

impl Iterator for TextPieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        self.rest.peek()?;
        let mut written = Vec::new();
        for c in self.rest.by_ref() {
            written.push(c);
            let is_mark = matches!(c, '。' | '！' | '？' | '；' | '!' | '?');
            if c == '\n' || written.len() >= LONGEST || (is_mark && written.len() >= LONG) {
                break;
            }
        }
        let start = self.start;
        self.start += written.len();
        let folded = written.iter().map(|c| folded(*c)).collect();
        Some(Piece {
            start,
            written,
            folded,
        })
    }
}

/// Returns the character in the form for comparison.
pub(super) fn folded(c: char) -> char {
    let c = match narrow(c) {
        '\u{a0}' | '\t' => ' ',
        '￥' => '¥',
        '￡' => '£',
        '兩' => '两',
        '億' => '亿',
        '萬' => '万',
        '點' => '点',
        '個' => '个',
        '鐘' | '鍾' => '钟',
        '時' => '时',
        '間' => '间',
        '週' => '周',
        '塊' => '块',
        '歲' => '岁',
        '國' => '国',
        '學' => '学',
        '報' => '报',
        '〇' => '零',
        '〜' => '~',
        '–' | '—' | '−' => '-',
        c => c,
    };
    c.to_ascii_lowercase()
}

/// Whether the character is an ASCII letter: English words and units consist of them.
pub(super) const fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic()
}

/// Whether the character can join the parts of an English word.
const fn is_joint(c: char) -> bool {
    matches!(c, '\'' | '’' | '-')
}

/// Whether the character is Chinese script.
pub(super) const fn is_han(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}')
}

/// Whether a part of a sentence ends at the character.
pub(super) const fn ends_clause(c: char) -> bool {
    matches!(
        c,
        '。' | '、' | ',' | ';' | '!' | '?' | '\n' | ':' | '(' | ')' | '"' | '“' | '”'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hold_each_character_once() {
        let text = format!("一行\n{}。{}！尾", "长".repeat(LONG), "x".repeat(LONGEST + 5));
        let cut: Vec<Piece> = pieces(&text).collect();
        assert!(cut.len() >= 4, "{}", cut.len());
        let mut start = 0;
        for piece in &cut {
            assert_eq!(piece.start, start);
            assert_eq!(piece.written.len(), piece.folded.len());
            assert!(piece.written.len() <= LONGEST);
            start += piece.written.len();
        }
        let joined: String = cut.iter().flat_map(|piece| piece.written.clone()).collect();
        assert_eq!(joined, text);
    }

    #[test]
    fn forms_of_one_character_are_folded() {
        let folded: String = "８０％Ａ￥　億萬—".chars().map(folded).collect();
        assert_eq!(folded, "80%a¥ 亿万-");
    }

    #[test]
    fn words_are_read_in_both_directions() {
        let piece = pieces("The Europe's well-known 5 apps").next().unwrap();
        let words: Vec<String> = piece.words(0, 9).into_iter().map(|(word, _)| word).collect();
        assert_eq!(words, ["the", "europe's", "well-known"]);
        assert_eq!(piece.words_before(24, 2), ["well-known", "europe's"]);
        assert_eq!(piece.words_before(0, 2), [""; 0]);
    }
}
