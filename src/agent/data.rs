//! The data of a prompt beside its texts: the row, the metadata, and the items of earlier tasks with their fields.

use minijinja::value::Serde;
use serde_json::{Map, Value};

use super::definition::Agent;
use super::parts::PromptParts;
use super::run::TaskInput;
use crate::domain::references::ItemId;
use crate::store::StoredItem;

impl PromptParts {
    /// Adds the metadata of the request, and the items of the earlier tasks that the agent names. A task without a result
    /// has no items.
    #[must_use]
    pub(super) fn with_data(mut self, agent: &Agent, task: TaskInput<'_>) -> Self {
        let metadata = task.metadata.and_then(|raw| serde_json::from_str(raw.get()).ok());
        self.metadata = metadata
            .filter(|value| *value != Value::Null)
            .unwrap_or_else(|| Value::Object(Map::new()));
        let named = agent
            .tasks
            .names
            .iter()
            .map(|name| (name.clone(), Value::Array(Vec::new())));
        self.tasks = named.collect();
        for earlier in &task.material.earlier {
            if agent.tasks.whole || agent.tasks.names.contains(&earlier.action) {
                let items = self
                    .tasks
                    .entry(&earlier.action)
                    .or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(items) = items {
                    items.extend(earlier.items.iter().map(whole_item));
                }
            }
        }
        self
    }

    /// Returns the parts that a system message may name.
    pub(super) fn data(&self) -> minijinja::Value {
        minijinja::context! {
            row => minijinja::Value::from(Serde(&self.row)),
            metadata => minijinja::Value::from(Serde(&self.metadata)),
            tasks => minijinja::Value::from(Serde(&self.tasks)),
        }
    }

    /// Removes all other earlier items of the subject's kind. In a pipeline they are the subjects of the other parts.
    pub(super) fn keep_only_earlier(&mut self, kind: &str, subject: &str) {
        let stays = |id: &str| id == subject || ItemId::parse(id).is_none_or(|parsed| parsed.kind != kind);
        for task in &mut self.earlier {
            task.items.retain(|item| stays(&item.id));
        }
        self.earlier.retain(|task| !task.items.is_empty());
        for items in self.tasks.values_mut().filter_map(Value::as_array_mut) {
            items.retain(|item| item["id"].as_str().is_none_or(stays));
        }
    }
}

/// Returns an item with its id.
fn whole_item(item: &StoredItem) -> Value {
    let mut body = item.body.clone();
    body.insert("id".to_owned(), Value::from(item.id.as_str()));
    Value::Object(body)
}
