//! Cuts a JSON array into its elements.

use std::mem;

use super::TableError;
use crate::domain::request::{Digest, LineSplitter, MAX_LINE};

const MARK: &[u8] = b"\xef\xbb\xbf";

/// The most capacity that the buffer keeps after a long element.
const KEPT_CAPACITY: usize = 1 << 16;

/// An element of the array.
#[derive(Debug)]
pub(super) enum Element<'e> {
    Whole(&'e [u8]),
    /// Longer than [`MAX_LINE`]; its bytes are not kept.
    TooLarge {
        length: u64,
        digest: Digest,
    },
    /// The array did not end, or something stands behind it. The bytes are the incomplete part.
    Broken {
        reason: &'static str,
        bytes: &'e [u8],
    },
}

/// The beginning of a stream, which shows whether it is an array.
pub(super) enum JsonBeginning {
    /// It holds white space only so far.
    Unknown,
    Array,
    /// JSON Lines: objects without an array around them.
    Lines,
}

impl JsonBeginning {
    /// Looks at the bytes from the start of the stream on.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, TableError> {
        let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes).trim_ascii_start();
        match bytes.first() {
            None => Ok(Self::Unknown),
            Some(_) if MARK.starts_with(bytes) => Ok(Self::Unknown),
            Some(b'[') => Ok(Self::Array),
            Some(b'{') => Ok(Self::Lines),
            Some(_) => Err(TableError(
                "expected a JSON array of objects, got something else (give a format with `--input-format`)"
                    .to_owned(),
            )),
        }
    }
}

/// An element whose bytes are no longer kept.
struct LongElement {
    hasher: blake3::Hasher,
    length: u64,
}

/// Cuts a stream that begins with `[`. It arrives in chunks of any size.
#[derive(Default)]
pub(super) struct ElementSplitter {
    place: Place,
    number: u64,
    bytes: Vec<u8>,
    skipped: Option<Box<LongElement>>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Before,
    Inside {
        depth: usize,
        text: StringState,
    },
    After,
}

/// Whether a byte belongs to a string.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StringState {
    Outside,
    Inside,
    Escaped,
}

