//! Removes markup from text: tags, comments, scripts, character references, and the targets of Markdown links and
//! images.
//!
//! The result may contain angle brackets that are no tags (`3 < 5`). It is text for a prompt, not for a browser.

/// The most bytes of a tag. A `<` without a `>` within this length is a plain character.
const LONGEST_TAG: usize = 2_000;

/// The most bytes of a numeric character reference after its `#`, including the `;`.
const LONGEST_REFERENCE: usize = 9;

/// Elements whose content is not text for a reader.
const NO_TEXT: [&str; 3] = ["script", "style", "noscript"];

/// Tags that start a new line.
const BREAKS: [&str; 9] = ["br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4"];

/// The named character references that search results use.
const NAMED: [(&str, &str); 8] = [
    ("amp;", "&"),
    ("lt;", "<"),
    ("gt;", ">"),
    ("quot;", "\""),
    ("apos;", "'"),
    ("nbsp;", " "),
    ("hellip;", "…"),
    ("mdash;", "—"),
];

/// Returns the text without markup.
pub(super) fn removed(text: &str) -> String {
    let plain = without_links(&without_tags(text));
    let decoded = decoded(&plain);
    // Character references may spell tags, so tags are removed again.
    if decoded == plain {
        plain
    } else {
        without_tags(&decoded)
    }
}

fn without_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let Some((name, after)) = tag_at(tag) else {
            out.push('<');
            rest = &tag[1..];
            continue;
        };
        rest = after;
        if BREAKS.contains(&name.as_str()) {
            out.push('\n');
        }
        if NO_TEXT.contains(&name.as_str()) {
            rest = behind(after, &name);
        }
    }
    out.push_str(rest);
    out
}

/// Returns the tag at the beginning of the text: its name in lower case without `/`, and the text after it.
fn tag_at(text: &str) -> Option<(String, &str)> {
    let inner = &text[1..];
    if let Some(comment) = inner.strip_prefix("!--") {
        let after = comment.find("-->").map_or("", |end| &comment[end + 3..]);
        return Some((String::new(), after));
    }
    let begins = inner.trim_start_matches('/');
    if !begins.starts_with(|c: char| c.is_ascii_alphabetic() || c == '!' || c == '?') {
        return None;
    }
    let end = window(inner, LONGEST_TAG).find('>')?;
    let name = begins
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_lowercase();
    // The closing tag of an element without text does not open the element.
    let opens = !inner.starts_with('/') || !NO_TEXT.contains(&name.as_str());
    Some((if opens { name } else { String::new() }, &inner[end + 1..]))
}

/// Returns the text after the end of an element. Returns an empty text if the element has no end.
pub(super) fn behind<'a>(text: &'a str, name: &str) -> &'a str {
    let end = format!("</{name}");
    let bytes = text.as_bytes();
    let found = bytes
        .windows(end.len())
        .position(|window| window.eq_ignore_ascii_case(end.as_bytes()));
    found
        .and_then(|at| text.get(at..))
        .and_then(|tag| tag.split_once('>'))
        .map_or("", |(_, after)| after)
}

/// Replaces `[text](address)` and `![text](address)` by `text`.
fn without_links(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("](") {
        let (before, link) = rest.split_at(at);
        let open = before.rfind('[');
        let target = window(&link[2..], LONGEST_TAG).split_once(')');
        let (Some(open), Some((address, _))) = (open, target.filter(|(address, _)| is_address(address)))
        else {
            out.push_str(before);
            out.push_str("](");
            rest = &link[2..];
            continue;
        };
        out.push_str(before[..open].strip_suffix('!').unwrap_or(&before[..open]));
        out.push_str(&before[open + 1..]);
        rest = &link[2 + address.len() + 1..];
    }
    out.push_str(rest);
    out
}

fn is_address(text: &str) -> bool {
    let address = text.split_whitespace().next().unwrap_or_default();
    [
        "http:",
        "https:",
        "data:",
        "//",
        "/",
        "#",
        "mailto:",
        "javascript:",
    ]
    .iter()
    .any(|begin| address.starts_with(begin))
}

fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some((name, shown)) = NAMED.iter().find(|(name, _)| after.starts_with(name)) {
            out.push_str(shown);
            rest = &after[name.len()..];
        } else if let Some((shown, behind)) = numbered(after) {
            out.push(shown);
            rest = behind;
        } else {
            out.push('&');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Returns the character of `#39;` or `#x27;`, and the text after it.
fn numbered(text: &str) -> Option<(char, &str)> {
    let text = text.strip_prefix('#')?;
    let (number, _) = window(text, LONGEST_REFERENCE).split_once(';')?;
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) if hex.len() <= 6 => u32::from_str_radix(hex, 16).ok()?,
        None if number.len() <= 7 => number.parse().ok()?,
        _ => return None,
    };
    Some((char::from_u32(code)?, &text[number.len() + 1..]))
}

/// Returns the first bytes of a text. The limit keeps the search for an end from reading the rest for each begin.
fn window(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes.min(text.len())))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_removed_and_text_stays() {
        for (text, plain) in [
            ("<em class=\"hl\">燕麦</em>奶", "燕麦奶"),
            ("a<br/>b", "a\nb"),
            ("3 < 5 and 7 > 2, a<b", "3 < 5 and 7 > 2, a<b"),
            ("<script>alert('<b>')</SCRIPT >after", "after"),
            ("<style>p{}", ""),
            ("before<!-- hidden <b> -->after", "beforeafter"),
            ("before<!-- never closed", "before"),
            (
                "Tom &amp; Jerry&#39;s&#x20;&quot;show&quot;&nbsp;&bogus;",
                "Tom & Jerry's \"show\" &bogus;",
            ),
            ("&lt;img src=x onerror=y&gt;seen", "seen"),
            (
                "[the page](https://h/p?q=1) and ![pixel](https://h/x.png)!",
                "the page and pixel!",
            ),
            ("f[1](2) stays", "f[1](2) stays"),
            ("](", "]("),
            ("&", "&"),
            ("<", "<"),
        ] {
            assert_eq!(removed(text), plain, "{text}");
        }
    }

    #[test]
    fn hostile_lengths_end_soon() {
        for text in [
            "<".repeat(200_000),
            "<a ".repeat(100_000),
            "&#".repeat(100_000),
            "[](".repeat(100_000),
        ] {
            assert!(removed(&text).len() <= text.len());
        }
    }
}
