//! Removes the secrets of a provider from all text that is kept or shown.

use std::borrow::Cow;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::template::percent_encoded;

/// The text that replaces a secret.
pub(super) const MASK: &str = "[redacted]";

/// The fewest characters of a key. A shorter key could be a common word, and masking it would damage normal text.
/// Therefore it is refused.
pub(super) const SHORTEST: usize = 8;

/// Ends of the names of parameters that carry a secret (`access_token`, `X-Amz-Signature`, `apikey`).
const SECRET_NAMES: [&str; 8] = [
    "token",
    "key",
    "secret",
    "password",
    "signature",
    "sig",
    "auth",
    "credential",
];

/// The key of a provider in the spellings that may appear in its answers: plain, JSON-escaped, percent-encoded and
/// HTML-escaped.
#[derive(Debug, Default)]
pub(super) struct ProviderSecrets(Vec<SecretString>);

impl ProviderSecrets {
    pub(super) fn of(key: Option<&SecretString>) -> Self {
        let key = key.map(ExposeSecret::expose_secret).unwrap_or_default();
        if key.is_empty() {
            return Self::default();
        }
        let escaped = key.replace('\\', r"\\").replace('"', "\\\"");
        let html = key
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;");
        let mut spellings = vec![
            escaped.replace('/', r"\/"),
            escaped,
            percent_encoded(key),
            percent_encoded_in_lower_case(key),
            html.replace('+', "&#43;"),
            html.replace('+', "&#x2B;"),
            html,
            key.to_owned(),
        ];
        spellings.sort_unstable_by_key(|spelling| std::cmp::Reverse(spelling.len()));
        spellings.dedup();
        Self(spellings.into_iter().map(SecretString::from).collect())
    }

    /// Returns the text with each secret replaced.
    pub(super) fn masked<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.iter().fold(Cow::Borrowed(text), |text, secret| {
            let secret = secret.expose_secret();
            if text.contains(secret) {
                Cow::Owned(text.replace(secret, MASK))
            } else {
                text
            }
        })
    }

    /// Replaces each secret in the texts of a JSON value. The raw JSON may hide a secret, because JSON can spell `+` as
    /// `\u002b`.
    pub(super) fn mask(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let Cow::Owned(masked) = self.masked(text) else {
                    return;
                };
                *text = masked;
            }
            Value::Array(parts) => parts.iter_mut().for_each(|part| self.mask(part)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.mask(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Percent-encodes a key with lower-case hexadecimal digits, as some servers do.
fn percent_encoded_in_lower_case(key: &str) -> String {
    key.chars()
        .map(|c| percent_encoded(&c.to_string()))
        .map(|encoded| match encoded.strip_prefix('%') {
            Some(digits) => format!("%{}", digits.to_ascii_lowercase()),
            None => encoded,
        })
        .collect()
}

/// Returns an address that may be kept and shown. It is `http` or `https`, without user, password and the values of
/// secret parameters. Returns `None` for any other address.
pub(super) fn shown(address: &str) -> Option<String> {
    let mut url: Url = address.trim().parse().ok()?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return None;
    }
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    let query = url.query().map(without_secrets);
    url.set_query(query.as_deref());
    let fragment = url.fragment().map(without_secrets);
    url.set_fragment(fragment.as_deref());
    Some(url.into())
}

fn without_secrets(query: &str) -> String {
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if is_secret(name) && !value.is_empty() => Cow::Owned(format!("{name}=redacted")),
        _ => Cow::Borrowed(pair),
    });
    shown.collect::<Vec<_>>().join("&")
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_masked_in_every_spelling() {
        let secrets = ProviderSecrets::of(Some(&SecretString::from(r#"a"b\c/d+e"#)));
        for text in [
            r#"a"b\c/d+e"#,
            r#"a\"b\\c/d+e"#,
            r#"a\"b\\c\/d+e"#,
            "a%22b%5Cc%2Fd%2Be",
            "a%22b%5cc%2fd%2be",
            r"a&quot;b\c/d&#43;e",
        ] {
            assert_eq!(secrets.masked(&format!("x {text} y")), "x [redacted] y");
        }
        let mut value: Value = serde_json::from_str(r#"{"a": ["x a\"b\\c\/d\u002be y", 1]}"#).unwrap();
        secrets.mask(&mut value);
        assert_eq!(value, serde_json::json!({"a": ["x [redacted] y", 1]}));
        assert!(!format!("{secrets:?}").contains("a\"b"));
        assert_eq!(ProviderSecrets::of(None).masked("none"), "none");
    }

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (address, kept) in [
            (
                "https://h/p?q=1&Token=abc#x",
                Some("https://h/p?q=1&Token=redacted#x"),
            ),
            (
                "https://h/p?xsec_token=AB%3D&a=b",
                Some("https://h/p?xsec_token=redacted&a=b"),
            ),
            ("https://user:pass@h/", Some("https://h/")),
            (
                "https://h/#access_token=abc",
                Some("https://h/#access_token=redacted"),
            ),
            (" http://h ", Some("http://h/")),
            ("javascript:alert(1)", None),
            ("data:text/html,x", None),
            ("file:///etc/passwd", None),
            ("//h/p", None),
            ("", None),
        ] {
            assert_eq!(shown(address).as_deref(), kept, "{address}");
        }
    }
}
