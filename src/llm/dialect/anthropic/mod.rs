//! Anthropic's Messages API.
//!
//! ```text
//! ChatRequest -> Body -> bytes                  bytes -> frames -> Collector -> Answer
//! ```
//!
//! The form of an answer is asked for by `output_config`. A route whose server refuses that is asked by a tool that the
//! model must call, then by the prompt alone. A Batch line is in OpenAI's dialect and is never sent to such a route.

mod body;
mod events;
mod refusals;
mod shape;

pub(in crate::llm) use body::Body;
pub use events::Collector;
pub(in crate::llm) use refusals::{VERSION, adjust, batch_line};
