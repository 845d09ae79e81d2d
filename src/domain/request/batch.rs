//! A line of an OpenAI Batch file: one raw completion.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fields::{Complaint, Fields};
use super::tree::{KeyValue, Tree};
use crate::domain::ids::shortened;

/// The endpoint of a Batch line, named by the last part of its `url`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// Chat Completions.
    #[default]
    Chat,
    /// The older completions of a prompt.
    Completions,
    /// The Responses API.
    Responses,
    /// Embeddings.
    Embeddings,
}

impl Endpoint {
    /// All endpoints; one whose path ends with the path of another stands before it.
    const ALL: [Self; 4] = [Self::Chat, Self::Completions, Self::Responses, Self::Embeddings];

    /// The last part of its address.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Completions => "/completions",
            Self::Responses => "/responses",
            Self::Embeddings => "/embeddings",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    fn is_chat(&self) -> bool {
        *self == Self::Chat
    }

    /// Returns the endpoint of a `url` with any prefix: `/v4/chat/completions` of Zhipu,
    /// `/openai/deployments/NAME/chat/completions` of Azure.
    fn of(url: &str) -> Option<Self> {
        let path = url.split(['?', '#']).next()?.trim_end_matches('/');
        Self::ALL
            .into_iter()
            .find(|endpoint| path.ends_with(endpoint.path()))
    }
}

/// One completion, sent as it stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Completion {
    /// The body, byte for byte as it was written.
    pub body: Box<RawValue>,
    /// Whether the body asks for a stream.
    pub streams: bool,
    /// The endpoint that it is sent to.
    #[serde(default, skip_serializing_if = "Endpoint::is_chat")]
    pub endpoint: Endpoint,
}

/// Reads the keys of a Batch line; `body` is the parsed body, `written` its bytes.
pub(super) fn completion(
    top: &Fields<'_, '_>,
    body: &Tree<'_>,
    written: &RawValue,
) -> Result<Completion, Complaint> {
    no_plan(top)?;
    method(top)?;
    let endpoint = endpoint(top)?;
    let place = top.at("body");
    let Tree::Object(entries) = body else {
        return Err(place.expected("an object", body));
    };
    match last(entries, "messages") {
        _ if endpoint != Endpoint::Chat => {}
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
        endpoint,
    })
}

/// Returns the last value of a key, as most readers take it: a body is passed on even if it has a key twice.
fn last<'t, 'a>(entries: &'t [KeyValue<'a>], key: &str) -> Option<&'t Tree<'a>> {
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

fn endpoint(top: &Fields<'_, '_>) -> Result<Endpoint, Complaint> {
    let Some(url) = top.text("url")? else {
        return Ok(Endpoint::Chat);
    };
    Endpoint::of(url).ok_or_else(|| {
        Complaint(format!(
            "expected `url` to end in `/chat/completions`, `/completions`, `/responses` or `/embeddings`, got `{}` (other \
             endpoints are not supported)",
            shortened(url, 60)
        ))
    })
}
