//! Free text, cut into the pieces of a stream of events.
//!
//! The cut follows no grammar: it is made where a reader can pause, and in doubt there is none.

/// The most pieces of one text; fewer than the ids of one stream event.
pub const MAX_PIECES: usize = 900;

/// Cuts `text` behind sentence ends and blank lines; the joined pieces are the text again.
///
/// Latin marks end a sentence only before whitespace or the end, so that `3.14` and addresses stay whole. Further
/// marks, closing quotes and brackets, and whitespace stay with the sentence before them.
pub fn sentences(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_last = pieces.len() + 1 == MAX_PIECES;
        let end = if is_last { rest.len() } else { first_end(rest) };
        let (piece, behind) = rest.split_at(end);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// Returns the end of the first sentence of `text`, with the marks and the whitespace behind it.
fn first_end(text: &str) -> usize {
    let mut from = leading(text, char::is_whitespace).len();
    while let Some(found) = text[from..].find(|c| is_mark(c) || c.is_whitespace()) {
        let stop = &text[from + found..];
        let marks = leading(stop, |c| is_mark(c) || is_closing(c));
        let space = leading(&stop[marks.len()..], char::is_whitespace);
        from += found + marks.len() + space.len();
        if ends_sentence(marks, space) {
            return from;
        }
    }
    text.len()
}

/// Whether a sentence ends at these marks and the whitespace behind them. The end of the text is not checked here.
fn ends_sentence(marks: &str, space: &str) -> bool {
    let is_blank_line = || space.matches('\n').nth(1).is_some();
    marks.contains(is_wide_mark) || !(marks.is_empty() || space.is_empty()) || is_blank_line()
}

/// Returns the characters at the start of `text` for which `such` holds.
fn leading(text: &str, such: impl Fn(char) -> bool) -> &str {
    let end = text.find(|c| !such(c)).unwrap_or(text.len());
    &text[..end]
}

const fn is_wide_mark(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '；')
}

const fn is_mark(c: char) -> bool {
    is_wide_mark(c) || matches!(c, '.' | '!' | '?' | ';')
}

/// Whether the character closes a quote or a bracket. A straight quote is not counted: it may open or close.
const fn is_closing(c: char) -> bool {
    matches!(c, '”' | '’' | '」' | '』' | ')' | '】' | '）')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_cut_at_sentence_ends() {
        for (text, expected) in [
            ("", &[][..]),
            ("好", &["好"]),
            (
                "你好。再见！真的？是；完",
                &["你好。", "再见！", "真的？", "是；", "完"],
            ),
            (
                "One. Two!  Three?\nFour; five",
                &["One. ", "Two!  ", "Three?\n", "Four; ", "five"],
            ),
            (
                "圆周率是3.14，见https://a.cn/b?c=1;d。好",
                &["圆周率是3.14，见https://a.cn/b?c=1;d。", "好"],
            ),
            ("等等...然后呢", &["等等...然后呢"]),
            ("真的?！不", &["真的?！", "不"]),
            ("好！！！”他说。", &["好！！！”", "他说。"]),
            (
                "（看「这个。」）然后 (it. ) b.) c",
                &["（看「这个。」）", "然后 (it. ", ") b.) ", "c"],
            ),
            ("。。。", &["。。。"]),
            ("End.", &["End."]),
        ] {
            assert_eq!(sentences(text), expected, "{text}");
        }
    }

    #[test]
    fn text_is_cut_at_blank_lines_and_space_stays_before_the_cut() {
        for (text, expected) in [
            ("标题\n\n正文\n下一行", &["标题\n\n", "正文\n下一行"][..]),
            ("标题\r\n \t\r\n正文", &["标题\r\n \t\r\n", "正文"]),
            ("一。\n\n 二", &["一。\n\n ", "二"]),
            ("\n\n一", &["\n\n一"]),
            (" \n\n ", &[" \n\n "]),
        ] {
            assert_eq!(sentences(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_last_piece_holds_the_rest() {
        let text = "好。".repeat(MAX_PIECES + 7);
        let pieces = sentences(&text);
        assert_eq!(pieces.len(), MAX_PIECES);
        assert_eq!(pieces[MAX_PIECES - 1], "好。".repeat(8));
        assert_eq!(sentences(&"好。".repeat(MAX_PIECES)).len(), MAX_PIECES);
    }

    proptest! {
        #[test]
        fn no_piece_is_lost_or_empty(any in any::<String>(), dense in "[。！？；.!?;”）) \r\n\u{3000}a好]{0,3000}") {
            for text in [any, dense] {
                let pieces = sentences(&text);
                prop_assert_eq!(pieces.concat(), text.as_str());
                prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
                prop_assert!(pieces.len() <= MAX_PIECES);
            }
        }
    }
}
