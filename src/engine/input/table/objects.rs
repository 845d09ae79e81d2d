//! A JSON object as a row of a table: its keys in the order of the text, its values as they are written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::Cell;

/// An object.
#[derive(Default)]
pub(super) struct JsonObject<'o> {
    pub(super) names: Vec<String>,
    pub(super) cells: Vec<Cell<'o>>,
}

impl<'o> JsonObject<'o> {
    /// Reads an object; `None` if the bytes are none.
    pub(super) fn read(bytes: &'o [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Whether it is a request in another form than the flat one.
    pub(super) fn is_other_form(&self) -> bool {
        self.names
            .iter()
            .any(|name| matches!(name.as_str(), "request_data" | "body"))
    }

    /// Whether it is a request that has its columns in an object `row` already.
    pub(super) fn has_row(&self) -> bool {
        let mut fields = self.names.iter().zip(&self.cells);
        fields.any(|(name, cell)| name == "row" && cell.is_object())
    }
}

impl<'de: 'o, 'o> Deserialize<'de> for JsonObject<'o> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = JsonObject<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonObject<'de>, A::Error> {
        let mut object = JsonObject::default();
        while let Some(name) = map.next_key::<String>()? {
            let value: &'de RawValue = map.next_value()?;
            object.names.push(name);
            object.cells.push(Cell::Json(value));
        }
        Ok(object)
    }
}
