//! How both engines store items and read them back.

use serde_json::{Map, Value};

use super::{Earlier, Part, PartOutcome, StoredItem};
use crate::domain::failure::Failure;
use crate::domain::outcome::Product;
use crate::domain::task::TaskNo;
use crate::domain::task_search::TaskSearch;

/// Renders an item's body as JSON with `title` and `content` first, because people read these first.
pub(super) fn readable(body: &Map<String, Value>) -> Result<String, serde_json::Error> {
    let first = ["title", "content"];
    let rest = body.iter().filter(|(key, _)| !first.contains(&key.as_str()));
    let fields = first
        .iter()
        .filter_map(|key| body.get_key_value(*key))
        .chain(rest);
    let mut text = String::from("{");
    for (key, value) in fields {
        if text.len() > 1 {
            text.push(',');
        }
        text += &serde_json::to_string(key)?;
        text.push(':');
        text += &serde_json::to_string(value)?;
    }
    text.push('}');
    Ok(text)
}

/// Parses the items of a result. A raw response has none.
pub(super) fn items(result: &str) -> Vec<StoredItem> {
    let parsed: Vec<Map<String, Value>> = serde_json::from_str(result).unwrap_or_default();
    parsed
        .into_iter()
        .filter_map(|mut body| match body.remove("id") {
            Some(Value::String(id)) => Some(StoredItem { id, body }),
            _ => None,
        })
        .collect()
}

/// For a request without a session: returns the wanted items from its own results.
pub(super) fn own(earlier: &[Earlier], wanted: &[String]) -> Vec<StoredItem> {
    let known = || earlier.iter().flat_map(|task| &task.items);
    wanted
        .iter()
        .filter_map(|id| known().find(|item| item.id == *id).cloned())
        .collect()
}

/// Converts the row of a settled part.
pub(super) fn outcome(
    part: Part,
    result: Option<&str>,
    error: Option<&str>,
) -> Result<PartOutcome, serde_json::Error> {
    let end = match error {
        Some(error) => Err(serde_json::from_str(error)?),
        None => Ok(serde_json::from_str(result.unwrap_or("[]"))?),
    };
    Ok(PartOutcome { part, end })
}

/// Renders the result of a subtask: the items of a part, or what a search found. `Err` holds the reason why the subtask
/// cannot have the result.
pub(super) fn subtask_result(task: TaskNo, product: &Product) -> Result<String, String> {
    let written = match product {
        Product::Items(items) if task.is_part() => serde_json::to_string(items),
        Product::Search(search) if task.is_search() => serde_json::to_string(search),
        Product::Items(_) | Product::Search(_) | Product::Response(_) => {
            return Err(format!("{task} has the result of another kind of task"));
        }
    };
    written.map_err(|error| error.to_string())
}

/// Converts the row of a settled search.
pub(super) fn search_outcome(
    result: Option<&str>,
    error: Option<&str>,
) -> Result<Result<TaskSearch, Failure>, serde_json::Error> {
    match error {
        Some(error) => Ok(Err(serde_json::from_str(error)?)),
        None => Ok(Ok(serde_json::from_str(result.unwrap_or("{}"))?)),
    }
}
