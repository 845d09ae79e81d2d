//! Malformed JSON of a provider: which fault it means.

use serde_json::Value;
use serde_json::error::Category;

use super::error::{self, CallError};
use super::loose;
use crate::domain::failure::{Class, Verdict};

/// Whether a list has an error in it, as Google's lists have.
pub(in crate::llm) fn is_list_of_errors(json: &str) -> bool {
    let Some(Value::Array(items)) = loose::read(json) else {
        return false;
    };
    items
        .iter()
        .any(|item| item.get("error").is_some_and(|error| !error.is_null()))
}

/// Returns the error of a whole body that is not JSON: an HTML page, a text, or an answer that was cut.
pub(in crate::llm) fn not_an_answer(fault: &serde_json::Error, json: &str) -> CallError {
    if fault.is_eof() && json.starts_with('{') {
        let message = "the answer was cut in the middle of its JSON";
        return CallError::new(Class::Network, Verdict::Retry, message);
    }
    error::in_band(json).of_unreadable()
}

/// Returns the error of a frame that is not JSON. A frame that only ends too early was cut on its way.
pub(in crate::llm) fn malformed(fault: &serde_json::Error) -> CallError {
    match fault.classify() {
        Category::Eof => CallError::new(
            Class::Network,
            Verdict::Retry,
            "the stream was cut in the middle of an event",
        ),
        _ => CallError::new(
            Class::Server,
            Verdict::Retry,
            &format!("failed to read an event of the stream: {fault}"),
        )
        .of_unreadable(),
    }
}
