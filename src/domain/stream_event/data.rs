//! The `data` of a stream event.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::StepRow;
use crate::domain::failure::Class;
use crate::domain::state::Status;

/// A task of a plan.
#[derive(serde::Serialize)]
pub(super) struct PlanStep<'a> {
    id: &'a str,
    step: usize,
    action: &'a str,
    description: &'a str,
    full_input: &'a str,
    status: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl<'a> PlanStep<'a> {
    /// Creates the step with this number, from 1.
    pub(super) fn of((step, row): (usize, &'a StepRow)) -> Self {
        Self {
            id: &row.task_id,
            step,
            action: &row.action,
            description: &row.description,
            full_input: &row.input,
            status: "pending",
            kind: "plan_step",
        }
    }
}

/// The error of a task or a request.
#[derive(serde::Serialize)]
pub(super) struct ErrorData<'a> {
    pub(super) class: Class,
    pub(super) message: &'a str,
}

/// A status message about a request.
#[derive(serde::Serialize)]
pub(super) struct Note<'a> {
    status: &'static str,
    content: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl<'a> Note<'a> {
    pub(super) const fn of(status: Status, content: &'a str) -> Self {
        Self {
            status: status.as_str(),
            content,
            kind: "status",
        }
    }
}

/// One sentence of an answer.
#[derive(serde::Serialize)]
pub(super) struct SentenceData<'a> {
    pub(super) id: &'a str,
    pub(super) content: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
}

/// A stored item; its keys keep their order and its values their spelling, which `serde_json::Map` would change.
pub(super) struct EventItem<'a> {
    /// Its id, such as `insight1`.
    pub(super) id: String,
    entries: Vec<(String, &'a RawValue)>,
}

impl EventItem<'_> {
    /// The word that the id begins with.
    pub(super) fn kind(&self) -> &str {
        self.id.trim_end_matches(|c: char| c.is_ascii_digit())
    }

    /// Returns the text under `key`, if there is one.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let (_, value) = self.entries.iter().find(|(known, _)| known == key)?;
        serde_json::from_str(value.get()).ok()
    }
}

/// Writes the item as it is stored, with its type at the end. A `type` that the model wrote is left out, or the key
/// would occur twice.
impl Serialize for EventItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.entries.iter().filter(|(key, _)| key != "type") {
            map.serialize_entry(key, value)?;
        }
        map.serialize_entry("type", self.kind())?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for EventItem<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = EventItem<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EventItem<'de>, A::Error> {
        let mut item = EventItem {
            id: String::new(),
            entries: Vec::new(),
        };
        while let Some(entry) = map.next_entry()? {
            item.entries.push(entry);
        }
        item.id = item
            .text("id")
            .ok_or_else(|| A::Error::custom("expected an item to have a text `id`, got none"))?;
        Ok(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_keeps_its_order_and_spelling() {
        let text = r#"{"id":"xhs_post12","b":1.0,"$serde_json::private::RawValue":"x","a":{"d": 1e400,"c":"\ud800"}}"#;
        let item: EventItem<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(item.kind(), "xhs_post");
        assert_eq!(
            serde_json::to_string(&item).unwrap(),
            format!(r#"{},"type":"xhs_post"}}"#, text.strip_suffix('}').unwrap())
        );
    }

    #[test]
    fn text_is_what_a_string_says() {
        let item: EventItem<'_> =
            serde_json::from_str(r#"{"id":"answer1","a":"\u597d","b":1,"c":"\ud800"}"#).unwrap();
        assert_eq!(
            ["id", "a", "b", "c", "d"].map(|key| item.text(key)),
            [
                Some("answer1".to_owned()),
                Some("好".to_owned()),
                None,
                None,
                None
            ]
        );
    }
}
