//! A stream of bytes, cut into lines.

use std::mem;

use super::Claim;
use super::identity::{Digest, Hashing};

/// The longest line, without its newline. A longer one is bad input: it could fill the memory.
pub const MAX_LINE: usize = 10_000_000;

/// The most capacity that the buffer keeps after a line that was spread over chunks.
const KEPT_CAPACITY: usize = 1 << 16;

/// A line of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawLine<'l> {
    /// A line that is not blank.
    Line {
        /// Its number in the stream, counted from 1, blank lines included.
        number: u64,
        /// Its bytes without the line ending.
        bytes: &'l [u8],
    },
    /// A line longer than the limit; its bytes are not kept.
    TooLong {
        /// Its number in the stream, counted from 1, blank lines included.
        number: u64,
        /// How many bytes it has, without the newline.
        length: u64,
        /// The digest of these bytes.
        digest: Digest,
        /// The claim read from its beginning.
        claim: &'l Claim,
    },
}

/// Cuts a stream of bytes, which arrives in chunks of any size, into lines.
///
/// A line within one chunk is handed out where it lies; only a line spread over chunks is gathered. A byte order mark
/// at the start of the stream, line endings of either kind and blank lines are left out.
pub struct LineSplitter {
    limit: usize,
    number: u64,
    partial: Partial,
}

/// The line whose end has not been seen.
enum Partial {
    Gathered(Vec<u8>),
    Skipped(Box<Skipped>),
}

/// A line that is too long to be kept.
struct Skipped {
    hashing: Hashing,
    length: u64,
    claim: Claim,
}

