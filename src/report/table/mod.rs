//! Results as tables that people open: one row for each request or for each item, with chosen columns.

mod columns;
mod request_row;
mod rows;
mod writer;

pub use columns::{ColumnError, ColumnScan};
pub use rows::{ResultRow, RowUnit, rows_of};
pub use writer::{TableForm, TableWriter};
