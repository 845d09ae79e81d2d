//! The ground floor: pure and synchronous. No tokio, no SQL, no HTTP, no clock, no environment.

mod arrival;
pub mod bucket;
pub mod conditions;
pub mod failure;
pub mod grounding;
pub mod ids;
pub mod item_texts;
pub mod memory;
pub mod outcome;
pub mod pace;
pub mod post;
pub mod prices;
pub mod printable;
pub mod references;
pub mod request;
pub mod result_line;
pub mod result_text;
pub mod retry;
pub mod retry_after;
pub mod sentences;
pub mod state;
pub mod stream_event;
pub mod tally;
pub mod task;
pub mod usage;
