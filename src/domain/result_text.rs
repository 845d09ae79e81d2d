//! A finished request as text for people: its name, how it ended, and the result of its last completed task.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::item_texts::BASIS;
use super::outcome::Finished;
use super::printable::printable;
use super::state::{Status, TaskStatus};

/// Returns the request's text, which ends in an empty line and has no terminal control characters.
pub fn render(finished: &Finished) -> String {
    let name = finished
        .custom_id
        .clone()
        .unwrap_or_else(|| format!("line {}", finished.line));
    let mut text = format!("## {}{}\n", single_line(&name), ending(finished));
    for paragraph in paragraphs(finished) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{}\n", printable(paragraph.trim_end()));
    }
    text.push('\n');
    text
}

/// Returns an item under the names of its request and its own, like [`render`].
pub fn render_item(request: &str, id: &str, body: &Map<String, Value>) -> String {
    let mut shown = body.clone();
    shown.remove("id");
    let text = item(&shown, true);
    format!(
        "## {} · {}\n\n{}\n\n",
        single_line(request),
        single_line(id),
        printable(text.trim_end())
    )
}

/// Puts a name on one line: a name with a line end must not look like a result of its own.
fn single_line(name: &str) -> String {
    printable(name).replace(['\n', '\t'], " ")
}

/// Returns how a request ended; empty for a completed one.
fn ending(finished: &Finished) -> String {
    let last = finished
        .tasks
        .iter()
        .rev()
        .find(|task| task.status == TaskStatus::Completed);
    match (&finished.failure, finished.status, last) {
        (Some(failure), ..) => format!(" (failed: {})", failure.class.as_str()),
        (None, Status::Completed, _) => String::new(),
        (None, Status::Paused, Some(task)) => format!(" (paused after {})", printable(&task.action)),
        (None, status, _) => format!(" ({})", status.as_str()),
    }
}

fn paragraphs(finished: &Finished) -> Vec<String> {
    if let Some(failure) = &finished.failure {
        return vec![failure.message.clone()];
    }
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
        return content.map(str::to_owned).into_iter().collect();
    }
    let items: Vec<Map<String, Value>> = serde_json::from_str(result.get()).unwrap_or_default();
    let alone = items.len() == 1;
    items.iter().map(|shown| item(shown, alone)).collect()
}

/// Formats an item under its id, by which a later line of its session can refer to it. A single item without a title is
/// shown without its id.
fn item(item: &Map<String, Value>, alone: bool) -> String {
    let field = |name: &str| item.get(name).and_then(Value::as_str);
    let title = field("title");
    let id = field("id").filter(|_| title.is_some() || !alone);
    let heading: Vec<&str> = [id, title].into_iter().flatten().collect();
    let tags: Vec<String> = item
        .get("tags")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|tag| format!("#{}", tag.trim_start_matches('#')))
        .collect();
    let parts = [
        (!heading.is_empty()).then(|| heading.join(" · ")),
        field("content").map(str::to_owned),
        (!tags.is_empty()).then(|| tags.join(" ")),
        proof(item),
        rests_on(item),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// Returns the source of a fact and its quote, or the reason why it has none.
fn proof(item: &Map<String, Value>) -> Option<String> {
    let field = |name: &str| item.get(name).and_then(Value::as_str);
    if item.get("sourced")?.as_bool()? {
        let parts = [field("source"), field("source_title"), field("url")];
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        let quote = field("quote")
            .map(|quote| format!("\n  \"{quote}\""))
            .unwrap_or_default();
        return Some(format!("→ source: {}{quote}", parts.join(" · ")));
    }
    Some(format!(
        "→ no source: {}",
        field("unproven").unwrap_or("none was named")
    ))
}

/// Returns the names of the material that an item rests on.
fn rests_on(item: &Map<String, Value>) -> Option<String> {
    let list = item.get(BASIS)?.as_array()?;
    let names: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    (!names.is_empty()).then(|| format!("→ rests on: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fact_is_shown_with_its_proof_and_a_text_with_what_it_rests_on() {
        let shown = |value: Value| item(value.as_object().unwrap(), false);
        assert_eq!(
            shown(
                json!({"id": "fact1", "content": "48 kcal", "sourced": true, "source": "s1", "quote": "48 千卡",
                "source_title": "Oats", "url": "https://example.com/1"})
            ),
            "fact1\n48 kcal\n→ source: s1 · Oats · https://example.com/1\n  \"48 千卡\""
        );
        let unproven = json!({"id": "fact2", "content": "80%", "sourced": false, "source": null,
            "unproven": "it names no source"});
        assert_eq!(shown(unproven), "fact2\n80%\n→ no source: it names no source");
        let post = json!({"id": "xhs_post1", "title": "t", "content": "c", "basis": ["hitpoint1", "fact2"]});
        assert_eq!(shown(post), "xhs_post1 · t\nc\n→ rests on: hitpoint1, fact2");
        assert_eq!(
            shown(json!({"id": "insight1", "content": "c", "basis": []})),
            "insight1\nc"
        );
    }
}
