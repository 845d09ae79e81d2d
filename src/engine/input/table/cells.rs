//! Cuts CSV text into rows of cells.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::domain::request::{Digest, MAX_LINE};

/// The most cells of a row: the columns of the widest spreadsheets.
const MOST_CELLS: usize = 16_384;

/// The most capacity that the buffer keeps after a long row.
const KEPT_CAPACITY: usize = 1 << 16;

/// A row of the table.
#[derive(Debug)]
pub(super) enum CellRow<'r> {
    /// A row that is not blank.
    Row(Cells<'r>),
    /// A row with more than [`MAX_LINE`] bytes or [`MOST_CELLS`] cells. Its cells are not kept.
    TooLarge {
        /// The bytes of its cells.
        length: u64,
        /// The cells that were counted.
        cells: usize,
        digest: Digest,
    },
    /// A row whose last cell has a quote that never ends.
    Unclosed {
        /// The number of cells before that cell.
        before: usize,
        digest: Digest,
    },
}

/// The cells of one row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cells<'r> {
    text: &'r [u8],
    ends: &'r [usize],
}

impl<'r> Cells<'r> {
    pub(super) fn len(self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(self, index: usize) -> &'r [u8] {
        let begin = index.checked_sub(1).and_then(|before| self.ends.get(before));
        let begin = begin.copied().unwrap_or_default();
        let end = self.ends.get(index).copied().unwrap_or(begin);
        self.text.get(begin..end).unwrap_or_default()
    }

    pub(super) fn iter(self) -> impl Iterator<Item = &'r [u8]> {
        (0..self.len()).map(move |index| self.get(index))
    }

    pub(super) fn digest(self) -> Digest {
        digest_of(self.text, self.ends)
    }
}

/// Cuts a stream, which arrives in chunks of any size, into rows, and numbers them as a spreadsheet does: blank rows
/// count, and a line break in a cell does not.
pub(super) struct CellSplitter {
    core: Reader,
    text: Vec<u8>,
    filled: usize,
    ends: Vec<usize>,
    cells: usize,
    number: u64,
    /// Whether a row has begun and not ended.
    is_inside: bool,
    /// Whether the last row ended with a carriage return, to which a line feed belongs.
    ended_by_return: bool,
    skipped: Option<Box<Skipping>>,
}

/// A row whose cells are no longer kept.
struct Skipping {
    hasher: blake3::Hasher,
    length: u64,
    cells: usize,
}

impl CellSplitter {
    /// Creates a splitter. `number` is the number of the row before the first one.
    pub(super) fn new(delimiter: u8, number: u64) -> Self {
        Self {
            core: ReaderBuilder::new().delimiter(delimiter).build(),
            text: vec![0; 1024],
            filled: 0,
            ends: vec![0; 32],
            cells: 0,
            number,
            is_inside: false,
            ended_by_return: false,
            skipped: None,
        }
    }

    /// Takes the next bytes and hands out the rows that they complete, each with its number.
    pub(super) fn push(&mut self, mut rest: &[u8], f: &mut impl FnMut(u64, CellRow<'_>)) {
        while !rest.is_empty() {
            if !self.is_inside {
                rest = self.begin_row(rest);
            }
            if rest.is_empty() {
                return;
            }
            rest = self.read(rest, f);
        }
    }

    /// Ends the stream and hands out its last row if no line break ended it.
    pub(super) fn finish(&mut self, f: &mut impl FnMut(u64, CellRow<'_>)) {
        if self.is_inside {
            self.push(b"\n", f);
        }
        if self.is_inside {
            let (text, ends) = self.kept();
            let before = self.skipped.as_ref().map_or(self.cells, |skipped| skipped.cells);
            let digest = digest_of(text, ends);
            f(self.number, CellRow::Unclosed { before, digest });
        }
    }

    /// Counts blank rows, and begins a row at the first other byte.
    fn begin_row<'b>(&mut self, mut rest: &'b [u8]) -> &'b [u8] {
        while let [first, after @ ..] = rest {
            match first {
                b'\n' if self.ended_by_return => self.ended_by_return = false,
                b'\n' | b'\r' => {
                    self.number += 1;
                    self.ended_by_return = *first == b'\r';
                }
                _ => {
                    self.number += 1;
                    self.is_inside = true;
                    break;
                }
            }
            rest = after;
        }
        rest
    }

