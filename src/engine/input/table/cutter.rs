//! Cuts an input into requests, whatever its format.

use std::mem;

use super::TableError;
use super::cells::{CellRow, CellSplitter, Cells};
use super::delimiter::{DelimiterSearch, FoundDelimiter};
use super::elements::{Element, ElementSplitter, JsonBeginning, ObjectSplitter};
use super::header::Header;
use super::mapping::{Binding, Mapping, TableRow};
use super::objects::JsonObject;
use crate::domain::request::{BadLine, Claim, Digest, LineSplitter, MAX_LINE, RawLine};
use crate::engine::input::form::{InputForm, InputFormat};
use crate::engine::job::Input;

/// A request of the input, before it is checked.
pub(in crate::engine::input) enum InputRow<'r> {
    /// A line as it stands.
    Line(RawLine<'r>),
    /// A line that was made from a row of a table.
    Made {
        number: u64,
        bytes: &'r [u8],
        /// Explains the names of a message: which field was taken from which column.
        explain: &'r dyn Fn(&str) -> String,
    },
    /// A row that cannot be read.
    Bad { number: u64, problem: BadLine },
}

/// Cuts a stream that arrives in chunks of any size.
pub(in crate::engine::input) struct RowCutter<'m> {
    mapping: &'m Mapping,
    shape: Shape,
    /// The line of the last row; kept for its capacity.
    line: Vec<u8>,
}

enum Shape {
    /// Lines that are requests as they stand.
    Lines(LineSplitter),
    Objects(ObjectSplitter),
    /// CSV whose delimiter is not known yet.
    Beginning(DelimiterSearch),
    Rows {
        splitter: Box<CellSplitter>,
        header: Option<Header>,
    },
}

impl<'m> RowCutter<'m> {
    pub(in crate::engine::input) fn new(input: &Input, form: &'m InputForm) -> Self {
        let shape = match form.format_of(input) {
            InputFormat::Csv => Shape::Beginning(DelimiterSearch::default()),
            InputFormat::Tsv => Shape::rows(b'\t'),
            InputFormat::Json => Shape::Objects(ObjectSplitter::Beginning(Vec::new())),
            InputFormat::Jsonl if form.maps_lines => {
                Shape::Objects(ObjectSplitter::Lines(LineSplitter::new()))
            }
            InputFormat::Jsonl => Shape::Lines(LineSplitter::new()),
        };
        Self {
            mapping: &form.mapping,
            shape,
            line: Vec::new(),
        }
    }

    /// Whether the columns are known and fit.
    pub(in crate::engine::input) const fn has_columns(&self) -> bool {
        match &self.shape {
            Shape::Objects(ObjectSplitter::Beginning(_)) | Shape::Beginning(_) => false,
            Shape::Lines(_) | Shape::Objects(_) => true,
            Shape::Rows { header, .. } => header.is_some(),
        }
    }

