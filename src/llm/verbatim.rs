//! Bodies as a Batch line returns them.

use serde_json::value::RawValue;

/// A body as one line of JSON: as it came, without line ends between its parts; what is no JSON becomes a string.
pub(super) fn one_line(body: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let single = if text.contains(['\n', '\r']) {
        without_line_ends(text)
    } else {
        text.to_owned()
    };
    RawValue::from_string(single)
        .or_else(|_| serde_json::value::to_raw_value(text))
        .unwrap_or_default()
}

/// Line ends can stand in JSON only between its parts: inside a string they are escaped.
fn without_line_ends(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_becomes_one_line_without_changing_what_it_says() {
        let pretty = b"\n\n{\n  \"a\": 1.50,\r\n  \"b\": \"x\\ny\"\n}\n";
        let line = one_line(pretty);
        assert_eq!(line.get(), r#"{ "a": 1.50, "b": "x\ny" }"#);
        assert_eq!(one_line(b"<html>\nno</html>").get(), "\"<html>\\nno</html>\"");
        assert_eq!(one_line(b"").get(), "\"\"");
    }
}