    /// Reads until the row ends or the bytes do.
    fn read<'b>(&mut self, rest: &'b [u8], f: &mut impl FnMut(u64, CellRow<'_>)) -> &'b [u8] {
        let text = self.text.get_mut(self.filled..).unwrap_or_default();
        let ends = self.ends.get_mut(self.cells..).unwrap_or_default();
        let (result, read, written, ended) = self.core.read_record(rest, text, ends);
        self.filled += written;
        self.cells += ended;
        let (taken, after) = rest.split_at(read);
        match result {
            ReadRecordResult::OutputFull if self.text.len() > MAX_LINE => self.skip(),
            ReadRecordResult::OutputFull => self.text.resize(grown(self.text.len(), MAX_LINE + 1), 0),
            ReadRecordResult::OutputEndsFull if self.ends.len() > MOST_CELLS => self.skip(),
            ReadRecordResult::OutputEndsFull => self.ends.resize(grown(self.ends.len(), MOST_CELLS + 1), 0),
            ReadRecordResult::Record => {
                self.ended_by_return = taken.ends_with(b"\r");
                self.end_row(f);
            }
            ReadRecordResult::InputEmpty | ReadRecordResult::End => {}
        }
        after
    }

    /// Hashes the kept part of a row that is too large, and drops it.
    fn skip(&mut self) {
        let skipping = self.skipped.get_or_insert_with(|| {
            Box::new(Skipping {
                hasher: blake3::Hasher::new(),
                length: 0,
                cells: 0,
            })
        });
        skipping
            .hasher
            .update(self.text.get(..self.filled).unwrap_or_default());
        skipping.length += self.filled as u64;
        skipping.cells += self.cells;
        self.filled = 0;
        self.cells = 0;
    }

    fn end_row(&mut self, f: &mut impl FnMut(u64, CellRow<'_>)) {
        let is_too_large = self.filled > MAX_LINE || self.cells > MOST_CELLS;
        if self.skipped.is_some() || is_too_large {
            self.skip();
        }
        if let Some(skipped) = self.skipped.take() {
            let Skipping {
                hasher,
                length,
                cells,
            } = *skipped;
            let digest = Digest::from_slice(hasher.finalize().as_bytes());
            f(
                self.number,
                CellRow::TooLarge {
                    length,
                    cells,
                    digest: digest.unwrap_or_else(|| Digest::of(&length.to_le_bytes())),
                },
            );
        } else {
            let (text, ends) = self.kept();
            let is_blank = ends.len() < 2 && text.trim_ascii().is_empty();
            // A spreadsheet writes rows below the table as separators alone.
            if !is_blank && !text.is_empty() {
                f(self.number, CellRow::Row(Cells { text, ends }));
            }
        }
        self.filled = 0;
        self.cells = 0;
        self.is_inside = false;
        if self.text.len() > KEPT_CAPACITY {
            self.text.truncate(KEPT_CAPACITY);
            self.text.shrink_to_fit();
        }
    }

    fn kept(&self) -> (&[u8], &[usize]) {
        let text = self.text.get(..self.filled).unwrap_or_default();
        (text, self.ends.get(..self.cells).unwrap_or_default())
    }
}

/// The digest of cells: of their text and of the places where they end.
fn digest_of(text: &[u8], ends: &[usize]) -> Digest {
    let ends: Vec<String> = ends.iter().map(usize::to_string).collect();
    Digest::of(&[text, b"\n", ends.join(",").as_bytes()].concat())
}

fn grown(length: usize, most: usize) -> usize {
    (length * 2).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(text: &[u8], step: usize) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        let mut take = |number, row: CellRow<'_>| {
            let shown = match row {
                CellRow::Row(cells) => cells
                    .iter()
                    .map(|cell| String::from_utf8_lossy(cell).into_owned())
                    .collect::<Vec<_>>()
                    .join("|"),
                CellRow::TooLarge { length, cells, .. } => format!("too large: {length}, {cells}"),
                CellRow::Unclosed { before, .. } => format!("unclosed after {before}"),
            };
            found.push((number, shown));
        };
        let mut splitter = CellSplitter::new(b',', 0);
        for chunk in text.chunks(step) {
            splitter.push(chunk, &mut take);
        }
        splitter.finish(&mut take);
        found
    }

    #[test]
    fn rows_are_numbered_as_in_a_spreadsheet() {
        for (text, expected) in [
            ("", &[][..]),
            ("\n\r\n \n", &[]),
            ("a,b\nc,d", &[(1, "a|b"), (2, "c|d")]),
            ("a,b\r\nc,d\r\n", &[(1, "a|b"), (2, "c|d")]),
            ("a\r\r\nb\rc\n", &[(1, "a"), (3, "b"), (4, "c")]),
            ("a,b\n\n\nc,d\n,\n1,\n", &[(1, "a|b"), (4, "c|d"), (6, "1|")]),
            (
                "\"a\n\nb\",\"say \"\"x\"\"\"\nc,d\n",
                &[(1, "a\n\nb|say \"x\""), (2, "c|d")],
            ),
            ("a,b\nc,\"d\ne,f\n", &[(1, "a|b"), (2, "unclosed after 1")]),
            ("a\n\"", &[(1, "a"), (2, "unclosed after 0")]),
            ("a,\"\"", &[(1, "a|")]),
        ] {
            for step in [1, 2, 100] {
                let found = rows(text.as_bytes(), step);
                let expected: Vec<_> = expected
                    .iter()
                    .map(|(number, row)| (*number, (*row).to_owned()))
                    .collect();
                assert_eq!(found, expected, "{text:?} step {step}");
            }
        }
    }

    #[test]
    fn a_row_that_is_too_large_is_counted_and_not_kept() {
        let long = "x".repeat(MAX_LINE + 5);
        let wide = ",".repeat(MOST_CELLS) + "x";
        let text = format!("a\n{long}\n{wide}\nb,c\n");
        let found = rows(text.as_bytes(), 1 << 16);
        let told = |number, text: String| (number, text);
        assert_eq!(
            found,
            [
                told(1, "a".to_owned()),
                told(2, format!("too large: {}, 1", MAX_LINE + 5)),
                told(3, format!("too large: 1, {}", MOST_CELLS + 1)),
                told(4, "b|c".to_owned())
            ]
        );
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_rows(text in r#"[ab,"\r\n \x00é]{0,60}"#, step in 1..9_usize) {
            prop_assert_eq!(rows(text.as_bytes(), step), rows(text.as_bytes(), 1000));
        }
    }
}
