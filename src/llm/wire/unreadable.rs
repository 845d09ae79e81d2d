//! JSON of a provider that is broken: which fault it is.

use serde_json::Value;
use serde_json::error::Category;

use super::error::{self, CallError};
use super::loose;
use crate::domain::failure::{Class, Verdict};

/// Whether the list has an error in it, as Google's has.
pub(in crate::llm) fn is_list_of_errors(json: &str) -> bool {
    let Some(Value::Array(items)) = loose::read(json) else {
        return false;
    };
    items
        .iter()
        .any(|item| item.get("error").is_some_and(|error| !error.is_null()))
}

/// A whole body that is no JSON: an HTML page, a text, or an answer of which only the beginning came.
pub(in crate::llm) fn not_an_answer(fault: &serde_json::Error, json: &str) -> CallError {
    if fault.is_eof() && json.starts_with('{') {
        let message = "the answer was cut in the middle of its JSON";
        return CallError::new(Class::Network, Verdict::Retry, message);
    }
    error::in_band(json).of_unreadable()
}

/// A frame that is no JSON. One that merely ends too early was cut on its way.
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
