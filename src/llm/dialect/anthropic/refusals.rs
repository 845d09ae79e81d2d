//! Errors of Anthropic beyond the common table, and the refusal of Batch lines.

use crate::domain::failure::{Class, Verdict};
use crate::llm::wire::error::CallError;

/// The version of the API, in its header `anthropic-version`.
pub(in crate::llm) const VERSION: &str = "2023-06-01";

/// Adjusts the verdict of an error. A request that is too large for Anthropic's 32 MB may be small enough for another
/// route.
pub(in crate::llm) fn adjust(error: CallError) -> CallError {
    match error.code.as_deref() {
        Some("request_too_large") => CallError {
            verdict: Verdict::Elsewhere,
            ..error
        },
        _ => error,
    }
}

/// Returns the refusal of a Batch line, whose body is in OpenAI's dialect.
pub(in crate::llm) fn batch_line(route: &str) -> CallError {
    let message = format!(
        "a Batch line is written for OpenAI's API, and route `{route}` speaks Anthropic's (give the line a chain with a \
         route of `dialect = \"openai\"`)"
    );
    CallError::new(Class::BadRequest, Verdict::Elsewhere, &message)
}
