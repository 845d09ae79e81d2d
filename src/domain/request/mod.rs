//! Checks one input line: bytes become a request with an identity, or a bad line with its reason.
//!
//! ```text
//! bytes → LineSplitter → read_line: syntax → form → keys → digests → the form's own rules → Request
//! ```
//!
//! A line is parsed once. Deliberately absent: files, line numbers beyond counting, and the occurrence number of equal
//! lines, which only a store can know. A bad line is a value, not an error of the reader.

mod action;
mod batch;
mod brief;
mod common_fields;
mod fields;
mod identity;
mod keys;
mod lines;
mod notes;
mod product;
mod selections;
mod stops;
mod syntax;
#[cfg(test)]
mod tests;
mod tree;

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use self::action::{Action, content_type, is_name};
pub use self::batch::{Completion, Endpoint};
pub use self::brief::{Background, Brief, Interaction};
pub use self::common_fields::GivenTask;
pub use self::identity::{Digest, Identity};
pub use self::lines::{LineSplitter, MAX_LINE, RawLine};
pub use self::product::ProductBrief;
pub use self::selections::{Selection, Selections};
pub use self::stops::Stops;

use self::fields::{Complaint, Fields, ValuePlace};
use self::syntax::Line;
use self::tree::{KeyValue, Tree};
use super::ids::{SessionId, UserId};

/// How strictly lines are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Unknown keys move to `metadata`, under their path, instead of being an error. They are then not part of the
    /// content.
    pub lenient: bool,
    /// A request needs no query, because the prompts of its tasks come from the command line or from agents that name none.
    pub without_query: bool,
}

/// A line that is a request.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The request.
    pub request: Request,
    /// Its identity.
    pub identity: Identity,
    /// The digest of the line's canonical JSON without the notes: a change makes a new version.
    pub content: Digest,
    /// The digest of the notes: metadata, priority and where the queue stops. A change rewrites the result line or lets
    /// the queue go on; stored results are not paid for again.
    pub notes: Digest,
}

/// A line that is not a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadLine {
    /// The error, and the cure if there is one.
    pub message: String,
    /// The line's own `custom_id` and form, as far as they could be read.
    pub claim: Claim,
    /// The digest of the line's bytes, which is its identity.
    pub digest: Digest,
}

/// The fields that can be read from a bad line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// Its `custom_id`, if it has a valid length.
    pub custom_id: Option<String>,
    /// Whether it is an OpenAI Batch line.
    pub is_batch: bool,
}

/// The request of one line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// The client's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_id: Option<String>,
    /// The user.
    pub user: UserId,
    /// The session; a request without one waits for no other request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The route or chain to use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The priority: smaller comes first.
    pub priority: i32,
    /// The client's own data for the result, as it was written; null counts as absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
    /// The work itself.
    pub work: Work,
}

/// The two kinds of work.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// One raw completion, from an OpenAI Batch line.
    Completion(Completion),
    /// Work that agents plan and do.
    Brief(Box<Brief>),
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Envelope,
    Batch,
    Flat,
}

/// Reads one line, given without its line ending.
pub fn read_line(bytes: &[u8], rules: Rules) -> Result<Accepted, BadLine> {
    if bytes.len() > MAX_LINE {
        return Err(BadLine::too_long(
            bytes.len() as u64,
            Digest::of(bytes),
            Claim::of(bytes),
        ));
    }
    accept(bytes, rules).map_err(|Complaint(message)| BadLine {
        message,
        claim: Claim::of(bytes),
        digest: Digest::of(bytes),
    })
}

fn accept(bytes: &[u8], rules: Rules) -> Result<Accepted, Complaint> {
    let mut line = syntax::parse(bytes)?;
    let form = Form::of(&line)?;
    keys::check_once(&line.entries, ValuePlace::Top)?;
    let strays = keys::sift(&mut line.entries, form);
    if !strays.is_empty() && !rules.lenient {
        return Err(keys::unknown(&strays));
    }
    line.fill_body()?;

    let top = Fields {
        place: ValuePlace::Top,
        entries: &line.entries,
    };
    let work = work(form, &top, line.body, rules)?;
    let priority = common_fields::priority(&top)?;
    let metadata = notes::with_strays(line.metadata, &strays)?;
    let stops = work.stops();
    let notes = notes::digest(metadata.as_deref(), priority, &stops)?;
    let content = Digest::of_json(&Content(&line.entries));
    let custom_id = common_fields::custom_id(&top)?;
    Ok(Accepted {
        identity: custom_id
            .clone()
            .map_or(Identity::Content(content), Identity::Custom),
        request: Request {
            custom_id,
            user: common_fields::user(&top)?,
            session: common_fields::session(&top)?,
            model: common_fields::model(&top)?,
            priority,
            metadata,
            work,
        },
        content,
        notes,
    })
}

