//! Bodies in the form in which a Batch line returns them.

use serde_json::value::RawValue;

/// Returns a body as one line of JSON: unchanged except for the line ends between its tokens. A body that is not JSON
/// becomes a string. A body that is one line of JSON already is not copied.
pub(super) fn one_line(body: Vec<u8>) -> Box<RawValue> {
    let mut text = String::from_utf8(body)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    text.truncate(text.trim_end().len());
    let start = text.len() - text.trim_start_matches('\u{feff}').trim_start().len();
    text.drain(..start);
    if text.contains(['\n', '\r']) {
        return RawValue::from_string(without_line_ends(&text)).unwrap_or_else(|_| as_string(&text));
    }
    if serde_json::from_str::<&RawValue>(&text).is_err() {
        return as_string(&text);
    }
    RawValue::from_string(text).unwrap_or_default()
}

fn as_string(text: &str) -> Box<RawValue> {
    serde_json::value::to_raw_value(text).unwrap_or_default()
}

/// Replaces the line ends of a JSON text. In valid JSON they stand only between tokens, because they are escaped
/// inside a string.
fn without_line_ends(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_becomes_one_line_without_changing_what_it_says() {
        let pretty = b"\n\n{\n  \"a\": 1.50,\r\n  \"b\": \"x\\ny\"\n}\n";
        let line = one_line(pretty.to_vec());
        assert_eq!(line.get(), r#"{ "a": 1.50, "b": "x\ny" }"#);
        assert_eq!(
            one_line(b"<html>\nno</html>".to_vec()).get(),
            "\"<html>\\nno</html>\""
        );
        assert_eq!(one_line(Vec::new()).get(), "\"\"");
    }
}
