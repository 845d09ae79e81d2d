//! The notes of a line, which are not part of its content: its metadata, its priority and where its queue stops.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::value::RawValue;

use super::fields::Complaint;
use super::identity::Digest;
use super::keys::Stray;
use super::stops::Stops;
use super::syntax;
use super::tree::Tree;

/// Returns the digest of the notes. A line with other notes keeps its stored results.
pub(super) fn digest(metadata: Option<&RawValue>, priority: i32, stops: &Stops) -> Result<Digest, Complaint> {
    let metadata = metadata
        .map(|raw| syntax::parse_kept("metadata", raw))
        .transpose()?;
    Ok(Digest::of_json(&Notes {
        metadata: metadata.as_ref(),
        priority,
        stops: (!stops.is_none()).then_some(stops),
    }))
}

#[derive(Serialize)]
struct Notes<'t, 'a> {
    metadata: Option<&'t Tree<'a>>,
    priority: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    stops: Option<&'t Stops>,
}

/// Returns the metadata of a line with its unknown keys added, each under its path.
///
/// The line's own metadata stays as it was written. No key is lost or replaced. The line is bad if its metadata is not
/// an object, or already has the key.
pub(super) fn with_strays(
    metadata: Option<&RawValue>,
    strays: &[Stray<'_>],
) -> Result<Option<Box<RawValue>>, Complaint> {
    let metadata = metadata.filter(|raw| raw.get() != "null");
    let Some(first) = strays.first() else {
        return Ok(metadata.map(ToOwned::to_owned));
    };
    let written = metadata.map_or("{}", RawValue::get);
    let taken = match metadata.map(|raw| syntax::parse_kept("metadata", raw)) {
        None => Vec::new(),
        Some(Ok(Tree::Object(entries))) => entries,
        Some(Ok(other)) => {
            return Err(Complaint(format!(
                "expected `metadata` to be an object that can take the unknown key {}, got {} (remove the key or make it an object)",
                first.named(),
                other.kind()
            )));
        }
        Some(Err(complaint)) => return Err(complaint),
    };

    let mut joined = written.strip_suffix('}').unwrap_or(written).to_owned();
    let mut taken: HashSet<String> = taken.into_iter().map(|(key, _)| key.into_owned()).collect();
    for stray in strays {
        if !taken.is_empty() {
            joined.push(',');
        }
        let path = stray.path();
        joined.push_str(&compact(&path)?);
        joined.push(':');
        joined.push_str(&compact(&stray.value)?);
        if !taken.insert(path) {
            return Err(Complaint(format!(
                "expected `metadata` without the key of {}, got both (remove one)",
                stray.named()
            )));
        }
    }
    joined.push('}');
    RawValue::from_string(joined)
        .map(Some)
        .map_err(|error| failed(&error))
}

fn compact(value: &impl Serialize) -> Result<String, Complaint> {
    serde_json::to_string(value).map_err(|error| failed(&error))
}

fn failed(error: &serde_json::Error) -> Complaint {
    Complaint(format!("failed to move an unknown key to `metadata`: {error}"))
}
