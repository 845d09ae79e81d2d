//! Reads input lines and stores them.

mod bytes;
mod encoding;
pub(in crate::engine) mod form;
pub(in crate::engine) mod ingest;
pub(in crate::engine) mod reader;
pub(in crate::engine) mod table;
