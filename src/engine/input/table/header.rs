//! The header of a CSV table, and the check of its rows against it.

use super::TableError;
use super::cells::Cells;
use super::fields::Cell;
use super::mapping::{Binding, Mapping};
use crate::domain::ids::shortened;

/// The columns of a table.
pub(super) struct Header {
    pub(super) names: Vec<String>,
    pub(super) binding: Binding,
}

impl Header {
    /// Reads the first row. White space around a name does not count.
    pub(super) fn read(cells: Cells<'_>, mapping: &Mapping) -> Result<Self, TableError> {
        let mut names = Vec::with_capacity(cells.len());
        for (cell, number) in cells.iter().zip(1..) {
            let text = str::from_utf8(cell).map_err(|error| {
                TableError(format!("the header, column {number}: {}", no_text(cell, error)))
            })?;
            names.push(text.trim().to_owned());
        }
        let binding = mapping
            .bind(&names)
            .map_err(|reason| TableError(format!("the header: {reason}")))?;
        Ok(Self { names, binding })
    }

    /// Returns the cells of a row as text, or the reason why the row is bad.
    pub(super) fn texts<'r>(&self, cells: Cells<'r>) -> Result<Vec<Cell<'r>>, (Option<usize>, String)> {
        if cells.len() != self.names.len() {
            let reason = format!(
                "expected {} cells as in the header, got {}",
                self.names.len(),
                cells.len()
            );
            return Err((None, reason));
        }
        let texts = cells.iter().enumerate().map(|(at, cell)| {
            str::from_utf8(cell)
                .map(Cell::Text)
                .map_err(|error| (Some(at), no_text(cell, error)))
        });
        texts.collect()
    }

    /// The place of a cell, for a message: its row, and its column if one is at fault.
    pub(super) fn place(&self, row: u64, column: Option<usize>) -> String {
        match column.map(|at| (at, self.names.get(at))) {
            None => format!("row {row}"),
            Some((_, Some(name))) if !name.is_empty() => {
                format!("row {row}, column `{}`", shortened(name, 60))
            }
            Some((at, _)) => format!("row {row}, column {}", at + 1),
        }
    }
}

fn no_text(cell: &[u8], error: std::str::Utf8Error) -> String {
    let at = error.valid_up_to();
    match cell.get(at) {
        // No text holds this byte: it stands for bytes that could not be decoded.
        None | Some(0xff) => {
            "expected text, got bytes that are none in the encoding of the table (name it with \
                              `--input-encoding`)"
                .to_owned()
        }
        Some(byte) => format!(
            "expected text in UTF-8, got byte `0x{byte:02x}` at place {} of the cell (save the table as UTF-8, or name \
             its encoding with `--input-encoding`)",
            at + 1
        ),
    }
}
