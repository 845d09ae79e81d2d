//! A JSON value that borrows from its line.
//!
//! It differs from `serde_json::Value` in three ways. It allocates no string that has no escapes. It keeps double keys,
//! so that they can be refused; otherwise the last one would win silently. It gives no key a hidden meaning.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Number, Value};

/// A key and its value.
pub(super) type KeyValue<'a> = (Cow<'a, str>, Tree<'a>);

/// A JSON value; the entries of an object are sorted by key, equal keys in the order of the line.
#[derive(Debug, Clone)]
pub(super) enum Tree<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<Tree<'a>>),
    Object(Vec<KeyValue<'a>>),
}

impl Tree<'_> {
    /// The kind of the value, for a message.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// Returns an owned copy, or `None` if it is nested deeper than `levels`.
    pub(super) fn to_value(&self, levels: usize) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.clone().into_owned()),
            Self::List(items) => {
                let inner = levels.checked_sub(1)?;
                let items = items.iter().map(|item| item.to_value(inner));
                Value::Array(items.collect::<Option<_>>()?)
            }
            Self::Object(entries) => {
                let inner = levels.checked_sub(1)?;
                let entries = entries
                    .iter()
                    .map(|(key, value)| Some((key.clone().into_owned(), value.to_value(inner)?)));
                Value::Object(entries.collect::<Option<Map<_, _>>>()?)
            }
        })
    }
}

/// Sorts the entries of an object by key.
pub(super) fn sort(entries: &mut [KeyValue<'_>]) {
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
}

/// Returns the place of the first entry with this key among the sorted entries of an object. The search is binary,
/// because a line of ten megabytes may have half a million entries, each with its own search.
pub(super) fn place_of(entries: &[KeyValue<'_>], key: &str) -> Option<usize> {
    let place = entries.partition_point(|(name, _)| name.as_ref() < key);
    entries
        .get(place)
        .is_some_and(|(name, _)| name == key)
        .then_some(place)
}

/// Writes the canonical form: sorted keys, no whitespace, one spelling for each string and number.
impl Serialize for Tree<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(entries) => serializer.collect_map(entries.iter().map(|(key, value)| (key, value))),
        }
    }
}

impl<'de> Deserialize<'de> for Tree<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Tree<'de>, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Tree<'de>, E> {
        Ok(Tree::Bool(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree<'de>, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree<'de>, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree<'de>, E> {
        Ok(Number::from_f64(number).map_or(Tree::Null, Tree::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            entries.push((key, map.next_value()?));
        }
        sort(&mut entries);
        Ok(Tree::Object(entries))
    }
}

/// A key that is borrowed if it has no escapes.
pub(super) struct Key<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        serde_json::to_string(&serde_json::from_str::<Tree<'_>>(text).unwrap()).unwrap()
    }

    #[test]
    fn the_canonical_form_is_sorted_and_compact() {
        for (text, expected) in [
            (
                r#" { "b" : [ 1 , 2.50 , null ] , "a" : "\u00e9\/" } "#,
                r#"{"a":"é/","b":[1,2.5,null]}"#,
            ),
            (
                r#"{"z":{"y":1,"x":true},"":""}"#,
                r#"{"":"","z":{"x":true,"y":1}}"#,
            ),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "1.8446744073709552e+19"),
            (r#"{"a":2,"a":1}"#, r#"{"a":2,"a":1}"#),
        ] {
            assert_eq!(canonical(text), expected);
        }
    }

    #[test]
    fn an_entry_is_found_by_its_key() {
        let tree: Tree<'_> = serde_json::from_str(r#"{"b":1,"c":2,"a":3,"b":4}"#).unwrap();
        let Tree::Object(entries) = tree else {
            panic!("expected an object");
        };
        let place = |key: &str| place_of(&entries, key);
        assert_eq!([place("a"), place("b"), place("c")], [Some(0), Some(1), Some(3)]);
        assert_eq!([place(""), place("bb"), place("d")], [None; 3]);
        assert_eq!(place_of(&[], "a"), None);
    }

    #[test]
    fn a_value_is_made_only_within_its_depth() {
        let tree: Tree<'_> = serde_json::from_str(r#"[{"a":[1]}]"#).unwrap();
        assert_eq!(tree.to_value(3), Some(serde_json::json!([{"a":[1]}])));
        assert_eq!(tree.to_value(2), None);
    }
}
