//! Results as plain text.

use serde_json::{Map, Value};

use crate::domain::outcome::Finished;
use crate::domain::printable::printable;
use crate::domain::state::TaskStatus;

/// A request's result as text: a heading, then what its last completed task made, or why it failed.
pub fn text(finished: &Finished) -> String {
    let name = finished
        .custom_id
        .clone()
        .unwrap_or_else(|| format!("line {}", finished.line));
    let body = match (&finished.failure, contents(finished)) {
        (Some(failure), _) => format!("failed ({}): {}", failure.class.as_str(), failure.message),
        (None, contents) => contents.join("\n\n"),
    };
    format!("## {}\n\n{}\n\n", printable(&name), printable(&body))
}

fn contents(finished: &Finished) -> Vec<String> {
    let last = finished
        .tasks
        .iter()
        .rev()
        .find(|task| task.status == TaskStatus::Completed);
    let Some(result) = last.and_then(|task| task.result.as_ref()) else {
        return Vec::new();
    };
    if finished.is_completion {
        let value: Value = serde_json::from_str(result.get()).unwrap_or_default();
        let content = value
            .pointer("/body/choices/0/message/content")
            .and_then(Value::as_str);
        return vec![content.unwrap_or_default().to_owned()];
    }
    let items: Vec<Map<String, Value>> = serde_json::from_str(result.get()).unwrap_or_default();
    let field =
        |item: &Map<String, Value>, name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    items
        .iter()
        .map(|item| {
            [field(item, "title"), field(item, "content")]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("\n")
        })
        .collect()
}
