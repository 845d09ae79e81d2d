//! Anthropic's Messages API.
//!
//! ```text
//! ChatRequest -> Body -> bytes                  bytes -> frames -> Collector -> Answer
//! ```
//!
//! `output_config` enforces the form of an answer. If a server refuses it, the route uses a tool that the model must
//! call; if that is refused too, it uses the prompt alone. A Batch line is in OpenAI's dialect and is never sent to an
//! Anthropic route.

mod body;
mod events;
mod refusals;
mod shape;

pub(in crate::llm) use body::Body;
pub use events::Collector;
pub(in crate::llm) use refusals::{VERSION, adjust, batch_line};
