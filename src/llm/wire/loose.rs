//! JSON as some servers write it: repeated keys, halves of surrogate pairs, `NaN`, control characters in strings.
//!
//! It is used only when the strict reader fails. The last of two equal keys is kept, and a number that JSON does not
//! allow becomes null. Half a surrogate pair becomes a private character ([`half`]), because its other half may arrive
//! in the next chunk.

use serde_json::{Map, Number, Value};

/// The depth limit of an answer. A deeper text would exhaust the stack.
const MOST_LEVELS: u8 = 100;

/// The first of the private characters that stand for halves. There is one for each half, at the end of the last
/// plane.
const FIRST_HALF: u32 = 0x0010_F800;

/// Returns the half of a surrogate pair that a character of a loosely read text stands for.
pub(in crate::llm) fn half(c: char) -> Option<u16> {
    let offset = u32::from(c).checked_sub(FIRST_HALF)?;
    u16::try_from(offset + 0xD800).ok()
}

fn of_half(half: u32) -> char {
    char::from_u32(half - 0xD800 + FIRST_HALF).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Returns the value in the text; `None` if more text follows it.
pub(in crate::llm) fn read(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text };
    let value = reader.value(MOST_LEVELS)?;
    reader.skip_blanks();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{feff}']);
    }

    fn takes(&mut self, token: &str) -> bool {
        self.skip_blanks();
        let after = self.rest.strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn value(&mut self, levels: u8) -> Option<Value> {
        let deeper = levels.checked_sub(1)?;
        if self.takes("{") {
            self.object(deeper)
        } else if self.takes("[") {
            self.array(deeper)
        } else if self.takes("\"") {
            self.string().map(Value::String)
        } else {
            self.word()
        }
    }

    fn object(&mut self, levels: u8) -> Option<Value> {
        let mut members = Map::new();
        while !self.takes("}") {
            if !members.is_empty() && !self.takes(",") {
                return None;
            }
            if !self.takes("\"") {
                return None;
            }
            let name = self.string()?;
            if !self.takes(":") {
                return None;
            }
            members.insert(name, self.value(levels)?);
        }
        Some(Value::Object(members))
    }

    fn array(&mut self, levels: u8) -> Option<Value> {
        let mut items = Vec::new();
        while !self.takes("]") {
            if !items.is_empty() && !self.takes(",") {
                return None;
            }
            items.push(self.value(levels)?);
        }
        Some(Value::Array(items))
    }

    /// Reads the rest of a string whose opening quote has been read.
    fn string(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            let end = self.rest.find(['"', '\\'])?;
            // A private character in the text itself must not count as a half.
            text.extend(self.rest[..end].chars().map(|c| match half(c) {
                Some(_) => char::REPLACEMENT_CHARACTER,
                None => c,
            }));
            let is_escape = self.rest[end..].starts_with('\\');
            self.rest = &self.rest[end + 1..];
            if !is_escape {
                return Some(text);
            }
            text.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let unit = self.unit()?;
                match unit {
                    0xD800..0xDC00 => self.second_half(unit),
                    0xDC00..0xE000 => of_half(unit),
                    _ => char::from_u32(unit)?,
                }
            }
            // A quote, a slash, or a character that a server escapes without need.
            other => other,
        })
    }

    fn unit(&mut self) -> Option<u32> {
        let unit = u32::from_str_radix(self.rest.get(..4)?, 16).ok()?;
        self.rest = &self.rest[4..];
        Some(unit)
    }

    /// Returns the character of a pair whose first half was read, or that half alone if no second half follows.
    fn second_half(&mut self, first: u32) -> char {
        let second = self
            .rest
            .strip_prefix("\\u")
            .and_then(|rest| u32::from_str_radix(rest.get(..4)?, 16).ok())
            .filter(|unit| (0xDC00..0xE000).contains(unit));
        match second {
            Some(second) => {
                self.rest = &self.rest[6..];
                char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00))
                    .unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            None => of_half(first),
        }
    }

    /// Reads a number or a word. A number that JSON does not allow becomes null.
    fn word(&mut self) -> Option<Value> {
        let ends = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_'));
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "true" | "True" => Some(Value::Bool(true)),
            "false" | "False" => Some(Value::Bool(false)),
            "null" | "None" | "NaN" | "-NaN" | "Infinity" | "-Infinity" | "undefined" => Some(Value::Null),
            _ => serde_json::from_str::<Number>(word)
                .ok()
                .or_else(|| Number::from_f64(word.parse().ok()?))
                .map(Value::Number)
                .or_else(|| word.parse::<f64>().ok().map(|_| Value::Null)),
        }
    }
}

