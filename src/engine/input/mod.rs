//! Lines on their way into the store.

pub(in crate::engine) mod ingest;
pub(in crate::engine) mod reader;
