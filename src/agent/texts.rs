//! Texts of a model without content, and texts that are equal.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// Whether a text has a letter or a digit. A text without one, such as a copied `…`, counts as empty.
pub(super) fn says_something(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

/// Whether an item is usable: its `content` has a letter or a digit, or, without a `content`, any of its values has
/// one. A number or a boolean counts as text. An item without fields is usable.
pub(super) fn is_usable(body: &Map<String, Value>) -> bool {
    match body.get("content") {
        None | Some(Value::Null) => body.is_empty() || body.values().any(holds_something),
        Some(content) => holds_something(content),
    }
}

/// Returns the fields of an item that hold a placeholder: a text of characters without any letter or digit. An empty
/// title counts as one.
pub(super) fn placeholders(body: &Map<String, Value>) -> impl Iterator<Item = &str> {
    body.iter()
        .filter(|(key, value)| {
            value.as_str().is_some_and(|text| {
                !says_something(text) && (key.as_str() == "title" || !text.trim().is_empty())
            })
        })
        .map(|(key, _)| key.as_str())
}

fn holds_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => says_something(text),
        Value::Array(list) => list.iter().any(holds_something),
        Value::Object(body) => body.values().any(holds_something),
    }
}

/// Keeps the first of equal entries. Returns how many were dropped. White space and case do not count.
pub(super) fn keep_distinct<T>(list: &mut Vec<T>, value: impl Fn(&T) -> Value) -> usize {
    let before = list.len();
    let mut known = HashSet::new();
    list.retain(|entry| known.insert(plain(&value(entry)).to_string()));
    before - list.len()
}

/// Returns a value in the form that is compared.
fn plain(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let words: Vec<&str> = text.split_whitespace().collect();
            Value::from(words.join(" ").to_lowercase())
        }
        Value::Array(list) => list.iter().map(plain).collect(),
        // A sorted list of pairs ignores the order of an object's keys.
        Value::Object(body) => {
            let mut pairs: Vec<(&String, Value)> =
                body.iter().map(|(key, value)| (key, plain(value))).collect();
            pairs.sort_by_key(|(key, _)| *key);
            pairs
                .into_iter()
                .map(|(key, value)| Value::from(vec![Value::from(key.as_str()), value]))
                .collect()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_without_a_letter_or_a_digit_says_nothing() {
        for text in ["", "  ", "…", "...", "——", "【】：", "。。。", "🎉", "\n-\n"] {
            assert!(!says_something(text), "{text}");
        }
        for text in ["a", "好", "…7…", "é", "か"] {
            assert!(says_something(text), "{text}");
        }
    }

    #[test]
    fn an_item_needs_its_content() {
        for (body, usable) in [
            (json!({"title": "t", "content": "c", "hook": "…"}), true),
            (json!({"title": "t", "content": "…"}), false),
            (json!({"title": "…", "content": "c"}), true),
            (json!({"content": null, "source": "s"}), true),
            (json!({"word": "…", "list": ["…", "x"]}), true),
            (json!({"word": "…", "list": ["…"], "none": null}), false),
            (json!({"score": 3}), true),
            (json!({}), true),
        ] {
            assert_eq!(is_usable(body.as_object().unwrap()), usable, "{body}");
        }
        let body = json!({"hook": "…", "music": "", "tags": ["…"], "title": ""});
        let found: Vec<&str> = placeholders(body.as_object().unwrap()).collect();
        assert_eq!(found, ["hook", "title"]);
    }

    #[test]
    fn the_first_of_equal_values_is_kept() {
        let mut list = vec![
            json!({"a": "One  two", "b": [1]}),
            json!({"b": [1], "a": " one two\n"}),
            json!({"a": "one two", "b": [2]}),
        ];
        assert_eq!(keep_distinct(&mut list, Clone::clone), 1);
        assert_eq!(
            list,
            [
                json!({"a": "One  two", "b": [1]}),
                json!({"a": "one two", "b": [2]})
            ]
        );
    }
}
