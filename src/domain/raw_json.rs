//! JSON that is looked into without being parsed as a whole: the order of keys and the digits of numbers stay.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A key of a JSON object, and its value.
pub type RawField<'a> = (Cow<'a, str>, &'a RawValue);

/// Returns the fields of an object in their order. A value that is no object has none.
pub fn fields(value: &RawValue) -> Vec<RawField<'_>> {
    if !value.get().starts_with('{') {
        return Vec::new();
    }
    serde_json::from_str(value.get()).map_or_else(|_| Vec::new(), |FieldList(list)| list)
}

/// Returns the elements of a list. A value that is no list has none.
pub fn elements(value: &RawValue) -> Vec<&RawValue> {
    if !value.get().starts_with('[') {
        return Vec::new();
    }
    serde_json::from_str(value.get()).unwrap_or_default()
}

/// Returns the text of a string; `None` if the value is no string of valid Unicode.
pub fn text(value: &RawValue) -> Option<String> {
    if !value.get().starts_with('"') {
        return None;
    }
    serde_json::from_str(value.get()).ok()
}

/// Returns the value at a path such as `tasks.0.route`: keys of objects and places in lists, from 0. A key may hold dots
/// itself.
pub fn at_path<'a>(value: &'a RawValue, path: &str) -> Option<&'a RawValue> {
    if value.get().starts_with('[') {
        let (place, rest) = split(path);
        let element = elements(value).get(place.parse::<usize>().ok()?).copied()?;
        return rest.map_or(Some(element), |rest| at_path(element, rest));
    }
    at_path_of(&fields(value), path)
}

/// Returns the value at a path below these fields.
pub fn at_path_of<'a>(fields: &[RawField<'a>], path: &str) -> Option<&'a RawValue> {
    if let Some((_, found)) = fields.iter().find(|(key, _)| key == path) {
        return Some(found);
    }
    fields.iter().find_map(|(key, value)| {
        let rest = path.strip_prefix(key.as_ref())?.strip_prefix('.')?;
        at_path(value, rest)
    })
}

fn split(path: &str) -> (&str, Option<&str>) {
    path.split_once('.')
        .map_or((path, None), |(first, rest)| (first, Some(rest)))
}

/// A key that is borrowed if it has no escapes.
#[derive(Deserialize)]
struct FieldName<'a>(#[serde(borrow)] Cow<'a, str>);

struct FieldList<'a>(Vec<RawField<'a>>);

impl<'de> Deserialize<'de> for FieldList<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = FieldList<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some((FieldName(key), value)) = map.next_entry::<FieldName<'de>, &'de RawValue>()? {
            list.push((key, value));
        }
        Ok(FieldList(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_into_objects_and_lists() {
        let text = r#"{"b":{"c":[1,{"d":12345678901234567890123}]},"a.b":"dot","a":{"b":2,"x.y":3},"n":null,"\u4e2d":"k"}"#;
        let value: Box<RawValue> = serde_json::from_str(text).unwrap();
        let keys: Vec<String> = fields(&value)
            .into_iter()
            .map(|(key, _)| key.into_owned())
            .collect();
        assert_eq!(keys, ["b", "a.b", "a", "n", "中"]);
        for (path, found) in [
            ("b.c.1.d", Some("12345678901234567890123")),
            ("b.c.0", Some("1")),
            ("a.b", Some("\"dot\"")),
            ("a.x.y", Some("3")),
            ("n", Some("null")),
            ("中", Some("\"k\"")),
            ("b.c.2", None),
            ("b.c.x", None),
            ("n.x", None),
            ("", None),
            ("b.", None),
        ] {
            assert_eq!(at_path(&value, path).map(RawValue::get), found, "{path}");
        }
        assert!(elements(&value).is_empty() && super::text(&value).is_none());
    }

    #[test]
    fn depth_and_odd_numbers_are_no_obstacle() {
        let deep = format!(
            r#"{{"deep":{}{},"odd":1e999}}"#,
            "[".repeat(2000),
            "]".repeat(2000)
        );
        let value: Box<RawValue> = serde_json::from_str(&deep).unwrap();
        assert_eq!(at_path(&value, "odd").map(RawValue::get), Some("1e999"));
        let surrogate: Box<RawValue> = serde_json::from_str(r#""\ud800""#).unwrap();
        assert_eq!(super::text(&surrogate), None);
    }
}
