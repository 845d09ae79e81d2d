//! A line of an OpenAI Batch file: one raw completion.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fields::{Complaint, Fields};
use super::tree::{Entry, Tree};
use crate::domain::ids::shortened;

const ENDPOINT: &str = "/v1/chat/completions";

/// One completion, sent as it stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Completion {
    /// The body, byte for byte as it was written.
    pub body: Box<RawValue>,
    /// Whether the body asks for a stream.
    pub streams: bool,
}

/// Reads the keys of a Batch line; `body` is what the body says, `written` its bytes.
pub(super) fn completion(
    top: &Fields<'_, '_>,
    body: &Tree<'_>,
    written: &RawValue,
) -> Result<Completion, Complaint> {
    no_plan(top)?;
    method(top)?;
    url(top)?;
    let place = top.at("body");
    let Tree::Object(entries) = body else {
        return Err(place.expected("an object", body));
    };
    match last(entries, "messages") {
        Some(Tree::List(_)) => {}
        Some(other) => return Err(Fields { place, entries }.at("messages").expected("a list", other)),
        None => {
            return Err(Complaint(
                "expected `body` to have a list `messages`, got none".to_owned(),
            ));
        }
    }
    Ok(Completion {
        body: written.to_owned(),
        streams: matches!(last(entries, "stream"), Some(Tree::Bool(true))),
    })
}

/// The value that most readers would take: a body is passed on even where it has a key twice.
fn last<'t, 'a>(entries: &'t [Entry<'a>], key: &str) -> Option<&'t Tree<'a>> {
    let entry = entries.iter().rfind(|(name, _)| name == key);
    entry.map(|(_, value)| value)
}

fn no_plan(top: &Fields<'_, '_>) -> Result<(), Complaint> {
    for key in ["tasks", "until"] {
        if top.get(key).is_some() {
            return Err(Complaint(format!(
                "expected no `{key}` beside `body`, got one (an OpenAI Batch line is one completion without a plan; remove the key)"
            )));
        }
    }
    Ok(())
}

fn method(top: &Fields<'_, '_>) -> Result<(), Complaint> {
    match top.text("method")? {
        None | Some("POST") => Ok(()),
        Some(other) => Err(Complaint(format!(
            "expected `method` to be `POST`, got `{}`",
            shortened(other, 60)
        ))),
    }
}

fn url(top: &Fields<'_, '_>) -> Result<(), Complaint> {
    match top.text("url")? {
        None | Some(ENDPOINT) => Ok(()),
        Some(other) => Err(Complaint(format!(
            "expected `url` to be `{ENDPOINT}`, got `{}` (other endpoints are not supported)",
            shortened(other, 60)
        ))),
    }
}
