//! Material of unknown content, to test a template at the start.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Serde};
use minijinja::{ErrorKind, Value, context};

use super::parts::{ChosenItem, Comment, ItemText, Named, PromptParts, RoundPart, SearchHit, TaskPart};
use super::row::RowColumns;
use super::task_names::TaskNames;

/// A value of any form: each of its fields is such a value again, and a loop over it has no turn.
#[derive(Debug)]
struct AnyValue;

impl Object for AnyValue {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, _key: &Value) -> Option<Value> {
        Some(any())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        // A value that holds itself could not be compared.
        Enumerator::Empty
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("probe")
    }
}

pub(super) fn any() -> Value {
    Value::from_object(AnyValue)
}

/// Whether a template may fail in this way for one value and succeed for another.
pub(super) fn depends_on_values(error: &minijinja::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidOperation | ErrorKind::CannotUnpack | ErrorKind::BadSerialization
    )
}

/// Returns the row, the metadata and the earlier tasks that templates name. The columns are texts, or values of any
/// form.
pub(super) fn data(row: &RowColumns, tasks: &TaskNames, texts: bool) -> Value {
    let row = row.names.iter().map(|name| {
        let value = if texts { Value::from("probe") } else { any() };
        (name.clone(), value)
    });
    let tasks = tasks
        .names
        .iter()
        .map(|name| (name.clone(), Value::from(vec![any()])));
    context! {
        row => Value::from_pairs(row),
        metadata => any(),
        tasks => Value::from_pairs(tasks),
    }
}

/// Returns material with every part present.
pub(super) fn full() -> Value {
    let text = || "probe".to_owned();
    let piece = || ItemText {
        id: "insight1".to_owned(),
        text: text(),
        is_sourced: false,
    };
    let named = || Named {
        name: text(),
        key: text(),
        value: text(),
    };
    Value::from(Serde(PromptParts {
        input: text(),
        query: Some("another probe".to_owned()),
        background: vec![named()],
        product: vec![named()],
        wording: vec![named()],
        previous: vec![text()],
        context: Some(text()),
        task_context: Some(text()),
        chosen: vec![ChosenItem {
            id: text(),
            text: text(),
            comment: Some(text()),
        }],
        comments: vec![Comment {
            id: text(),
            comment: text(),
        }],
        references: vec![piece()],
        earlier: vec![TaskPart {
            task_id: text(),
            action: text(),
            items: vec![piece()],
        }],
        rounds: vec![RoundPart {
            query: Some(text()),
            items: vec![piece()],
        }],
        results: vec![SearchHit {
            id: text(),
            title: text(),
            url: text(),
            text: text(),
        }],
        ..PromptParts::default()
    }))
}

/// Returns material with a task only.
pub(super) fn bare() -> Value {
    Value::from(Serde(PromptParts {
        input: "probe".to_owned(),
        ..PromptParts::default()
    }))
}
