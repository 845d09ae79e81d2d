//! Text for a terminal.

/// Returns text of a model or a file, or a file's name, without characters that would move the cursor, change colours
/// or change the direction of the text that follows. Line ends and tabs stay.
pub fn printable(text: &str) -> String {
    text.chars()
        .filter(|&c| matches!(c, '\n' | '\t') || !steers(c))
        .collect()
}

/// Returns a number with its noun: `1 call`, `2 calls`.
pub fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Whether a terminal takes the character for a command: a control character, or an embedding, override or isolate of
/// the bidirectional algorithm (UAX #9). The latter can make one text look like another.
pub(super) fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_left_out() {
        assert_eq!(
            printable("a\u{1b}[31mb\r\n\tc\u{202e}d\u{9b}2J\u{2066}é 中\u{7}"),
            "a[31mb\n\tcd2Jé 中"
        );
    }
}
