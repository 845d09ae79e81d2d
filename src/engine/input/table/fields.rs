//! The fields of a request that a column can fill, and how a cell becomes the value of a field.

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// A field of the flat form.
#[derive(Debug)]
pub(super) struct TableField {
    /// Its name, with the objects that it is in.
    pub(super) name: &'static str,
    kind: FieldKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldKind {
    /// A name or an id: white space around it does not count.
    Name,
    Text,
    Integer,
    Flag,
    /// Names between commas or spaces.
    Names,
    /// Texts, one a line.
    Lines,
    /// An object in JSON.
    Object,
    /// An object in JSON, or a text that becomes an object with the column as its key.
    Context,
    /// Any JSON, or a text.
    Any,
}

/// All fields. Fields of one object are neighbours, and inner objects follow their outer one.
pub(super) static FIELDS: [TableField; 28] = [
    field("custom_id", FieldKind::Name),
    field("user_id", FieldKind::Name),
    field("session_id", FieldKind::Name),
    field("tasks", FieldKind::Names),
    field("model", FieldKind::Name),
    field("until", FieldKind::Name),
    field("priority", FieldKind::Integer),
    field("metadata", FieldKind::Any),
    field("query", FieldKind::Text),
    field("interaction_type", FieldKind::Name),
    field("interaction_context", FieldKind::Context),
    field("nova3_selections", FieldKind::Object),
    field("references", FieldKind::Names),
    field("auto", FieldKind::Flag),
    field("background", FieldKind::Object),
    field("background.account_name", FieldKind::Text),
    field("background.platform", FieldKind::Text),
    field("background.target_audience", FieldKind::Text),
    field("background.industry", FieldKind::Text),
    field("background.brand_style", FieldKind::Text),
    field("background.previous_content", FieldKind::Lines),
    field("background.product", FieldKind::Object),
    field("background.product.name", FieldKind::Text),
    field("background.product.price", FieldKind::Text),
    field("background.product.points", FieldKind::Lines),
    field("background.product.proof", FieldKind::Lines),
    field("background.product.must_say", FieldKind::Lines),
    field("background.product.must_not_say", FieldKind::Lines),
];

const fn field(name: &'static str, kind: FieldKind) -> TableField {
    TableField { name, kind }
}

/// The value of a column in one row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'r> {
    /// Text of CSV.
    Text(&'r str),
    /// A value as JSON has it.
    Json(&'r RawValue),
}

impl Cell<'_> {
    /// Whether it is an object of JSON.
    pub(super) fn is_object(self) -> bool {
        matches!(self, Self::Json(raw) if raw.get().starts_with('{'))
    }

    /// Returns the cell as JSON. Null counts as an empty text.
    pub(super) fn write_json(self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => write_text(out, text),
            Self::Json(raw) if raw.get() == "null" => write_text(out, ""),
            Self::Json(raw) => out.extend_from_slice(raw.get().as_bytes()),
        }
    }
}

impl TableField {
    /// The last part of its name.
    pub(super) fn key(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// Writes the value that a cell gives to the field. Returns false for an empty cell: the field is absent. A cell that
    /// does not fit is written as it stands, and the check of the line refuses it.
    pub(super) fn write(&self, out: &mut Vec<u8>, column: &str, cell: Cell<'_>) -> bool {
        match cell {
            Cell::Text(text) => self.write_text(out, column, text),
            Cell::Json(raw) => {
                let raw = raw.get();
                let is_number = raw.starts_with(|c: char| c == '-' || c.is_ascii_digit());
                if raw == "null" {
                    return false;
                }
                if let Ok(text) = serde_json::from_str::<String>(raw) {
                    return self.write_text(out, column, &text);
                }
                if is_number && matches!(self.kind, FieldKind::Name | FieldKind::Text) {
                    write_text(out, raw);
                } else {
                    out.extend_from_slice(raw.as_bytes());
                }
                true
            }
        }
    }

    fn write_text(&self, out: &mut Vec<u8>, column: &str, text: &str) -> bool {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return false;
        }
        match self.kind {
            FieldKind::Name => write_text(out, trimmed),
            FieldKind::Text => write_text(out, text),
            FieldKind::Integer if trimmed.parse::<i64>().is_ok() => {
                write_raw(out, &trimmed.trim_start_matches('+'));
            }
            FieldKind::Flag if is_flag(trimmed, "true") => out.extend_from_slice(b"true"),
            FieldKind::Flag if is_flag(trimmed, "false") => out.extend_from_slice(b"false"),
            FieldKind::Integer | FieldKind::Flag => write_text(out, text),
            FieldKind::Names if is_json(trimmed, '[') => write_raw(out, &trimmed),
            FieldKind::Names => {
                let parts = trimmed.split(|c: char| c.is_whitespace() || ",;，；、".contains(c));
                write_list(out, parts.filter(|part| !part.is_empty()));
            }
            FieldKind::Lines if is_json(trimmed, '[') => write_raw(out, &trimmed),
            FieldKind::Lines => {
                let lines = trimmed.lines().map(str::trim);
                write_list(out, lines.filter(|line| !line.is_empty()));
            }
            FieldKind::Object | FieldKind::Context if is_json(trimmed, '{') => write_raw(out, &trimmed),
            FieldKind::Any if is_json(trimmed, '{') || is_json(trimmed, '[') => write_raw(out, &trimmed),
            FieldKind::Object | FieldKind::Any => write_text(out, text),
            FieldKind::Context => {
                out.push(b'{');
                write_text(out, column);
                out.push(b':');
                write_text(out, text);
                out.push(b'}');
            }
        }
        true
    }
}

