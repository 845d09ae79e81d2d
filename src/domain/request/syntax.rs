//! Parses bytes into a JSON object, or reports why it cannot.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Claim;
use super::common_fields::MAX_ID;
use super::fields::Complaint;
use super::tree::{self, Key, KeyValue, Tree};
use crate::domain::ids::shortened;

/// The top level of a line.
///
/// The entries of `body` and `metadata` hold null; the values of both are kept beside, as they were written.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) entries: Vec<KeyValue<'a>>,
    pub(super) body: Option<&'a RawValue>,
    pub(super) metadata: Option<&'a RawValue>,
}

/// Reads a line, which must be one JSON object in UTF-8.
pub(super) fn parse(bytes: &[u8]) -> Result<Line<'_>, Complaint> {
    let text = str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err(not_an_object(text.trim_ascii()));
    }
    serde_json::from_str(text).map_err(|error| not_json(text, &error))
}

/// Reads a value that was kept as it was written.
pub(super) fn parse_kept<'a>(key: &str, raw: &'a RawValue) -> Result<Tree<'a>, Complaint> {
    serde_json::from_str(raw.get())
        .map_err(|error| not_json(raw.get(), &error))
        .map_err(|complaint| Complaint(format!("in `{key}`: {complaint}")))
}

impl Claim {
    /// Reads the claim of a bad line, as far as it can be read.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let sound = match str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => bytes
                .get(..error.valid_up_to())
                .and_then(|sound| str::from_utf8(sound).ok())
                .unwrap_or_default(),
        };
        let mut keys = TopLevelKeys::default();
        let mut reader = serde_json::Deserializer::from_str(sound.trim_start_matches('\u{feff}'));
        // An error in the rest of the line does not matter: the claim is collected on the way.
        let _ = reader.deserialize_map(KeysVisitor(&mut keys));
        Self {
            custom_id: keys
                .custom_id
                .filter(|id| (1..=MAX_ID).contains(&id.chars().count())),
            is_batch: !keys.request_data && (keys.body || (keys.url && !keys.query)),
        }
    }
}

/// The keys seen at the top level of a line that cannot be read as a whole.
#[derive(Default)]
struct TopLevelKeys {
    custom_id: Option<String>,
    request_data: bool,
    body: bool,
    url: bool,
    query: bool,
}

fn not_utf8(bytes: &[u8], at: usize) -> Complaint {
    let byte = bytes.get(at).copied().unwrap_or_default();
    Complaint(format!(
        "expected UTF-8, got byte `0x{byte:02x}` at column {} (save the file as UTF-8)",
        at + 1
    ))
}

fn not_an_object(text: &str) -> Complaint {
    if text.starts_with('\u{feff}') {
        return stray_mark(1);
    }
    let got = match serde_json::from_str::<Tree<'_>>(text) {
        Ok(value) => value.kind().to_owned(),
        Err(_) if text.is_empty() => "nothing".to_owned(),
        Err(_) => format!("`{}`", shortened(text, 60)),
    };
    Complaint(format!(
        "expected a JSON object, got {got} (each line must be one whole object)"
    ))
}

fn not_json(text: &str, error: &serde_json::Error) -> Complaint {
    let column = error.column();
    let spot = text.floor_char_boundary(column.saturating_sub(1));
    let rest = text.get(spot..).unwrap_or_default();
    let place = format!(" at line {} column {column}", error.line());
    let reason = error.to_string();
    let reason = reason.strip_suffix(&place).unwrap_or(&reason);

    if let Some(at) = text.find('\0') {
        return Complaint(format!(
            "expected JSON text, got a NUL byte at column {} (is the file UTF-16 or damaged?)",
            at + 1
        ));
    }
    if error.is_eof() {
        return Complaint(format!(
            "expected a whole JSON object, got the end of the line at column {column} (is the line cut off?)"
        ));
    }
    if rest.starts_with('\u{feff}') {
        return stray_mark(spot + 1);
    }
    if reason == "recursion limit exceeded" {
        return Complaint("expected at most 127 levels of nesting, got more (flatten the value)".to_owned());
    }
    Complaint(format!(
        "failed to read JSON: {reason} at column {column}, near `{}`",
        shortened(rest, 30)
    ))
}

fn stray_mark(column: usize) -> Complaint {
    Complaint(format!(
        "expected JSON text, got a byte order mark at column {column} (remove it; only the first line may begin with one)"
    ))
}

impl<'de> Deserialize<'de> for Line<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LineVisitor)
    }
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Line<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line<'de>, A::Error> {
        let mut line = Line {
            entries: Vec::with_capacity(8),
            body: None,
            metadata: None,
        };
        while let Some(Key(key)) = map.next_key()? {
            let value = match key.as_ref() {
                "body" => {
                    line.body = Some(map.next_value()?);
                    Tree::Null
                }
                "metadata" => {
                    line.metadata = Some(map.next_value()?);
                    Tree::Null
                }
                _ => map.next_value()?,
            };
            line.entries.push((key, value));
        }
        tree::sort(&mut line.entries);
        Ok(line)
    }
}

struct KeysVisitor<'k>(&'k mut TopLevelKeys);

impl<'de> Visitor<'de> for KeysVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            match key.as_ref() {
                "custom_id" => {
                    self.0.custom_id = match map.next_value()? {
                        Tree::Text(id) => Some(id.into_owned()),
                        Tree::Number(id) => Some(id.to_string()),
                        _ => None,
                    };
                    continue;
                }
                "request_data" => self.0.request_data = true,
                "body" => self.0.body = true,
                "url" => self.0.url = true,
                "query" => self.0.query = true,
                _ => {}
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
