//! Counts the tokens of texts and cuts texts into pieces.
//!
//! A prompt costs one token for each CJK character and one for each four other characters, rounded up, and four more
//! for each message. An answer costs its number of pieces. A piece is one CJK character, or one word with the white
//! space before it. A word longer than eight characters continues in a new piece. The two rules give slightly different
//! numbers, like a real tokenizer and an estimate.

/// The tokens of a message besides its text.
pub(crate) const PER_MESSAGE: u64 = 4;

const LONGEST_PIECE: usize = 8;

/// Returns whether `c` is a token by itself: CJK and full-width characters, also kana and hangul.
pub(crate) fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{2E80}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{FF00}'..='\u{FFEF}' | '\u{20000}'..='\u{3FFFF}')
}

/// Returns whether `c` is a Han character. A text with a Han character counts as Chinese here.
pub(crate) fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}')
}

/// Returns the estimated tokens of a text.
pub(crate) fn count(text: &str) -> u64 {
    if text.is_ascii() {
        return text.len().div_ceil(4) as u64;
    }
    let (cjk, other) = text.chars().fold((0u64, 0u64), |(cjk, other), c| {
        if is_cjk(c) {
            (cjk + 1, other)
        } else {
            (cjk, other + 1)
        }
    });
    cjk + other.div_ceil(4)
}

/// Returns the byte offsets of the ends of the pieces of `text`. The joined pieces are the text.
pub(crate) fn piece_ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::with_capacity(text.len() / 4 + 1);
    // `letters` counts the characters after the white space in the current piece.
    let (mut letters, mut closed) = (0, true);
    for (at, c) in text.char_indices() {
        let starts = closed || is_cjk(c) || letters == LONGEST_PIECE || (c.is_whitespace() && letters > 0);
        if starts && at > 0 {
            ends.push(at);
        }
        if starts {
            letters = 0;
        }
        letters += usize::from(!c.is_whitespace());
        closed = is_cjk(c);
    }
    if !text.is_empty() {
        ends.push(text.len());
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<&str> {
        let mut start = 0;
        piece_ends(text)
            .into_iter()
            .map(|end| &text[std::mem::replace(&mut start, end)..end])
            .collect()
    }

    #[test]
    fn counts_by_the_rule() {
        assert_eq!(
            [
                count(""),
                count("abcd"),
                count("abcde"),
                count("中文"),
                count("中文ab")
            ],
            [0, 1, 2, 2, 3]
        );
    }

    #[test]
    fn cuts_words_and_characters() {
        assert_eq!(
            pieces("Rust is incomprehensible"),
            ["Rust", " is", " incompre", "hensible"]
        );
        assert_eq!(pieces("用Rust写。ok"), ["用", "Rust", "写", "。", "ok"]);
        assert_eq!(pieces("a\n\n- b"), ["a", "\n\n-", " b"]);
        assert_eq!(pieces(""), Vec::<&str>::new());
    }
}
