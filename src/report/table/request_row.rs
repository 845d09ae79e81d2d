//! The columns of a request that its result line does not have in this form.

use serde_json::Value;

use super::rows::output_of;
use crate::domain::failure::Failure;
use crate::domain::outcome::Finished;
use crate::domain::raw_json::{at_path, elements, text};
use crate::domain::result_line;
use crate::domain::usage::Cost;

/// The columns of a table of requests, unless others are chosen.
pub(super) const REQUEST_COLUMNS: [&str; 7] = [
    "custom_id",
    "status",
    "title",
    "content",
    "items",
    "cost_usd",
    "error",
];

/// Returns the value of such a column; `None` if the column is another one.
pub(super) fn value(finished: &Finished, column: &str) -> Option<Value> {
    Some(match column {
        "custom_id" => finished.custom_id.as_deref().into(),
        "status" => finished.status.as_str().into(),
        "title" => first_item(finished, "title").into(),
        "content" => content(finished).into(),
        "items" => items(finished).into(),
        "cost_usd" => result_line::cost(finished).map(Cost::usd).into(),
        "error" => finished
            .failure
            .as_ref()
            .map(|failure| error(failure, finished.line))
            .into(),
        _ => return None,
    })
}

/// Returns a field of the first output item.
fn first_item(finished: &Finished, field: &str) -> Option<String> {
    let result = output_of(finished)?.result.as_deref()?;
    at_path(result, &format!("0.{field}")).and_then(text)
}

/// Returns the content of the first output item, or of the answer to a Batch line.
fn content(finished: &Finished) -> Option<String> {
    if !finished.is_completion {
        return first_item(finished, "content");
    }
    let response = finished.tasks.first()?.result.as_deref()?;
    at_path(response, "body.choices.0.message.content").and_then(text)
}

/// Returns the ids of the output items.
fn items(finished: &Finished) -> Vec<String> {
    let result = output_of(finished).and_then(|task| task.result.as_deref());
    let list = result.map(elements).unwrap_or_default();
    list.into_iter()
        .filter_map(|item| at_path(item, "id").and_then(text))
        .collect()
}

/// Returns the class and the message of a failure, with the number of a bad line.
fn error(failure: &Failure, line: u64) -> String {
    let class = failure.class.as_str();
    match failure.line {
        Some(_) => format!("{class}: line {line}: {}", failure.message),
        None => format!("{class}: {}", failure.message),
    }
}