/// Whether a cell says `true` or `false`, as spreadsheets write it.
fn is_flag(text: &str, flag: &str) -> bool {
    let others: &[&str] = match flag {
        "true" => &["true", "yes", "1", "是"],
        _ => &["false", "no", "0", "否"],
    };
    others.iter().any(|other| other.eq_ignore_ascii_case(text))
}

fn is_json(text: &str, begin: char) -> bool {
    text.starts_with(begin) && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn write_raw(out: &mut Vec<u8>, text: &impl AsRef<[u8]>) {
    out.extend_from_slice(text.as_ref());
}

/// Writes a text as a JSON string.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    // Writing to memory cannot fail, and every text has a JSON form.
    drop(serde_json::to_writer(out, text));
}

fn write_list<'t>(out: &mut Vec<u8>, texts: impl Iterator<Item = &'t str>) {
    out.push(b'[');
    for (index, text) in texts.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_text(out, text);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> &'static TableField {
        FIELDS.iter().find(|field| field.name == name).unwrap()
    }

    #[test]
    fn cells_become_values() {
        for (name, cell, expected) in [
            ("custom_id", " 007 ", Some("\"007\"")),
            ("custom_id", " ", None),
            ("query", " a\nb ", Some("\" a\\nb \"")),
            ("priority", "+5", Some("5")),
            ("priority", "5.0", Some("\"5.0\"")),
            ("auto", "FALSE", Some("false")),
            ("auto", "是", Some("true")),
            ("auto", "maybe", Some("\"maybe\"")),
            (
                "tasks",
                "insight，xhs_writing, facts",
                Some(r#"["insight","xhs_writing","facts"]"#),
            ),
            (
                "tasks",
                r#"[{"action":"facts"}]"#,
                Some(r#"[{"action":"facts"}]"#),
            ),
            (
                "background.product.points",
                "light\n\n soft ",
                Some(r#"["light","soft"]"#),
            ),
            ("interaction_context", "about tea", Some(r#"{"c":"about tea"}"#)),
            ("interaction_context", r#"{"a":1}"#, Some(r#"{"a":1}"#)),
            ("metadata", "{x", Some("\"{x\"")),
            ("metadata", "[1]", Some("[1]")),
            ("background", "text", Some("\"text\"")),
        ] {
            let mut out = Vec::new();
            let is_written = named(name).write(&mut out, "c", Cell::Text(cell));
            let written = String::from_utf8(out).unwrap();
            assert_eq!(is_written.then_some(written.as_str()), expected, "{name}: {cell}");
        }
    }

    #[test]
    fn json_values_keep_their_kind() {
        for (name, cell, expected) in [
            ("custom_id", "123", Some("\"123\"")),
            ("custom_id", "null", None),
            ("query", "\"a\\n\"", Some("\"a\\n\"")),
            ("priority", "5", Some("5")),
            ("auto", "false", Some("false")),
            ("tasks", r#"["insight"]"#, Some(r#"["insight"]"#)),
            ("tasks", "\"insight\"", Some(r#"["insight"]"#)),
        ] {
            let raw = RawValue::from_string(cell.to_owned()).unwrap();
            let mut out = Vec::new();
            let is_written = named(name).write(&mut out, "c", Cell::Json(&raw));
            let written = String::from_utf8(out).unwrap();
            assert_eq!(is_written.then_some(written.as_str()), expected, "{name}: {cell}");
        }
    }
}
