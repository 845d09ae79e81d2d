//! One input line, checked: from bytes to a request with an identity, or to the reason why it is none.
//!
//! ```text
//! bytes → LineSplitter → read_line: syntax → form → keys → digests → the form's own rules → Request
//! ```
//!
//! A line is parsed once. Deliberately absent: files, line numbers beyond counting, and the occurrence number of equal
//! lines, which only a store can know. A bad line is a value, never a failure of the reader.

mod action;
mod batch;
mod beside;
mod brief;
mod fields;
mod identity;
mod keys;
mod lines;
mod notes;
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
pub use self::beside::GivenTask;
pub use self::brief::{Background, Brief, Interaction};
pub use self::identity::{Digest, Identity};
pub use self::lines::{LineSplitter, MAX_LINE, RawLine};
pub use self::selections::{Selection, Selections};
pub use self::stops::Stops;

use self::fields::{Complaint, Fields, Place};
use self::syntax::Line;
use self::tree::{Entry, Tree};
use super::ids::{SessionId, UserId};

/// How strictly lines are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Unknown keys move to `metadata`, under their path, instead of being an error. They are no content then.
    pub lenient: bool,
}

/// A line that is a request.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// What it asks.
    pub request: Request,
    /// Which request it is.
    pub identity: Identity,
    /// The digest of the line's canonical JSON without what is only noted: a change makes a new version.
    pub content: Digest,
    /// The digest of metadata, priority and where the queue stops: a change rewrites the line, or lets the queue
    /// go on, and nothing that is stored is paid again.
    pub notes: Digest,
}

/// A line that is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadLine {
    /// What is wrong, and the cure where there is one.
    pub message: String,
    /// What the line says of itself, as far as it could be read.
    pub claim: Claim,
    /// The digest of the line's bytes, which is its identity.
    pub digest: Digest,
}

/// What a bad line says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// Its `custom_id`, if it has the length of one.
    pub custom_id: Option<String>,
    /// Whether it is an OpenAI Batch line.
    pub is_batch: bool,
}

/// What one line asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// The client's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_id: Option<String>,
    /// Whose it is.
    pub user: UserId,
    /// The session it belongs to; without one it is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The route or chain to use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Smaller comes first.
    pub priority: i32,
    /// Whatever the client wants back with the result, as it was written; null counts as absent.
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
    /// Work to be planned and done by agents.
    Brief(Box<Brief>),
}

/// Which of the three forms a line has.
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
    keys::check_once(&line.entries, Place::Top)?;
    let strays = keys::sift(&mut line.entries, form);
    if !strays.is_empty() && !rules.lenient {
        return Err(keys::unknown(&strays));
    }
    line.fill_body()?;

    let top = Fields {
        place: Place::Top,
        entries: &line.entries,
    };
    let work = work(form, &top, line.body)?;
    let priority = beside::priority(&top)?;
    let metadata = notes::with_strays(line.metadata, &strays)?;
    let stops = work.stops();
    let notes = notes::digest(metadata.as_deref(), priority, &stops)?;
    let content = Digest::of_json(&Content(&line.entries));
    let custom_id = beside::custom_id(&top)?;
    Ok(Accepted {
        identity: custom_id
            .clone()
            .map_or(Identity::Content(content), Identity::Custom),
        request: Request {
            custom_id,
            user: beside::user(&top)?,
            session: beside::session(&top)?,
            model: beside::model(&top)?,
            priority,
            metadata,
            work,
        },
        content,
        notes,
    })
}

fn work(form: Form, top: &Fields<'_, '_>, written: Option<&RawValue>) -> Result<Work, Complaint> {
    let brief = match (form, written) {
        (Form::Batch, Some(written)) => {
            let body = top.get("body").unwrap_or(&Tree::Null);
            return batch::completion(top, body, written).map(Work::Completion);
        }
        (Form::Envelope, _) => match top.object("request_data")? {
            Some(fields) => brief::brief(&fields, top)?,
            None => return Err(top.at("request_data").expected("an object", &Tree::Null)),
        },
        _ => brief::brief(top, top)?,
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

/// What of a line is content: all but metadata, priority, and where its queue stops for a person.
struct Content<'t, 'a>(&'t [Entry<'a>]);

/// `request_data` without `auto`.
struct Inner<'t, 'a>(&'t [Entry<'a>]);

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
    /// Where its queue stops for a person to choose.
    pub fn stops(&self) -> Stops {
        match self {
            Self::Completion(_) => Stops::default(),
            Self::Brief(brief) => brief.stops(),
        }
    }
}

impl BadLine {
    /// The line that was too long to be kept.
    pub fn too_long(length: u64, digest: Digest, claim: Claim) -> Self {
        Self {
            message: format!("expected a line of at most {MAX_LINE} bytes, got {length} (split the request)"),
            claim,
            digest,
        }
    }
}

impl Request {
    /// The request as a store keeps it: one JSON object without line breaks.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "every field has a JSON form and memory can be written to"
    )]
    pub fn to_stored(&self) -> String {
        serde_json::to_string(self).expect("a request has a JSON form")
    }

    /// The request that was stored as this.
    pub fn from_stored(stored: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(stored)
    }
}
