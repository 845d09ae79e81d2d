//! Texts of the page: bounded, and without characters that steer a terminal or the direction of other text.

use serde_json::{Map, Value};

use crate::domain::printable::printable;

/// The most entries of a list or an object that a page shows.
const MOST_ENTRIES: usize = 200;

/// The deepest level of a value that a page shows.
const DEEPEST: usize = 12;

/// Numbers above this one are not exact in a browser, so that they are shown as texts.
const EXACT: f64 = 9_007_199_254_740_991.0;

/// How much of each text is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextBound {
    /// The most characters of one text.
    pub(super) chars: usize,
}

impl TextBound {
    /// Returns the beginning of a text, with a note if it is cut.
    pub(super) fn text(self, text: &str) -> String {
        let Some((end, _)) = text.char_indices().nth(self.chars) else {
            return printable(text);
        };
        let (shown, rest) = text.split_at(end);
        format!(
            "{} … [{} more characters]",
            printable(shown),
            rest.chars().count()
        )
    }

    /// Returns a value with all its texts cut in this way.
    pub(super) fn value(self, value: &Value) -> Value {
        self.nested(value, 0)
    }

    fn nested(self, value: &Value, level: usize) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Number(number) => match number.as_f64() {
                Some(float) if float.abs() <= EXACT => value.clone(),
                _ => number.to_string().into(),
            },
            Value::Array(_) | Value::Object(_) if level >= DEEPEST => self.text(&value.to_string()).into(),
            Value::Array(list) => {
                let shown = list.iter().take(MOST_ENTRIES);
                let mut shown: Vec<Value> = shown.map(|entry| self.nested(entry, level + 1)).collect();
                if list.len() > MOST_ENTRIES {
                    shown.push(format!("… [{} more entries]", list.len() - MOST_ENTRIES).into());
                }
                Value::Array(shown)
            }
            Value::Object(object) => Value::Object(self.fields(object, level)),
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }

    fn fields(self, object: &Map<String, Value>, level: usize) -> Map<String, Value> {
        let name = |name: &str| TextBound { chars: 100 }.text(name);
        let shown = object.iter().take(MOST_ENTRIES);
        let mut shown: Map<String, Value> = shown
            .map(|(key, value)| (name(key), self.nested(value, level + 1)))
            .collect();
        if object.len() > MOST_ENTRIES {
            let note = format!("[{} more entries]", object.len() - MOST_ENTRIES);
            shown.insert("…".to_owned(), note.into());
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_cut_with_a_note_and_steers_nothing() {
        let bound = TextBound { chars: 3 };
        assert_eq!(bound.text("abc"), "abc");
        assert_eq!(bound.text("中文字符"), "中文字 … [1 more characters]");
        assert_eq!(bound.text("a\u{202e}\u{1b}"), "a");
    }

    #[test]
    fn large_values_are_cut_everywhere() {
        let mut deep = json!("x");
        for _ in 0..100 {
            deep = json!([deep]);
        }
        let bound = TextBound { chars: 5 };
        assert!(bound.value(&deep).to_string().len() < 100);
        let long: Vec<u32> = (0..1_000).collect();
        assert_eq!(
            bound.value(&json!(long)).as_array().unwrap().len(),
            MOST_ENTRIES + 1
        );
        assert_eq!(
            bound.value(&json!({"n": 12_345_678_901_234_567_890_u64})),
            json!({"n": "12345678901234567890"})
        );
    }
}