impl LineSplitter {
    /// Creates a splitter at the beginning of a stream, with the limit [`MAX_LINE`].
    #[expect(
        clippy::new_without_default,
        reason = "a stream is begun on purpose, never by default"
    )]
    pub fn new() -> Self {
        Self::with_limit(MAX_LINE)
    }

    /// As `new`, with another limit than [`MAX_LINE`].
    pub fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            number: 0,
            partial: Partial::default(),
        }
    }

    /// Takes the next bytes of the stream and hands out the lines that they complete.
    pub fn push(&mut self, chunk: &[u8], f: &mut impl FnMut(RawLine<'_>)) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            self.end_line(&rest[..end], f);
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    /// Ends the stream and hands out its last line if no newline ended it.
    pub fn finish(mut self, f: &mut impl FnMut(RawLine<'_>)) {
        if !matches!(&self.partial, Partial::Gathered(bytes) if bytes.is_empty()) {
            self.end_line(&[], f);
        }
    }

    fn end_line(&mut self, end: &[u8], f: &mut impl FnMut(RawLine<'_>)) {
        self.number += 1;
        if matches!(&self.partial, Partial::Gathered(bytes) if bytes.is_empty()) && end.len() <= self.limit {
            self.hand_out(end, f);
            return;
        }
        self.keep(end);
        match mem::take(&mut self.partial) {
            Partial::Gathered(mut bytes) => {
                self.hand_out(&bytes, f);
                bytes.clear();
                bytes.shrink_to(KEPT_CAPACITY);
                self.partial = Partial::Gathered(bytes);
            }
            Partial::Skipped(skipped) => {
                let Skipped {
                    hashing,
                    length,
                    claim,
                } = *skipped;
                f(RawLine::TooLong {
                    number: self.number,
                    length,
                    digest: hashing.finish(),
                    claim: &claim,
                });
            }
        }
    }

    fn hand_out(&self, line: &[u8], f: &mut impl FnMut(RawLine<'_>)) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(unmarked) if self.number == 1 => unmarked,
            _ => line,
        };
        if !line.iter().all(u8::is_ascii_whitespace) {
            f(RawLine::Line {
                number: self.number,
                bytes: line,
            });
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        match &mut self.partial {
            Partial::Skipped(skipped) => {
                skipped.hashing.update(bytes);
                skipped.length += bytes.len() as u64;
            }
            Partial::Gathered(gathered) if gathered.len() + bytes.len() <= self.limit => {
                gathered.extend_from_slice(bytes);
            }
            Partial::Gathered(gathered) => {
                // The kept beginning is the same for any cut into chunks.
                let (head, rest) = bytes.split_at(self.limit - gathered.len());
                gathered.extend_from_slice(head);
                let mut hashing = Hashing::default();
                hashing.update(gathered);
                hashing.update(rest);
                self.partial = Partial::Skipped(Box::new(Skipped {
                    hashing,
                    length: (gathered.len() + rest.len()) as u64,
                    claim: Claim::of(gathered),
                }));
            }
        }
    }
}

impl Default for Partial {
    fn default() -> Self {
        Self::Gathered(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Found = Vec<(u64, Result<Vec<u8>, (u64, Digest)>)>;

    fn split<'c>(chunks: impl IntoIterator<Item = &'c [u8]>, limit: usize) -> Found {
        let mut found = Vec::new();
        let mut take = |line: RawLine<'_>| match line {
            RawLine::Line { number, bytes } => found.push((number, Ok(bytes.to_vec()))),
            RawLine::TooLong {
                number,
                length,
                digest,
                claim: _,
            } => found.push((number, Err((length, digest)))),
        };
        let mut splitter = LineSplitter::with_limit(limit);
        for chunk in chunks {
            splitter.push(chunk, &mut take);
        }
        splitter.finish(&mut take);
        found
    }

    #[test]
    fn lines_are_found_and_numbered() {
        let line = |number, bytes: &[u8]| (number, Ok(bytes.to_vec()));
        let long = |number, bytes: &[u8]| (number, Err((bytes.len() as u64, Digest::of(bytes))));
        for (stream, expected) in [
            (&b""[..], vec![]),
            (b"\n\r\n \t\n", vec![]),
            (b"a", vec![line(1, b"a")]),
            (b"a\n", vec![line(1, b"a")]),
            (b"a\r\n\r\nb\r", vec![line(1, b"a"), line(3, b"b")]),
            (b"a\rb\n", vec![line(1, b"a\rb")]),
            (
                b"\xef\xbb\xbfa\n\xef\xbb\xbfb",
                vec![line(1, b"a"), line(2, b"\xef\xbb\xbfb")],
            ),
            (b"\xef\xbb\xbf\na", vec![line(2, b"a")]),
            (
                b"12345678\n123456789\nx\n",
                vec![line(1, b"12345678"), long(2, b"123456789"), line(3, b"x")],
            ),
            (b"1234567890123", vec![long(1, b"1234567890123")]),
        ] {
            assert_eq!(split([stream], 8), expected, "{stream:?}");
        }
    }

    #[test]
    fn a_line_within_a_chunk_is_not_copied() {
        let chunk = b"one\ntwo\n";
        let mut splitter = LineSplitter::new();
        splitter.push(chunk, &mut |line| {
            let RawLine::Line { bytes, .. } = line else {
                panic!("expected a line, got {line:?}");
            };
            assert!(chunk.as_ptr_range().contains(&bytes.as_ptr()));
        });
        assert_eq!(splitter.number, 2);
    }

    #[test]
    fn a_long_line_leaves_no_long_buffer() {
        let mut splitter = LineSplitter::new();
        for _ in 0..20 {
            splitter.push(&vec![b'x'; 100_000], &mut |_| {});
        }
        splitter.push(b"\n", &mut |_| {});
        let Partial::Gathered(buffer) = &splitter.partial else {
            panic!("expected a buffer");
        };
        assert!(buffer.capacity() <= KEPT_CAPACITY);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_lines(
            pieces in prop::collection::vec(
                prop::sample::select(vec!["\n", "\r\n", "\r", " ", "\u{feff}", "{}", "abcdef"]),
                0..40,
            ),
            cuts in prop::collection::vec(1..9_usize, 1..40),
        ) {
            let stream = pieces.concat().into_bytes();
            let mut rest = &stream[..];
            let mut chunks = Vec::new();
            for cut in cuts.iter().cycle() {
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(split(chunks, 10), split([&stream[..]], 10));
        }
    }
}
