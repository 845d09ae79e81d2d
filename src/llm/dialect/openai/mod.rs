//! OpenAI's Chat Completions API, which many servers implement.
//!
//! ```text
//! ChatRequest -> Body -> bytes                  bytes -> frames -> Collector -> Answer
//! VerbatimRequest -> Line -> bytes              bytes -> passed_on -> Whole, beside the body as it came
//! ```
//!
//! Deliberately absent: tool calls of an answer (no agent offers a tool) and reconnecting with `Last-Event-ID`, which
//! would send and bill a request twice.

mod assemble;
mod body;
mod chunk;
mod line;
mod passed_on;
mod shape;

pub(in crate::llm) use assemble::Assembly;
pub(in crate::llm) use body::Body;
pub use chunk::Collector;
pub(in crate::llm) use line::RoutedLine;
pub use line::{BatchFields, batch_fields};
pub use passed_on::{PassedOn, passed_on};
