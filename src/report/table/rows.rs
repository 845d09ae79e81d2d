//! The rows that a finished request gives, and the values of their columns.

use std::collections::HashSet;

use serde_json::Value;
use serde_json::value::RawValue;

use super::request_row::{self, REQUEST_COLUMNS};
use crate::domain::outcome::{Finished, TaskRecord};
use crate::domain::raw_json::{RawField, at_path, at_path_of, elements, fields, text};
use crate::domain::result_line;
use crate::domain::state::TaskStatus;
use crate::domain::usage::Cost;

/// The columns of an item that its fields do not give.
pub(super) const ITEM_COLUMNS: [&str; 4] = ["custom_id", "id", "source_urls", "cost_usd"];

/// The unit that a row stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowUnit {
    /// A request.
    Request,
    /// An item of a request's output.
    OutputItem,
    /// An item of one of these types, made by any task of a request.
    ItemOf(Vec<String>),
}

impl RowUnit {
    /// The columns that every row has, whatever its content.
    pub(super) const fn fixed_columns(&self) -> &'static [&'static str] {
        match self {
            Self::Request => &REQUEST_COLUMNS,
            Self::OutputItem | Self::ItemOf(_) => {
                &["custom_id", "id", "title", "content", "source_urls", "cost_usd"]
            }
        }
    }
}

/// One row of a table.
#[derive(Debug)]
pub struct ResultRow<'a> {
    finished: &'a Finished,
    /// The result line of its request.
    line: &'a RawValue,
    item: Option<RowItem<'a>>,
}

/// An item, with all that its request says about it.
#[derive(Debug)]
pub(super) struct RowItem<'a> {
    id: String,
    fields: Vec<RawField<'a>>,
    source_urls: Vec<String>,
    cost: Option<Cost>,
}

/// The value of a column.
#[derive(Debug)]
pub(super) enum ColumnValue<'a> {
    /// As the store holds it.
    Stored(&'a RawValue),
    /// Computed for the table.
    Computed(Value),
}

/// Returns the rows of a request, whose result line is `line`.
pub fn rows_of<'a>(unit: &RowUnit, finished: &'a Finished, line: &'a RawValue) -> Vec<ResultRow<'a>> {
    let items = match unit {
        RowUnit::Request => {
            return vec![ResultRow {
                finished,
                line,
                item: None,
            }];
        }
        _ if finished.is_completion => return Vec::new(),
        RowUnit::OutputItem => output_of(finished).map_or_else(Vec::new, |task| items_of(finished, task)),
        RowUnit::ItemOf(kinds) => {
            let is_wanted = |item: &RowItem<'_>| kinds.iter().any(|kind| kind == kind_of(&item.id));
            let tasks = finished.tasks.iter();
            tasks
                .flat_map(|task| items_of(finished, task))
                .filter(is_wanted)
                .collect()
        }
    };
    let row = |item| ResultRow {
        finished,
        line,
        item: Some(item),
    };
    items.into_iter().map(row).collect()
}

/// Returns the task whose result is the output of the request.
pub(super) fn output_of(finished: &Finished) -> Option<&TaskRecord> {
    let mut tasks = finished.tasks.iter().rev();
    tasks.find(|task| task.status == TaskStatus::Completed)
}

/// Returns the type of an item: its id without its number.
fn kind_of(id: &str) -> &str {
    id.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// Returns the items of a completed task. The items of a task share its cost equally.
fn items_of<'a>(finished: &'a Finished, task: &'a TaskRecord) -> Vec<RowItem<'a>> {
    let listed = listed(task);
    let count = u64::try_from(listed.len()).unwrap_or(1).max(1);
    let cost = result_line::task_cost(task).map(|cost| Cost(cost.0 / count));
    listed
        .into_iter()
        .map(|item| RowItem {
            source_urls: source_urls(finished, task, &item),
            id: item.id,
            fields: item.fields,
            cost,
        })
        .collect()
}

/// An item as a task lists it.
struct ListedItem<'a> {
    id: String,
    fields: Vec<RawField<'a>>,
}

