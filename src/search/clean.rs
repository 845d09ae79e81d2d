//! Cleans text from outside: it becomes printable, free of markup and bounded in length.

use super::markup;

/// The input is cut at this many bytes for each wanted character, because markup may be many times longer than the
/// text.
const ROOM: usize = 16;

/// Returns the text as one line of at most `most` characters.
pub(super) fn line(text: &str, most: usize) -> String {
    let shown = visible(text);
    let mut words = String::new();
    for word in shown.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    cut(&words, most)
}

/// Returns the text without markup, as one line of at most `most` characters.
pub(super) fn title(text: &str, most: usize) -> String {
    line(&markup::removed(head(text, most)), most)
}

/// Returns the text without markup, in several lines. Spaces in a row become one, and empty lines in a row become one.
pub(super) fn text(text: &str, most: usize) -> String {
    let plain = visible(&markup::removed(head(text, most)));
    let mut out = String::with_capacity(plain.len());
    let mut empty = 0_u32;
    for written in plain.lines() {
        let written = written.split_whitespace().collect::<Vec<_>>().join(" ");
        empty = if written.is_empty() { empty + 1 } else { 0 };
        if empty <= 1 {
            out.push_str(&written);
            out.push('\n');
        }
    }
    cut(out.trim(), most)
}

/// Returns the beginning of a text, long enough to leave `most` characters after cleaning.
fn head(text: &str, most: usize) -> &str {
    let end = most.saturating_mul(ROOM).min(text.len());
    text.get(..text.floor_char_boundary(end)).unwrap_or(text)
}

/// Returns the text without control characters, direction marks and invisible characters. Line ends and tabs stay.
fn visible(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' | '\t' => Some(c),
            '\r' => Some('\n'),
            c if c.is_control() || is_hidden(c) => None,
            c => Some(c),
        })
        .collect()
}

/// Whether a character is invisible and could hide words from a reader: zero-width characters, direction marks, tags,
/// the soft hyphen. The joiner U+200D stays, because emoji need it.
const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

fn cut(text: &str, most: usize) -> String {
    if text.char_indices().nth(most).is_none() {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_invisible_characters_are_removed() {
        assert_eq!(
            line("a\u{1b}[31mb\r\n \u{202e}c\u{e0041}\u{200b}d\0 ", 100),
            "a[31mb cd"
        );
        assert_eq!(text("a  \n\n\n\r\n b\t c\u{7}\n", 100), "a\n\nb c");
        assert_eq!(title("<em>燕麦</em>\n奶", 100), "燕麦 奶");
        assert_eq!(line("👩\u{200d}🔬", 100), "👩\u{200d}🔬");
    }

    #[test]
    fn length_is_bounded_in_characters() {
        assert_eq!(line(&"燕".repeat(90), 10).chars().count(), 10);
        assert_eq!(text(&"燕麦\n".repeat(1_000_000), 11), "燕麦\n燕麦\n燕麦\n燕…");
        assert_eq!(line("short", 5), "short");
    }
}
