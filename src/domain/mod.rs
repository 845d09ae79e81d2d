//! The ground floor: pure and synchronous. No tokio, no SQL, no HTTP, no clock, no environment.

pub mod bucket;
pub mod failure;
pub mod ids;
pub mod outcome;
pub mod printable;
pub mod request;
pub mod result_line;
pub mod retry;
pub mod state;
pub mod tally;
pub mod usage;
