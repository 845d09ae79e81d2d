//! Writes finished lines to files and to standard output, and verifies files.

pub(in crate::engine) mod cursors;
pub(in crate::engine) mod exporter;
pub(in crate::engine) mod pages;
pub(in crate::engine) mod printer;
pub(in crate::engine) mod verify;
