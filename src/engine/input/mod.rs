//! Reads input lines and stores them.

pub(in crate::engine) mod ingest;
pub(in crate::engine) mod reader;