/// A text that grows by pieces. A piece may end inside a surrogate pair.
#[derive(Debug, Default)]
pub(in crate::llm) struct JoinedText {
    text: String,
    /// The first half of a pair whose second half has not arrived.
    waiting: Option<u16>,
}

impl JoinedText {
    pub(in crate::llm) const fn new() -> Self {
        Self {
            text: String::new(),
            waiting: None,
        }
    }

    /// Appends a piece; `loose` if it was read by [`read`], so that private characters in it are halves.
    pub(in crate::llm) fn push(&mut self, piece: &str, loose: bool) {
        if piece.is_empty() {
            return;
        }
        if !loose && self.waiting.is_none() {
            self.text.push_str(piece);
            return;
        }
        for c in piece.chars() {
            let unit = half(c).filter(|_| loose);
            match (self.waiting.take(), unit) {
                (Some(first), Some(second)) if second >= 0xDC00 => {
                    let pair = char::decode_utf16([first, second]).next();
                    self.text
                        .push(pair.and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER));
                    continue;
                }
                (Some(_), _) => self.text.push(char::REPLACEMENT_CHARACTER),
                (None, _) => {}
            }
            match unit {
                Some(first) if first < 0xDC00 => self.waiting = Some(first),
                Some(_) => self.text.push(char::REPLACEMENT_CHARACTER),
                None => self.text.push(c),
            }
        }
    }

    /// Returns the text without an incomplete pair at its end.
    pub(in crate::llm) fn as_str(&self) -> &str {
        &self.text
    }

    pub(in crate::llm) const fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Drops the text and frees its memory.
    pub(in crate::llm) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Returns the text. A half without a partner is replaced.
    pub(in crate::llm) fn end(mut self) -> String {
        if self.waiting.is_some() {
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_servers_write_is_read() {
        assert_eq!(
            read(r#" {"a":1,"a":[NaN,-Infinity,1.5e3,"\u0041\n\/"],"b":{}} "#),
            Some(json!({"a": [null, null, 1500.0, "A\n/"], "b": {}}))
        );
        assert_eq!(read("\"\\ud83d\\ude00\""), Some(json!("😀")));
        for broken in [
            "{\"a\":1",
            "{\"a\" 1}",
            "ping",
            "{} x",
            ": x",
            "\"\\u12\"",
            "[1 2]",
            "",
        ] {
            assert_eq!(read(broken), None, "{broken}");
        }
        assert_eq!(read(&"[".repeat(100_000)), None);
    }

    #[test]
    fn halves_are_joined_across_pieces_and_replaced_where_they_stay_alone() {
        let piece = |json: &str| match read(json) {
            Some(Value::String(text)) => text,
            other => format!("{other:?}"),
        };
        let mut joined = JoinedText::new();
        for json in [r#""a\ud83d""#, r#""\ude00b""#, r#""\ude00""#, r#""\ud83d""#] {
            joined.push(&piece(json), true);
        }
        joined.push("c\u{10F83D}", false);
        joined.push(&piece(r#""\ud83d""#), true);
        assert_eq!(joined.end(), "a😀b\u{fffd}\u{fffd}c\u{10F83D}\u{fffd}");
    }
}