impl ElementSplitter {
    /// Takes the next bytes and hands out the elements that they complete, each with its number, from 1.
    pub(super) fn push(&mut self, chunk: &[u8], f: &mut impl FnMut(u64, Element<'_>)) {
        let mut begin = 0;
        for (at, byte) in chunk.iter().enumerate() {
            match &mut self.place {
                Place::Before => {
                    if *byte == b'[' {
                        self.place = START;
                    }
                    begin = at + 1;
                }
                Place::After => {
                    begin = at + 1;
                    if !byte.is_ascii_whitespace() && self.bytes.is_empty() {
                        self.bytes.push(*byte);
                    }
                }
                Place::Inside { depth, text } => match (*text, byte) {
                    (StringState::Escaped, _) => *text = StringState::Inside,
                    (StringState::Inside, b'\\') => *text = StringState::Escaped,
                    (StringState::Inside, b'"') => *text = StringState::Outside,
                    (StringState::Inside, _) => {}
                    (StringState::Outside, b'"') => *text = StringState::Inside,
                    (StringState::Outside, b'{' | b'[') => *depth += 1,
                    (StringState::Outside, b',' | b']') if *depth == 0 => {
                        let rest = chunk.get(begin..at).unwrap_or_default();
                        self.end_element(rest, *byte == b',', f);
                        self.place = if *byte == b',' { START } else { Place::After };
                        begin = at + 1;
                    }
                    (StringState::Outside, b'}' | b']') => *depth = depth.saturating_sub(1),
                    (StringState::Outside, _) => {}
                },
            }
        }
        if let Place::Inside { .. } = self.place {
            self.keep(chunk.get(begin..).unwrap_or_default());
        }
    }

    /// Ends the stream. A part that is left is an element of its own.
    pub(super) fn finish(&mut self, f: &mut impl FnMut(u64, Element<'_>)) {
        let reason = match self.place {
            Place::Before => return,
            Place::After if self.bytes.is_empty() => return,
            Place::After => "expected nothing behind the array, got more (one array is read)",
            Place::Inside { .. } => {
                "expected the array to end with `]`, got the end of the input (is the file cut off?)"
            }
        };
        let bytes = mem::take(&mut self.bytes);
        self.skipped = None;
        f(
            self.number + 1,
            Element::Broken {
                reason,
                bytes: bytes.trim_ascii(),
            },
        );
    }

    fn end_element(&mut self, rest: &[u8], is_followed: bool, f: &mut impl FnMut(u64, Element<'_>)) {
        self.keep(rest);
        let bytes = mem::take(&mut self.bytes);
        if let Some(mut long) = self.skipped.take() {
            long.hasher.update(&bytes);
            self.number += 1;
            let digest = Digest::from_slice(long.hasher.finalize().as_bytes());
            f(
                self.number,
                Element::TooLarge {
                    length: long.length + bytes.len() as u64,
                    digest: digest.unwrap_or_else(|| Digest::of(&bytes)),
                },
            );
        } else if is_followed || !bytes.trim_ascii().is_empty() {
            self.number += 1;
            f(self.number, Element::Whole(bytes.trim_ascii()));
        }
        self.bytes = bytes;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_CAPACITY);
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > MAX_LINE {
            let long = self.skipped.get_or_insert_with(|| {
                Box::new(LongElement {
                    hasher: blake3::Hasher::new(),
                    length: 0,
                })
            });
            long.hasher.update(&self.bytes);
            long.length += self.bytes.len() as u64;
            self.bytes.clear();
        }
    }
}

const START: Place = Place::Inside {
    depth: 0,
    text: StringState::Outside,
};

/// The objects of a stream: elements of an array, or lines.
pub(super) enum ObjectSplitter {
    /// The bytes that do not show yet which of the two it is.
    Beginning(Vec<u8>),
    Array(ElementSplitter),
    Lines(LineSplitter),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn elements(text: &[u8], step: usize) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        let mut take = |number, element: Element<'_>| {
            let shown = match element {
                Element::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Element::TooLarge { length, .. } => format!("too large: {length}"),
                Element::Broken { reason, bytes } => {
                    format!(
                        "{}: {}",
                        reason.split(',').next().unwrap(),
                        String::from_utf8_lossy(bytes)
                    )
                }
            };
            found.push((number, shown));
        };
        let mut splitter = ElementSplitter::default();
        for chunk in text.chunks(step) {
            splitter.push(chunk, &mut take);
        }
        splitter.finish(&mut take);
        found
    }

    #[test]
    fn elements_are_cut_at_the_commas_between_them() {
        let end = "expected the array to end with `]`";
        for (text, expected) in [
            ("", vec![]),
            ("\u{feff} [ ] \n", vec![]),
            (
                r#"[{"a":"],[\"\\"}, {"b":[1,{}]},]"#,
                vec![
                    (1, r#"{"a":"],[\"\\"}"#.to_owned()),
                    (2, r#"{"b":[1,{}]}"#.to_owned()),
                ],
            ),
            (
                "[1,,\"x\"]",
                vec![(1, "1".to_owned()), (2, String::new()), (3, "\"x\"".to_owned())],
            ),
            (
                "[{},{\"a\":",
                vec![(1, "{}".to_owned()), (2, format!("{end}: {{\"a\":"))],
            ),
            ("[{}", vec![(1, format!("{end}: {{}}"))]),
            (
                "[{}] x",
                vec![
                    (1, "{}".to_owned()),
                    (2, "expected nothing behind the array: x".to_owned()),
                ],
            ),
            ("[}]", vec![(1, "}".to_owned())]),
        ] {
            for step in [1, 3, 100] {
                assert_eq!(elements(text.as_bytes(), step), expected, "{text} step {step}");
            }
        }
    }

    #[test]
    fn an_element_that_is_too_large_is_counted_and_not_kept() {
        let text = format!("[\"{}\",2]", "x".repeat(MAX_LINE));
        let expected = [(1, format!("too large: {}", MAX_LINE + 2)), (2, "2".to_owned())];
        assert_eq!(elements(text.as_bytes(), 1 << 16), expected);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_elements(text in r#"[\[\]{},"\\a \n]{0,60}"#, step in 1..9_usize) {
            let text = format!("[{text}");
            prop_assert_eq!(elements(text.as_bytes(), step), elements(text.as_bytes(), 1000));
        }
    }
}
