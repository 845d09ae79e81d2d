//! Reads the body of an error as loosely as servers write them.
//!
//! `error` may be an object, a string or absent, `code` a string or a number, and the whole may be an
//! HTML page of a proxy in between. Errors are rare and small, so a `Value` does.

use serde_json::Value;

use super::redact::clean;
use super::retry_after;

/// Beyond this, no body is an error object; only its beginning is shown.
const MAX_JSON_BYTES: usize = 256 << 10;
const MAX_NAME_CHARS: usize = 80;
const MAX_TEXT_CHARS: usize = 400;
const MAX_MEMBERS: usize = 40;

/// How deep members that name a wait are looked for, and how many are kept.
const WAITS_DEPTH: u8 = 6;
const MAX_WAITS: usize = 8;

/// What an error body says, in the terms of the table in `error`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Detail {
    /// What the provider says, for a person.
    pub(super) message: String,
    /// `type`, or Google's `status`.
    pub(super) kind: Option<String>,
    /// `code`, a number spelled out.
    pub(super) code: Option<String>,
    /// Whether the body names a moderation verdict beside its code (Azure, `OpenRouter`).
    pub(super) filtered: bool,
    /// The members beside the error object.
    pub(super) members: Vec<String>,
    /// Members that may name a wait, in lower case, with what they say.
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

    /// The HTTP status that stands as the code of an error inside an HTTP 200.
    pub(super) fn status(&self) -> Option<u16> {
        let code = self.code.as_ref()?.parse().ok()?;
        (400..600).contains(&code).then_some(code)
    }

    /// Whether code or type, in lower case, is such a name.
    pub(super) fn is_called(&self, such: impl Fn(&str) -> bool) -> bool {
        [&self.code, &self.kind]
            .into_iter()
            .flatten()
            .any(|found| such(&found.to_lowercase()))
    }

    /// The message in lower case.
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
        // `MiniMax` keeps its own members beside those of an answer.
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

/// The first of a list; a list of errors is judged by its first one.
fn first_of(value: &Value) -> &Value {
    match value {
        Value::Array(items) => items.first().unwrap_or(value),
        _ => value,
    }
}

/// Members whose names speak of a wait, wherever the provider puts them: `retryDelay` in Google's details, headers that
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

/// The payload of an error that came in event-stream dress.
fn first_event(text: &str) -> &str {
    text.lines()
        .find_map(|line| line.strip_prefix("data:").or_else(|| line.strip_prefix("error:")))
        .unwrap_or("")
}

/// A code or type; a number is spelled out, and anything that could be an echo is cleaned.
fn name_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    Some(clean(&text, MAX_NAME_CHARS)).filter(|text| !text.is_empty())
}

/// The first member that servers put their message into, else the whole object.
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

/// Azure names its filter in `innererror`; `OpenRouter` lists what moderation flagged.
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
