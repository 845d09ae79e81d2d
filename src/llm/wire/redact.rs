//! Makes a provider's text safe to store and to show.
//!
//! Providers echo the request ("Incorrect API key provided: sk-…"), and people share result files. So every text that
//! looks like a key is masked before the text is cut to size. A key that looks like an ordinary word is masked by the
//! route that sends it; see [`super::secrets`].

/// Prefixes of the keys of known services.
const PREFIXES: [&str; 13] = [
    "sk-", "sk_", "pk-", "ak-", "rk-", "gsk_", "xai-", "hf_", "AIza", "jina_", "lsv2_", "nvapi-", "key-",
];
/// The smallest length of a key with such a prefix. A shorter word is an ordinary word ("sk-learn").
const MIN_PREFIXED: usize = 10;
/// The smallest length of a key without a prefix, near the word "key". Ordinary words are shorter.
const MIN_BARE: usize = 32;
/// The largest distance between the word "key" and a key without a prefix, in bytes.
const KEY_REACH: usize = 48;
pub(in crate::llm) const MASK: &str = "[redacted]";

/// Returns one printable line of at most `max_chars` characters, without any text that looks like a key.
pub(in crate::llm) fn clean(text: &str, max_chars: usize) -> String {
    // Masking shortens the text only by the masked keys. Four times the room is enough, and keeps a hostile megabyte
    // cheap.
    let head: String = text.trim().chars().take(max_chars.saturating_mul(4)).collect();
    let printable = head.replace(char::is_control, " ");
    let masked = mask_keys(&printable);
    let shown = masked.trim();
    if shown.chars().count() <= max_chars {
        return shown.to_owned();
    }
    let mut cut: String = shown.chars().take(max_chars.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

fn mask_keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_bearer = false;
    while let Some(start) = rest.find(in_word) {
        let (gap, from_word) = rest.split_at(start);
        out.push_str(gap);
        let end = from_word.find(|c| !in_word(c)).unwrap_or(from_word.len());
        let (word, after) = from_word.split_at(end);
        let before = &text[..text.len() - from_word.len()];
        let secret = is_prefixed(word) || (after_bearer && is_token(word)) || is_bare_key(word, before);
        out.push_str(if secret { MASK } else { word });
        after_bearer = word.eq_ignore_ascii_case("bearer");
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Whether a character belongs to a word. A provider may mask a part of a key with stars.
fn in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*' | '+' | '/' | '~')
}

fn is_prefixed(word: &str) -> bool {
    let keyish =
        |part: &str| part.len() >= MIN_PREFIXED && PREFIXES.iter().any(|prefix| part.starts_with(prefix));
    // A key may be a part of a path ("/v1/sk-…").
    word.split('/').any(keyish)
}

/// Whether a word after "Bearer" is a token, and not prose as in "Bearer authentication is required".
fn is_token(word: &str) -> bool {
    word.len() >= 24 || (word.len() >= 4 && word.contains(|c: char| c.is_ascii_digit() || c == '*'))
}

fn is_bare_key(word: &str, before: &str) -> bool {
    let reach = before.len().saturating_sub(KEY_REACH);
    let near = before.get(before.ceil_char_boundary(reach)..).unwrap_or("");
    let long = word
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
        .any(|part| part.len() >= MIN_BARE);
    long && near.to_ascii_lowercase().contains("key")
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn keys_are_masked_and_prose_stays() {
        for (text, shown) in [
            (
                "Incorrect API key provided: sk-proj-abc123def456ghi. You can find",
                "Incorrect API key provided: [redacted] You can find",
            ),
            (
                "Incorrect API key: sk-abcd********wxyz",
                "Incorrect API key: [redacted]",
            ),
            (
                "got Authorization: Bearer abc123.def",
                "got Authorization: Bearer [redacted]",
            ),
            (
                "Bearer authentication is required",
                "Bearer authentication is required",
            ),
            (
                "api_key=0123456789abcdef0123456789abcdef rejected",
                "api_key=[redacted] rejected",
            ),
            (
                "request 0123456789abcdef0123456789abcdef not found",
                "request 0123456789abcdef0123456789abcdef not found",
            ),
            ("密钥 sk-0123456789abc 无效", "密钥 [redacted] 无效"),
            ("sk-learn", "sk-learn"),
            ("a\n\u{1b}[31mb\0", "a  [31mb"),
        ] {
            assert_eq!(clean(text, 500), shown);
        }
    }

    #[test]
    fn length_is_bounded_in_characters() {
        assert_eq!(clean(&"错".repeat(900), 500).chars().count(), 500);
        assert_eq!(clean("short", 500), "short");
    }
}
