//! Splits HTML into tags and texts, in one pass. The work grows with the length only, also for hostile input.
//!
//! It is no parser: it builds no tree and repairs nothing. A page that is cut at its end is fine.

use super::markup::behind;

/// Elements whose content is no text. They end only at their own closing tag.
const RAW: [&str; 8] = [
    "script", "style", "noscript", "textarea", "title", "iframe", "template", "xmp",
];

/// The most characters of the name of a tag.
const NAME: usize = 20;

/// A part of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HtmlPiece<'a> {
    /// Text between tags. Character references are not decoded.
    Text(&'a str),
    /// An opening tag, with its name in lower case.
    Open(String),
    /// A closing tag, with its name in lower case.
    Close(String),
}

/// The pieces of a page, in order.
pub(super) struct HtmlPieces<'a> {
    rest: &'a str,
    /// Whether a quote in a tag may hide a `>`. It is false after a quote without an end.
    quotes: bool,
}

impl<'a> HtmlPieces<'a> {
    pub(super) fn of(html: &'a str) -> Self {
        Self {
            rest: html,
            quotes: true,
        }
    }

    /// Returns the text before the next tag.
    fn text(&mut self) -> HtmlPiece<'a> {
        let beginning = self.rest.chars().next().map_or(0, char::len_utf8);
        let end = self.rest[beginning..]
            .find('<')
            .map_or(self.rest.len(), |at| beginning + at);
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        HtmlPiece::Text(text)
    }

    /// Skips a comment, a declaration or a processing instruction.
    fn skip_declaration(&mut self) {
        let end = if self.rest.starts_with("<!--") { "-->" } else { ">" };
        self.rest = self.rest.split_once(end).map_or("", |(_, rest)| rest);
    }

    /// Returns the tag at the beginning. A tag without an end ends the page.
    fn tag(&mut self) -> Option<HtmlPiece<'a>> {
        let closes = self.rest.starts_with("</");
        let inner = &self.rest[if closes { 2 } else { 1 }..];
        let name: String = inner
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .take(NAME)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let Some(end) = self.end_of_tag(inner) else {
            self.rest = "";
            return None;
        };
        self.rest = &inner[end + 1..];
        if closes {
            return Some(HtmlPiece::Close(name));
        }
        if RAW.contains(&name.as_str()) {
            self.rest = behind(self.rest, &name);
        }
        Some(HtmlPiece::Open(name))
    }

    /// Returns the place of the `>` that ends a tag. A quoted value may contain a `>`.
    fn end_of_tag(&mut self, inner: &str) -> Option<usize> {
        let bytes = inner.as_bytes();
        let (mut at, mut is_value) = (0, false);
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'>' => return Some(at),
                b'"' | b'\'' if is_value && self.quotes => {
                    match bytes[at + 1..].iter().position(|&other| other == byte) {
                        Some(length) => at += length + 1,
                        // Without this a page full of open quotes would be read once for each of them.
                        None => self.quotes = false,
                    }
                    is_value = false;
                }
                b'=' => is_value = true,
                byte if byte.is_ascii_whitespace() => {}
                _ => is_value = false,
            }
            at += 1;
        }
        None
    }
}

impl<'a> Iterator for HtmlPieces<'a> {
    type Item = HtmlPiece<'a>;

    fn next(&mut self) -> Option<HtmlPiece<'a>> {
        loop {
            let bytes = self.rest.as_bytes();
            match (bytes.first()?, bytes.get(1)) {
                (b'<', Some(b'!' | b'?')) => self.skip_declaration(),
                (b'<', Some(b'/')) if bytes.get(2).is_some_and(u8::is_ascii_alphabetic) => return self.tag(),
                (b'<', Some(next)) if next.is_ascii_alphabetic() => return self.tag(),
                _ => return Some(self.text()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(html: &str) -> String {
        let pieces = HtmlPieces::of(html).map(|piece| match piece {
            HtmlPiece::Text(text) => text.to_owned(),
            HtmlPiece::Open(name) => format!("({name})"),
            HtmlPiece::Close(name) => format!("(/{name})"),
        });
        pieces.collect()
    }

    #[test]
    fn tags_and_texts_are_told_apart() {
        for (html, expected) in [
            ("<P class=x>a<br/>b</p>", "(p)a(br)b(/p)"),
            ("<a title='1 > 0' href=\"x>y\">z</a>", "(a)z(/a)"),
            ("<!DOCTYPE html><!-- <p> -- > --><?xml?>x", "x"),
            ("3 < 5 <3 </ >", "3 < 5 <3 </ >"),
            ("<script>if (a<b) '</p>'</SCRIPT >x", "(script)x"),
            ("<style>p{}", "(style)"),
            ("a<b c=\"d>e", "a(b)e"),
            ("a<b", "a"),
            ("<i \">x</i>", "(i)x(/i)"),
            ("燕<em>麦</em>", "燕(em)麦(/em)"),
        ] {
            assert_eq!(shown(html), expected, "{html}");
        }
    }

    #[test]
    fn hostile_pages_end_soon() {
        for part in [
            "<a b=\"",
            "<a b='\">",
            "<",
            "</",
            "<!--",
            "<script>",
            "<a ",
            "<a b=c=",
            "<div>",
        ] {
            assert!(HtmlPieces::of(&part.repeat(300_000)).count() <= 900_000, "{part}");
        }
    }
}