fn listed(task: &TaskRecord) -> Vec<ListedItem<'_>> {
    let result = task.result.as_deref();
    let list = result.filter(|_| task.status == TaskStatus::Completed);
    let items = list.map(elements).unwrap_or_default().into_iter().map(fields);
    items
        .map(|fields| ListedItem {
            id: at_path_of(&fields, "id").and_then(text).unwrap_or_default(),
            fields,
        })
        .collect()
}

/// Returns the addresses that an item rests on: its own `url`, those of the items of its request that its `basis` leads
/// to, and those of the search results that it names.
fn source_urls(finished: &Finished, task: &TaskRecord, item: &ListedItem<'_>) -> Vec<String> {
    let mut found = own_urls(item);
    let mut open = basis(item);
    if open.is_empty() {
        return found;
    }
    let others: Vec<ListedItem<'_>> = finished.tasks.iter().flat_map(listed).collect();
    let search = task.search.as_ref().and_then(|search| search.found.as_ref());
    let mut known = HashSet::from([item.id.clone()]);
    while let Some(name) = open.pop() {
        if !known.insert(name.clone()) {
            continue;
        }
        if let Some(other) = others.iter().find(|other| other.id == name) {
            found.extend(own_urls(other));
            open.extend(basis(other));
        } else if let Some(source) = search.and_then(|search| search.source(&name)) {
            found.extend(source.url.clone());
        }
    }
    let mut distinct = HashSet::new();
    found.retain(|url| distinct.insert(url.clone()));
    found
}

fn own_urls(item: &ListedItem<'_>) -> Vec<String> {
    at_path_of(&item.fields, "url").map(texts).unwrap_or_default()
}

/// Returns the names of the material that an item rests on, the last one first.
fn basis(item: &ListedItem<'_>) -> Vec<String> {
    let mut names = at_path_of(&item.fields, "basis").map(texts).unwrap_or_default();
    names.reverse();
    names
}

/// Returns a text, or the texts of a list.
fn texts(value: &RawValue) -> Vec<String> {
    match text(value) {
        Some(text) => vec![text],
        None => elements(value).into_iter().filter_map(text).collect(),
    }
}

impl<'a> ResultRow<'a> {
    /// Returns the value of a column; `None` if the row does not have it.
    pub(super) fn value(&self, column: &str) -> Option<ColumnValue<'a>> {
        let Some(item) = &self.item else {
            return request_row::value(self.finished, column)
                .map(ColumnValue::Computed)
                .or_else(|| at_path(self.line, column).map(ColumnValue::Stored));
        };
        let computed = match column {
            "custom_id" => Some(self.finished.custom_id.as_deref().into()),
            "source_urls" => Some(item.source_urls.as_slice().into()),
            "cost_usd" => Some(item.cost.map(Cost::usd).into()),
            _ => None,
        };
        if let Some(value) = computed {
            return Some(ColumnValue::Computed(value));
        }
        if let Some(value) = at_path_of(&item.fields, column) {
            return Some(ColumnValue::Stored(value));
        }
        match column {
            // The item has no such field, and that of the request would be another item's.
            "title" | "content" | "items" => None,
            _ => request_row::value(self.finished, column)
                .map(ColumnValue::Computed)
                .or_else(|| at_path(self.line, column).map(ColumnValue::Stored)),
        }
    }

    /// The item's own fields, in their order.
    pub(super) fn fields(&self) -> &[RawField<'a>] {
        self.item.as_ref().map_or(&[], |item| &item.fields)
    }

    /// Returns the names of the item's own fields, in their order.
    pub(super) fn own_fields(&self) -> impl Iterator<Item = &str> {
        self.fields().iter().map(|(name, _)| name.as_ref())
    }

    /// The result line of its request.
    pub(super) const fn line(&self) -> &'a RawValue {
        self.line
    }

    /// Returns the name of the request, and the item's id.
    pub(super) fn names(&self) -> (String, Option<&str>) {
        let name = self.finished.custom_id.clone();
        let name = name.unwrap_or_else(|| format!("line {}", self.finished.line));
        (name, self.item.as_ref().map(|item| item.id.as_str()))
    }
}