fn work(
    form: Form,
    top: &Fields<'_, '_>,
    written: Option<&RawValue>,
    rules: Rules,
) -> Result<Work, Complaint> {
    let brief = match (form, written) {
        (Form::Batch, Some(written)) => {
            let body = top.get("body").unwrap_or(&Tree::Null);
            return batch::completion(top, body, written).map(Work::Completion);
        }
        (Form::Envelope, _) => match top.object("request_data")? {
            Some(fields) => brief::brief(&fields, top, rules)?,
            None => return Err(top.at("request_data").expected("an object", &Tree::Null)),
        },
        _ => brief::brief(top, top, rules)?,
    };
    Ok(Work::Brief(Box::new(brief)))
}

impl Form {
    fn of(line: &Line<'_>) -> Result<Self, Complaint> {
        let has = |key: &str| line.entries.iter().any(|(name, _)| name == key);
        match (has("request_data"), line.body.is_some()) {
            (true, true) => Err(Complaint(
                "expected either `request_data` or `body`, got both (remove one)".to_owned(),
            )),
            (true, false) => Ok(Self::Envelope),
            (false, true) => Ok(Self::Batch),
            (false, false) if has("url") && !has("query") => Err(Complaint(
                "expected a `body` beside `url`, got none (an OpenAI Batch line carries its request there)"
                    .to_owned(),
            )),
            (false, false) if has("messages") && !has("query") => Err(Complaint(
                "expected `messages` inside a `body`, got them without one (wrap the request: \
                 `{\"custom_id\":\"1\",\"body\":{\"model\":…,\"messages\":…}}`)"
                    .to_owned(),
            )),
            (false, false) => Ok(Self::Flat),
        }
    }
}

impl Line<'_> {
    /// Reads the body into its entry, so that it is part of the content.
    fn fill_body(&mut self) -> Result<(), Complaint> {
        if let Some(raw) = self.body
            && let Some((_, value)) = self.entries.iter_mut().find(|(key, _)| key == "body")
        {
            *value = syntax::parse_kept("body", raw)?;
        }
        Ok(())
    }
}

/// The content of a line: everything except metadata, priority and where its queue stops for a person.
struct Content<'t, 'a>(&'t [KeyValue<'a>]);

/// `request_data` without `auto`.
struct Inner<'t, 'a>(&'t [KeyValue<'a>]);

impl Serialize for Content<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.0 {
            match (key.as_ref(), value) {
                ("metadata" | "priority" | "until" | "auto", _) => {}
                ("request_data", Tree::Object(entries)) => map.serialize_entry(key, &Inner(entries))?,
                _ => map.serialize_entry(key, value)?,
            }
        }
        map.end()
    }
}

impl Serialize for Inner<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let content = self.0.iter().filter(|(key, _)| key != "auto");
        serializer.collect_map(content.map(|(key, value)| (key, value)))
    }
}

impl Work {
    /// Returns where its queue stops for a person to choose.
    pub fn stops(&self) -> Stops {
        match self {
            Self::Completion(_) => Stops::default(),
            Self::Brief(brief) => brief.stops(),
        }
    }
}

impl BadLine {
    /// Creates the bad line for a line that was too long to be kept.
    pub fn too_long(length: u64, digest: Digest, claim: Claim) -> Self {
        Self {
            message: format!("expected a line of at most {MAX_LINE} bytes, got {length} (split the request)"),
            claim,
            digest,
        }
    }
}

impl Request {
    /// Returns the request in the form of the store: one JSON object without line breaks.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "every field has a JSON form and memory can be written to"
    )]
    pub fn to_stored(&self) -> String {
        serde_json::to_string(self).expect("a request has a JSON form")
    }

    /// Reads a stored request.
    pub fn from_stored(stored: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(stored)
    }
}
