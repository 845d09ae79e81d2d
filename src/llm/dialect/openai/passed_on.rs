//! The response to a Batch line, which is passed on unchanged.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::assemble;
use crate::config::Dialect;
use crate::domain::failure::{Class, Verdict};
use crate::domain::usage::Usage;
use crate::llm::dialect::plain::{is_stream, stream, text, trimmed};
use crate::llm::wire::error::{self, CallError};
use crate::llm::wire::loose;
use crate::llm::wire::text::is_blank;
use crate::llm::wire::tokens::{self, TokenCount};
use crate::llm::wire::unreadable;
use crate::llm::wire::vendor::FinishKind;

/// The parts of a response that are read before it is passed on: the token counts and the tier.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PassedOn {
    /// The token counts of the server, if they are plausible.
    pub usage: Option<Usage>,
    /// The reason why the counts are not plausible.
    pub doubt: Option<String>,
    /// The tier of service.
    pub tier: Option<String>,
    /// The object that replaces a body that was a stream or malformed JSON.
    pub instead: Option<String>,
}

/// Reads the body of a successful answer to a Batch line. A `chat` must have choices.
///
/// It fails if the body holds an error, or if the server broke off the answer. No other deviation from the
/// documentation is an error.
pub fn passed_on(body: &[u8], chat: bool) -> Result<PassedOn, CallError> {
    let body = trimmed(body);
    if is_stream(body) {
        let (answer, object) = stream(Dialect::OpenAi, body)?;
        return Ok(PassedOn {
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
            let value = loose::read(json).ok_or_else(|| unreadable::not_an_answer(&fault, json))?;
            let json = assemble::mended(value).to_string();
            let whole = read_whole(&json, chat)?;
            Ok(PassedOn {
                instead: Some(json),
                ..whole
            })
        }
    }
}

/// The members of an object. The last one of a repeated name counts.
type Members<'a> = HashMap<String, &'a RawValue>;

fn read_whole(json: &str, chat: bool) -> Result<PassedOn, CallError> {
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
    let reason = reason.filter(|reason| FinishKind::of(reason) != FinishKind::Unnamed);
    if let Some(reason) = reason
        .as_deref()
        .filter(|reason| FinishKind::of(reason) == FinishKind::Broken)
    {
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
        Some(TokenCount::Tokens(usage)) => (Some(usage), None),
        Some(TokenCount::Absurd(doubt)) => (None, Some(doubt)),
        None => (None, None),
    };
    Ok(PassedOn {
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
    let filled = |key: &str| members.get(key).is_some_and(|raw| !is_blank(raw));
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
        .all(|(_, raw)| is_blank(raw))
}

fn read<'a, T: Deserialize<'a>>(members: &Members<'a>, key: &str) -> Option<T> {
    serde_json::from_str(members.get(key)?.get()).ok()
}