    /// Takes the next bytes, in UTF-8, and hands out the requests that they complete.
    pub(in crate::engine::input) fn push(
        &mut self,
        chunk: &[u8],
        f: &mut impl FnMut(InputRow<'_>),
    ) -> Result<(), TableError> {
        match &mut self.shape {
            Shape::Lines(splitter) => splitter.push(chunk, &mut |line| f(InputRow::Line(line))),
            Shape::Objects(_) => self.push_objects(chunk, f)?,
            Shape::Beginning(search) => {
                if let Some(found) = search.push(chunk, false)? {
                    self.begin_rows(&found, f)?;
                }
            }
            Shape::Rows { .. } => self.push_rows(chunk, false, f)?,
        }
        Ok(())
    }

    /// Ends the stream.
    pub(in crate::engine::input) fn finish(
        mut self,
        f: &mut impl FnMut(InputRow<'_>),
    ) -> Result<(), TableError> {
        if let Shape::Beginning(search) = &mut self.shape
            && let Some(found) = search.push(&[], true)?
        {
            self.begin_rows(&found, f)?;
        }
        let Self {
            mapping,
            shape,
            mut line,
        } = self;
        match shape {
            Shape::Lines(splitter) => splitter.finish(&mut |line| f(InputRow::Line(line))),
            Shape::Objects(ObjectSplitter::Array(mut splitter)) => {
                splitter.finish(&mut |number, element| f_element(mapping, &mut line, number, &element, f));
            }
            Shape::Objects(ObjectSplitter::Lines(splitter)) => {
                splitter.finish(&mut |raw| f_line(mapping, &mut line, raw, f));
            }
            Shape::Rows { splitter, header } => {
                let mut rest = Self {
                    mapping,
                    shape: Shape::Rows { splitter, header },
                    line,
                };
                rest.push_rows(&[], true, f)?;
            }
            Shape::Objects(ObjectSplitter::Beginning(_)) | Shape::Beginning(_) => {}
        }
        Ok(())
    }

    fn begin_rows(
        &mut self,
        found: &FoundDelimiter,
        f: &mut impl FnMut(InputRow<'_>),
    ) -> Result<(), TableError> {
        self.shape = Shape::rows(found.delimiter);
        self.push_rows(&found.beginning, false, f)
    }

    fn push_rows(
        &mut self,
        chunk: &[u8],
        is_end: bool,
        f: &mut impl FnMut(InputRow<'_>),
    ) -> Result<(), TableError> {
        let Self { mapping, shape, line } = self;
        let Shape::Rows { splitter, header } = shape else {
            return Ok(());
        };
        let mut failed = None;
        let mut take = |number: u64, row: CellRow<'_>| match (&*header, &row) {
            _ if failed.is_some() => {}
            (Some(header), _) => f_row(mapping, header, line, number, &row, f),
            (None, CellRow::Row(cells)) => match Header::read(*cells, mapping) {
                Ok(read) => *header = Some(read),
                Err(error) => failed = Some(error),
            },
            (None, CellRow::TooLarge { .. } | CellRow::Unclosed { .. }) => {
                let reason = "expected a header row, got one that is too long or has a quote that never ends";
                failed = Some(TableError(reason.to_owned()));
            }
        };
        if is_end {
            splitter.finish(&mut take);
        } else {
            splitter.push(chunk, &mut take);
        }
        failed.map_or(Ok(()), Err)
    }

    fn push_objects(&mut self, chunk: &[u8], f: &mut impl FnMut(InputRow<'_>)) -> Result<(), TableError> {
        let Self { mapping, shape, line } = self;
        let Shape::Objects(objects) = shape else {
            return Ok(());
        };
        let mut begun = Vec::new();
        if let ObjectSplitter::Beginning(held) = objects {
            held.extend_from_slice(chunk);
            let next = match JsonBeginning::of(held)? {
                JsonBeginning::Unknown => return Ok(()),
                JsonBeginning::Array => ObjectSplitter::Array(ElementSplitter::default()),
                JsonBeginning::Lines => ObjectSplitter::Lines(LineSplitter::new()),
            };
            begun = mem::take(held);
            *objects = next;
        }
        let chunk = if begun.is_empty() { chunk } else { &begun };
        match objects {
            ObjectSplitter::Array(splitter) => splitter.push(chunk, &mut |number, element| {
                f_element(mapping, line, number, &element, f);
            }),
            ObjectSplitter::Lines(splitter) => splitter.push(chunk, &mut |raw| f_line(mapping, line, raw, f)),
            ObjectSplitter::Beginning(_) => {}
        }
        Ok(())
    }
}

impl Shape {
    fn rows(delimiter: u8) -> Self {
        Self::Rows {
            splitter: Box::new(CellSplitter::new(delimiter, 0)),
            header: None,
        }
    }
}

/// Hands out a row of CSV.
fn f_row(
    mapping: &Mapping,
    header: &Header,
    line: &mut Vec<u8>,
    number: u64,
    row: &CellRow<'_>,
    f: &mut impl FnMut(InputRow<'_>),
) {
    let bad = |column, reason: &str, digest| InputRow::Bad {
        number,
        problem: bad_row(&header.place(number, column), reason, digest, None),
    };
    match row {
        CellRow::TooLarge {
            length,
            cells,
            digest,
        } => {
            let reason = format!(
                "expected at most {MAX_LINE} bytes and as many cells as in the header, got {length} bytes in {cells} cells"
            );
            f(bad(None, &reason, *digest));
        }
        CellRow::Unclosed { before, digest } => {
            let reason = "expected a quote at the end of the cell, got the end of the table (all rows from here on were read \
                          as this cell)";
            f(bad(Some(*before), reason, *digest));
        }
        CellRow::Row(cells) => f_cells(mapping, header, line, number, *cells, f),
    }
}

fn f_cells(
    mapping: &Mapping,
    header: &Header,
    line: &mut Vec<u8>,
    number: u64,
    cells: Cells<'_>,
    f: &mut impl FnMut(InputRow<'_>),
) {
    let texts = match header.texts(cells) {
        Ok(texts) => texts,
        Err((column, reason)) => {
            let problem = bad_row(&header.place(number, column), &reason, cells.digest(), None);
            return f(InputRow::Bad { number, problem });
        }
    };
    let row = TableRow {
        names: &header.names,
        cells: &texts,
    };
    f_mapped(mapping, &header.binding, row, line, number, f, || cells.digest());
}

/// Hands out a row whose columns are known.
fn f_mapped(
    mapping: &Mapping,
    binding: &Binding,
    row: TableRow<'_>,
    line: &mut Vec<u8>,
    number: u64,
    f: &mut impl FnMut(InputRow<'_>),
    digest: impl Fn() -> Digest,
) {
    match mapping.write(binding, row, line) {
        Ok(()) => f(InputRow::Made {
            number,
            bytes: line,
            explain: &|message| explained(message, number, binding, row.names),
        }),
        Err(reason) => {
            let id = binding.custom_id(row);
            let problem = bad_row(&format!("row {number}"), &reason, digest(), id);
            f(InputRow::Bad { number, problem });
        }
    }
}

/// Hands out an object of JSON.
fn f_object(
    mapping: &Mapping,
    line: &mut Vec<u8>,
    number: u64,
    bytes: &[u8],
    f: &mut impl FnMut(InputRow<'_>),
) {
    let is_row = |object: &JsonObject<'_>| {
        let passes = object.is_other_form() && !mapping.needs_columns() || object.has_row();
        !(mapping.is_plain() && passes)
    };
    let Some(object) = JsonObject::read(bytes).filter(is_row) else {
        return f(InputRow::Made {
            number,
            bytes,
            explain: &|message| format!("row {number}: {message}"),
        });
    };
    let row = TableRow {
        names: &object.names,
        cells: &object.cells,
    };
    match mapping.bind(&object.names) {
        Ok(binding) => f_mapped(mapping, &binding, row, line, number, f, || Digest::of(bytes)),
        Err(reason) => {
            let problem = bad_row(&format!("row {number}"), &reason, Digest::of(bytes), None);
            f(InputRow::Bad { number, problem });
        }
    }
}

fn f_element(
    mapping: &Mapping,
    line: &mut Vec<u8>,
    number: u64,
    element: &Element<'_>,
    f: &mut impl FnMut(InputRow<'_>),
) {
    let bad = |reason: &str, digest| InputRow::Bad {
        number,
        problem: bad_row(&format!("row {number}"), reason, digest, None),
    };
    match element {
        Element::Whole(bytes) => f_object(mapping, line, number, bytes, f),
        Element::TooLarge { length, digest } => {
            let reason = format!("expected at most {MAX_LINE} bytes, got {length}");
            f(bad(&reason, *digest));
        }
        Element::Broken { reason, bytes } => f(bad(reason, Digest::of(bytes))),
    }
}

fn f_line(mapping: &Mapping, line: &mut Vec<u8>, raw: RawLine<'_>, f: &mut impl FnMut(InputRow<'_>)) {
    match raw {
        RawLine::Line { number, bytes } => f_object(mapping, line, number, bytes, f),
        RawLine::TooLong { .. } => f(InputRow::Line(raw)),
    }
}

fn bad_row(place: &str, reason: &str, digest: Digest, custom_id: Option<String>) -> BadLine {
    BadLine {
        message: format!("{place}: {reason}"),
        claim: Claim {
            custom_id,
            is_batch: false,
        },
        digest,
    }
}

/// Adds the row to a message, and the column of the field that it names.
fn explained(message: &str, row: u64, binding: &Binding, names: &[String]) -> String {
    let is_named = |field: &str| {
        [format!("`{field}`"), format!("`{field}[")]
            .iter()
            .any(|quoted| message.contains(quoted))
    };
    match binding.renamed(names).find(|(field, _)| is_named(field)) {
        Some((_, column)) => format!("row {row}, column `{column}`: {message}"),
        None => format!("row {row}: {message}"),
    }
}
