//! Reads the body of an error as loosely as servers write it.
//!
//! `error` may be an object, a string or absent. `code` may be a string or a number. The body may be an HTML page of a
//! proxy. Errors are rare and small, so a `Value` is cheap enough.

use serde_json::Value;

use super::redact::clean;
use super::retry_after;

/// The size limit of an error object. Only the beginning of a larger body is shown.
const MAX_JSON_BYTES: usize = 256 << 10;
const MAX_NAME_CHARS: usize = 80;
const MAX_TEXT_CHARS: usize = 400;
const MAX_MEMBERS: usize = 40;

/// The depth in which members with a wait are searched, and the number that is kept.
const WAITS_DEPTH: u8 = 6;
const MAX_WAITS: usize = 8;

/// The content of an error body, in the terms of the table in `vendor`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Detail {
    /// The provider's message for people.
    pub(super) message: String,
    /// `type`, or Google's `status`.
    pub(super) kind: Option<String>,
    /// `code`. A number is converted to text.
    pub(super) code: Option<String>,
    /// Whether the body has a moderation verdict beside its code (Azure, `OpenRouter`).
    pub(super) filtered: bool,
    /// The members beside the error object.
    pub(super) members: Vec<String>,
    /// Members that may hold a wait: the name in lower case, and the value.
    pub(super) waits: Vec<(String, String)>,
}

impl Detail {
    pub(super) fn read(body: &[u8]) -> Self {
        if body.len() > MAX_JSON_BYTES {
            return Self::text(&String::from_utf8_lossy(&body[..MAX_TEXT_CHARS * 4]));
        }
        let text = String::from_utf8_lossy(body);
        let text = text.trim_start_matches('\u{feff}').trim();
        match serde_json::from_str(text).or_else(|_| serde_json::from_str(first_event(text))) {
            Ok(value) => Self::object(first_of(&value)),
            Err(_) => Self::text(text),
        }
    }

    /// Returns the HTTP status in the code of an error inside an HTTP 200.
    pub(super) fn status(&self) -> Option<u16> {
        let code = self.code.as_ref()?.parse().ok()?;
        (400..600).contains(&code).then_some(code)
    }

    /// Whether the code or the type, in lower case, matches.
    pub(super) fn is_called(&self, such: impl Fn(&str) -> bool) -> bool {
        [&self.code, &self.kind]
            .into_iter()
            .flatten()
            .any(|found| such(&found.to_lowercase()))
    }

    /// Returns the message in lower case.
    pub(super) fn said(&self) -> String {
        self.message.to_lowercase()
    }

    fn object(value: &Value) -> Self {
        let inner = ["error", "errors"]
            .iter()
            .find_map(|key| value.get(key).map(first_of));
        let (error, own_message) = match inner {
            Some(Value::String(message)) => (value, Some(message.as_str())),
            Some(inner @ Value::Object(_)) => (inner, None),
            _ => (value, value.as_str()),
        };
        // `MiniMax` puts its own members beside those of an answer.
        let base = value.get("base_resp").filter(|base| base.is_object());
        let error = base.unwrap_or(error);
        let name = |key: &str| error.get(key).and_then(name_text);
        let based = || Some(format!("base_resp.{}", name_text(base?.get("status_code")?)?));
        let numbered = |key: &str| name(key).map(|number| format!("{key}.{number}"));
        let mut message = own_message.map_or_else(|| message_text(error), str::to_owned);
        if let Some(raw) = error.pointer("/metadata/raw").and_then(Value::as_str) {
            message = format!("{message}: {raw}");
        }
        let mut waits = Vec::new();
        gather_waits(value, WAITS_DEPTH, &mut waits);
        Self {
            message: clean(&message, MAX_TEXT_CHARS),
            kind: name("type")
                .filter(|kind| kind != "error")
                .or_else(|| name("status")),
            code: name("code").or_else(based).or_else(|| numbered("error_code")),
            filtered: is_filtered(error),
            members: value
                .as_object()
                .map(|members| members.keys().take(MAX_MEMBERS).cloned().collect())
                .unwrap_or_default(),
            waits,
        }
    }

    fn text(text: &str) -> Self {
        let message = if text.starts_with('<') {
            html_text(text)
        } else {
            clean(text, MAX_TEXT_CHARS)
        };
        Self {
            message,
            ..Self::default()
        }
    }
}

/// Returns the first entry of a list. A list of errors is classified by its first one.
fn first_of(value: &Value) -> &Value {
    match value {
        Value::Array(items) => items.first().unwrap_or(value),
        _ => value,
    }
}

/// Gathers the members whose names mean a wait at any place: `retryDelay` in Google's details, or headers that
/// `OpenRouter` passes on in its metadata.
fn gather_waits(value: &Value, depth: u8, waits: &mut Vec<(String, String)>) {
    let Some(deeper) = depth.checked_sub(1) else {
        return;
    };
    match value {
        Value::Array(items) => {
            for item in items.iter().take(MAX_MEMBERS) {
                gather_waits(item, deeper, waits);
            }
        }
        Value::Object(members) => {
            for (name, member) in members.iter().take(MAX_MEMBERS) {
                match member {
                    Value::Array(_) | Value::Object(_) => gather_waits(member, deeper, waits),
                    _ => {
                        let name = name.to_lowercase();
                        if waits.len() < MAX_WAITS
                            && retry_after::names_a_wait(&name)
                            && let Some(text) = name_text(member)
                        {
                            waits.push((name, text));
                        }
                    }
                }
            }
        }
        _ => {}
    }
}

/// Returns the payload of an error that was sent as an event stream.
fn first_event(text: &str) -> &str {
    text.lines()
        .find_map(|line| line.strip_prefix("data:").or_else(|| line.strip_prefix("error:")))
        .unwrap_or("")
}

/// Returns a code or type as text. Text that could be an echo is cleaned.
fn name_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    Some(clean(&text, MAX_NAME_CHARS)).filter(|text| !text.is_empty())
}

/// Returns the first member that servers use for their message, else the whole object.
fn message_text(error: &Value) -> String {
    ["message", "detail", "msg", "error_msg", "status_msg", "errors"]
        .iter()
        .filter_map(|key| error.get(key))
        .find(|value| !value.is_null())
        .map_or_else(
            || error.to_string(),
            |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        )
}

/// Whether a filter refused the request. Azure names its filter in `innererror`; `OpenRouter` lists what moderation
/// flagged.
fn is_filtered(error: &Value) -> bool {
    let inner = ["innererror", "inner_error"]
        .iter()
        .find_map(|key| error.get(key));
    inner.is_some_and(|inner| {
        inner.get("content_filter_result").is_some()
            || inner.get("code").and_then(Value::as_str) == Some("ResponsibleAIPolicyViolation")
    }) || error.pointer("/metadata/reasons").is_some()
        || error.pointer("/metadata/flagged_input").is_some()
}

fn html_text(html: &str) -> String {
    let title = html
        .split_once("<title>")
        .or_else(|| html.split_once("<TITLE>"))
        .and_then(|(_, rest)| rest.split_once("</"))
        .map(|(title, _)| clean(title, MAX_NAME_CHARS));
    match title {
        Some(title) if !title.is_empty() => format!("HTML page, title `{title}`"),
        _ => "HTML page".to_owned(),
    }
}
