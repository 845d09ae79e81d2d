//! Strings of a JSON answer that are not in the table of samples.

use serde_json::Value;

use super::topic::AnswerLanguage;

/// Returns a string that is recognisable as invented: `[mock] cover 1`. A Chinese one contains Chinese, because an
/// answer must be in the language of its question.
pub(crate) fn filler(name: &str, language: AnswerLanguage, item: usize) -> String {
    let name = if name.is_empty() { "text" } else { name };
    let word = match language {
        AnswerLanguage::Chinese => "示例 ",
        AnswerLanguage::English => "",
    };
    format!("[mock] {name} {word}{}", item + 1)
}

/// Returns a string of a common format.
pub(crate) fn formatted(schema: &Value, item: usize) -> Option<String> {
    let n = item % 28 + 1;
    Some(match schema["format"].as_str()? {
        "date" => format!("2026-01-{n:02}"),
        "time" => format!("08:{n:02}:00Z"),
        "date-time" => format!("2026-01-{n:02}T08:00:00Z"),
        "email" => format!("reader{n}@example.com"),
        "uri" | "url" => format!("https://example.com/source/{n}"),
        "uuid" => format!("00000000-0000-4000-8000-{n:012}"),
        _ => return None,
    })
}

/// Returns whether a string has no greatest length and no pattern.
pub(crate) fn is_free(schema: &Value) -> bool {
    schema["maxLength"].is_null() && schema["pattern"].is_null()
}

/// Returns `text` in the length that `schema` requires.
pub(crate) fn sized(mut text: String, schema: &Value) -> String {
    let least = bound(schema, "minLength").unwrap_or(0);
    text.extend(std::iter::repeat_n(
        '.',
        least.saturating_sub(text.chars().count()),
    ));
    let end = bound(schema, "maxLength").and_then(|most| text.char_indices().nth(most));
    text.truncate(end.map_or(text.len(), |(end, _)| end));
    text
}

/// Returns the number of `key`, if it is a length or a count.
pub(crate) fn bound(schema: &Value, key: &str) -> Option<usize> {
    schema[key].as_u64().and_then(|bound| usize::try_from(bound).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lengths_hold() {
        for (least, most) in [(0, 0), (0, 4), (3, 4), (300, 310), (12, 1000)] {
            let made = sized(
                filler("cover", AnswerLanguage::Chinese, 0),
                &json!({"minLength": least, "maxLength": most}),
            );
            assert!((least..=most).contains(&made.chars().count()), "{made}");
        }
        assert_eq!(sized("热泵".to_owned(), &json!({})), "热泵");
    }

    #[test]
    fn formats_hold() {
        let made = |format: &str, item| formatted(&json!({"format": format}), item);
        assert_eq!(made("date", 27).as_deref(), Some("2026-01-28"));
        assert_eq!(made("date", 28).as_deref(), Some("2026-01-01"));
        assert_eq!(
            made("uuid", 0).as_deref(),
            Some("00000000-0000-4000-8000-000000000001")
        );
        assert_eq!((made("hostname", 0), formatted(&json!({}), 0)), (None, None));
    }
}
