//! Texts in the form for comparison.

/// Returns the ASCII counterpart of a full-width form (U+FF01 to U+FF5E, U+3000), and any other character unchanged.
pub fn narrow(c: char) -> char {
    match c {
        '！'..='～' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        c => c,
    }
}

/// Returns a text in the form for comparison: full-width forms as their ASCII counterparts, in lower case, with single
/// spaces. A space beside a character that is not ASCII is left out, because Chinese texts write it or not.
pub fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut has_space = false;
    for c in text.chars().map(narrow).flat_map(char::to_lowercase) {
        if c.is_whitespace() {
            has_space = true;
            continue;
        }
        if has_space && c.is_ascii() && out.ends_with(|last: char| last.is_ascii()) {
            out.push(' ');
        }
        has_space = false;
        out.push(c);
    }
    out
}

/// Returns the text with full-width forms as their ASCII counterparts, in lower case, without white space.
pub fn folded_without_space(text: &str) -> String {
    let narrowed = text.chars().map(narrow);
    narrowed
        .filter(|c| !c.is_whitespace() && !matches!(c, '\u{200b}'..='\u{200d}' | '\u{feff}'))
        .flat_map(char::to_lowercase)
        .collect()
}
