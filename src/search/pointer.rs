//! JSON pointers into an answer. The first pointer of a list that finds a value is used.

use serde_json::Value;

/// Pointers (RFC 6901), in order of preference.
#[derive(Debug, Clone, Default)]
pub(super) struct Pointers(Vec<String>);

impl Pointers {
    /// Returns the pointers, or the first text that is not a pointer.
    pub(super) fn new(written: Vec<String>) -> Result<Self, String> {
        match written.iter().find(|pointer| !is_pointer(pointer)) {
            Some(wrong) => Err(wrong.clone()),
            None => Ok(Self(written)),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the first text that is not blank. A number or a boolean is written as text. The texts of an array are
    /// joined with line ends.
    pub(super) fn text(&self, value: &Value) -> Option<String> {
        self.0
            .iter()
            .filter_map(|pointer| value.pointer(pointer).and_then(written))
            .find(|text| !text.trim().is_empty())
    }

    /// Returns the value of the first pointer that exists, if it is a number or a text that holds one. Negative and
    /// infinite numbers are rejected.
    pub(super) fn number(&self, value: &Value) -> Option<f64> {
        let found = self.0.iter().find_map(|pointer| value.pointer(pointer))?;
        let number = match found {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        };
        number.filter(|number| number.is_finite() && *number >= 0.0)
    }

    /// Returns the first array.
    pub(super) fn array<'v>(&self, value: &'v Value) -> Option<&'v Vec<Value>> {
        self.0
            .iter()
            .find_map(|pointer| value.pointer(pointer)?.as_array())
    }

    /// Returns the first object.
    pub(super) fn object<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        let mut found = self.0.iter().filter_map(|pointer| value.pointer(pointer));
        found.find(|value| value.is_object())
    }
}

/// Whether a text is a JSON pointer: it is empty or starts with `/`.
pub(super) fn is_pointer(text: &str) -> bool {
    text.is_empty() || text.starts_with('/')
}

/// Returns a value as text. Returns none for `null`, an object and an array without texts.
pub(super) fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
            (!texts.is_empty()).then(|| texts.join("\n"))
        }
        Value::Null | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(written: &[&str]) -> Pointers {
        Pointers::new(written.iter().map(|&text| text.to_owned()).collect()).unwrap()
    }

    #[test]
    fn the_first_pointer_that_finds_a_value_is_used() {
        let value = json!({"a": " ", "b": null, "c": ["x", 1, "y"], "d": 7, "e": "1.5", "f": "1.2万"});
        assert_eq!(
            pointers(&["/a", "/b", "/c"]).text(&value).as_deref(),
            Some("x\ny")
        );
        assert_eq!(pointers(&["/d"]).text(&value).as_deref(), Some("7"));
        assert_eq!(pointers(&["/a", "/none"]).text(&value), None);
        assert_eq!(pointers(&["/none", "/e"]).number(&value), Some(1.5));
        assert_eq!(pointers(&["/f"]).number(&value), None);
        assert_eq!(pointers(&["/d", "/c"]).array(&value).map(Vec::len), Some(3));
        assert_eq!(pointers(&[""]).array(&json!([1])).map(Vec::len), Some(1));
        assert_eq!(
            Pointers::new(vec!["/a".to_owned(), "b".to_owned()]).unwrap_err(),
            "b"
        );
    }
}
