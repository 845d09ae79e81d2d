//! An answer that came without streaming.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::answer::Answer;
use super::chunk::Collector;
use super::error::{self, CallError};
use super::incoming::Incoming;
use super::loose;
use super::sse::Limits;
use super::tokens::{self, Counted};
use super::vendor::End;
use crate::domain::failure::{Class, Verdict};
use crate::domain::usage::Usage;

/// Reads the body of an HTTP 200 whose content type is not an event stream.
///
/// Its bound is the transport's: the body is in memory already. Blank lines in front are `DeepSeek`'s
/// keep-alive while the request waits its turn. A body that is an event stream after all is read as one,
/// since some gateways mislabel what they pass on.
pub fn plain(body: &[u8]) -> Result<Answer, CallError> {
    let body = trimmed(body);
    if is_stream(body) {
        return stream(body).map(|(answer, _)| answer);
    }
    Collector::new(usize::MAX).whole(text(body)?)
}

/// What of a body that is passed on as it came is read: an error, the count of tokens, the tier, the finish reason.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// The tokens that the server counted and that can be believed.
    pub usage: Option<Usage>,
    /// Why its count is not believed.
    pub doubt: Option<String>,
    /// The tier of service.
    pub tier: Option<String>,
    /// The object in place of the body, where that was a stream or no JSON.
    pub instead: Option<String>,
}

/// Reads the body of a good answer to a Batch line; `chat` if it has to have choices.
///
/// It fails with an error in the body, and with an answer that the server gave up. Nothing else of it has to be as
/// the documentation says.
pub fn passed_on(body: &[u8], chat: bool) -> Result<Whole, CallError> {
    let body = trimmed(body);
    if is_stream(body) {
        let (answer, object) = stream(body)?;
        return Ok(Whole {
            usage: answer.usage,
            doubt: answer.doubt,
            tier: answer.tier,
            instead: object.map(|object| object.to_string()),
        });
    }
    let json = text(body)?;
    let strict: Result<&RawValue, _> = serde_json::from_str(json);
    match strict {
        Ok(_) => read_whole(json, chat),
        Err(fault) => {
            let value = loose::read(json).ok_or_else(|| super::unreadable::not_an_answer(&fault, json))?;
            let json = super::assemble::mended(value).to_string();
            let whole = read_whole(&json, chat)?;
            Ok(Whole {
                instead: Some(json),
                ..whole
            })
        }
    }
}

/// The members of an object, the last of two with one name.
type Members<'a> = HashMap<String, &'a RawValue>;

fn read_whole(json: &str, chat: bool) -> Result<Whole, CallError> {
    let members: Members<'_> =
        serde_json::from_str(json).map_err(|_| error::in_band(json).of_unreadable())?;
    let first = first_choice(&members);
    if has_error(&members) {
        return Err(error::in_band(json));
    }
    if chat && first.is_none() {
        return Err(error::in_band(json).of_unreadable());
    }
    let reason: Option<String> = first.as_ref().and_then(|choice| read(choice, "finish_reason"));
    let reason = reason.filter(|reason| End::of(reason) != End::Unnamed);
    if let Some(reason) = reason.as_deref().filter(|reason| End::of(reason) == End::Broken) {
        let message = format!("the server broke off the answer (finish reason `{reason}`)");
        return Err(CallError::new(Class::Server, Verdict::Retry, &message));
    }
    if chat && reason.is_none() && first.as_ref().is_some_and(says_nothing) {
        return Err(CallError::new(
            Class::Server,
            Verdict::Retry,
            "the answer has neither content nor a finish reason",
        ));
    }
    let (usage, doubt) = match members.get("usage").and_then(|raw| tokens::read(raw.get())) {
        Some(Counted::Tokens(usage)) => (Some(usage), None),
        Some(Counted::Absurd(doubt)) => (None, Some(doubt)),
        None => (None, None),
    };
    Ok(Whole {
        usage,
        doubt,
        tier: read(&members, "service_tier"),
        instead: None,
    })
}

fn first_choice<'a>(members: &Members<'a>) -> Option<Members<'a>> {
    let choices: Vec<&RawValue> = read(members, "choices")?;
    choices
        .first()
        .map(|choice| serde_json::from_str(choice.get()).unwrap_or_default())
}

fn has_error(members: &Members<'_>) -> bool {
    let filled = |key: &str| members.get(key).is_some_and(|raw| !super::shape::is_blank(raw));
    let base = || -> Option<i64> {
        let base: Value = read(members, "base_resp")?;
        base.get("status_code")?.as_i64()
    };
    let object: Option<String> = read(members, "object");
    filled("error") || object.as_deref() == Some("error") || base().is_some_and(|code| code != 0)
}

fn says_nothing(choice: &Members<'_>) -> bool {
    let message: Members<'_> = read(choice, "message").unwrap_or_default();
    message
        .iter()
        .filter(|(name, _)| *name != "role")
        .all(|(_, raw)| super::shape::is_blank(raw))
}

fn read<'a, T: Deserialize<'a>>(members: &Members<'a>, key: &str) -> Option<T> {
    serde_json::from_str(members.get(key)?.get()).ok()
}

fn trimmed(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii()
}

fn is_stream(body: &[u8]) -> bool {
    [&b"data:"[..], b"event:", b":"]
        .iter()
        .any(|start| body.starts_with(start))
}

fn text(body: &[u8]) -> Result<&str, CallError> {
    std::str::from_utf8(body).map_err(|_| error::in_band(&String::from_utf8_lossy(body)))
}

fn stream(body: &[u8]) -> Result<(Answer, Option<Value>), CallError> {
    let limits = Limits {
        event_bytes: usize::MAX,
        stream_bytes: usize::MAX,
    };
    let mut incoming = Incoming::new(limits, usize::MAX).assembling(usize::MAX);
    incoming.push(body)?;
    incoming.end_with_object()
}
