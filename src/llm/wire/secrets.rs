//! Masks the secrets that a route sends, wherever its server's texts repeat them.
//!
//! `redact.rs` finds keys by their form, but the keys of many servers have no such form. The secrets are masked in a
//! whole text: in a shortened text, the rest of a secret would not be recognized.

use std::borrow::Cow;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::redact::MASK;

/// The smallest length of a masked secret, in bytes. Shorter values are placeholders ("none", "EMPTY") and occur in
/// ordinary text.
const MIN_SECRET: usize = 8;

/// The secrets that no text of a server may show.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Vec<SecretString>);

impl Secrets {
    /// Collects the secrets that a route sends: its key, the values of its headers, and the values in the query of its
    /// address except a version.
    pub fn of<'a>(sent: impl IntoIterator<Item = &'a str>, endpoint: &Url) -> Self {
        let sent: Vec<&str> = sent.into_iter().collect();
        let written = endpoint.query().unwrap_or_default().split('&');
        let written = written.filter_map(|pair| pair.split_once('='));
        let decoded: Vec<_> = endpoint.query_pairs().collect();
        let decoded = decoded.iter().map(|(name, value)| (&**name, &**value));
        let query = written
            .chain(decoded)
            .filter(|(name, _)| !name.ends_with("version"));
        Self::new(sent.into_iter().chain(query.map(|(_, value)| value)))
    }

    /// Keeps the values that are long enough, in every spelling that JSON has for them.
    fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let long = secrets.into_iter().filter(|secret| secret.len() >= MIN_SECRET);
        let spellings = long.flat_map(|secret| {
            let escaped = secret.replace('\\', r"\\").replace('"', "\\\"");
            // PHP escapes the slash too.
            let php = escaped.replace('/', r"\/");
            [php, escaped, secret.to_owned()]
        });
        let mut spellings: Vec<String> = spellings.collect();
        // One secret may begin with another, so longer ones come first.
        spellings.sort_unstable_by_key(|spelling| std::cmp::Reverse(spelling.len()));
        spellings.dedup();
        Self(spellings.into_iter().map(SecretString::from).collect())
    }

    /// Returns the text with the secrets masked. The text is borrowed if it has none.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.iter().fold(Cow::Borrowed(text), |text, secret| {
            let secret = secret.expose_secret();
            if text.contains(secret) {
                Cow::Owned(text.replace(secret, MASK))
            } else {
                text
            }
        })
    }

    /// Returns a body with the secrets masked, in any encoding.
    pub fn mask_body<'a>(&self, body: &'a [u8]) -> Cow<'a, [u8]> {
        let text = String::from_utf8_lossy(body);
        match self.mask(&text) {
            Cow::Borrowed(_) => Cow::Borrowed(body),
            Cow::Owned(masked) => Cow::Owned(masked.into_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_in_every_spelling_and_stand_ins_are_not() {
        let secrets = Secrets::new(["plain-word", "plain-word-longer", r#"a"b\c/d!"#, "EMPTY", ""]);
        for (text, shown) in [
            ("the plain-word, plain-word", "the [redacted], [redacted]"),
            ("plain-word-longer", "[redacted]"),
            (r#"raw a"b\c/d!"#, "raw [redacted]"),
            (r#"{"key":"a\"b\\c/d!"}"#, r#"{"key":"[redacted]"}"#),
            (r#"{"key":"a\"b\\c\/d!"}"#, r#"{"key":"[redacted]"}"#),
            ("EMPTY plain-wor", "EMPTY plain-wor"),
        ] {
            assert_eq!(secrets.mask(text), shown);
            assert_eq!(&*secrets.mask_body(text.as_bytes()), shown.as_bytes());
        }
        assert_eq!(
            &*secrets.mask_body(b"\xff plain-word"),
            "\u{fffd} [redacted]".as_bytes()
        );
        assert_eq!(&*secrets.mask_body(b"\xff"), b"\xff");
        assert!(!format!("{secrets:?}").contains("plain"));
    }

    #[test]
    fn the_query_of_an_address_is_secret_as_written_and_as_read() {
        let address = "https://h/v1?api-version=2024-10-21&key=a%2Bsecret&x=short"
            .parse()
            .unwrap();
        let secrets = Secrets::of(Some("the-key-itself"), &address);
        assert_eq!(
            secrets.mask("the-key-itself a%2Bsecret a+secret 2024-10-21 short"),
            "[redacted] [redacted] [redacted] 2024-10-21 short"
        );
    }
}
