//! The keys under which both engines find a request of a run again.

use crate::domain::request::{Digest, Identity};

/// The action of the only task of an OpenAI Batch line.
pub(super) const COMPLETION: &str = "completion";

/// The action of planning.
pub(super) const PLANNING: &str = "supervisor";

/// The bytes of results that one transaction or statement of settlements holds at most, plus one more settlement of any
/// size. Results are copied on their way into the store, so a group of large ones would need a multiple of its size in
/// memory.
pub(super) const GROUP_BYTES: usize = 8 << 20;

/// The key of a request in its run.
pub(super) fn key(identity: &Identity, occurrence: u64) -> String {
    match identity {
        Identity::Custom(id) => format!("id:{id}"),
        Identity::Content(digest) => occurrence_of(&content_stem(digest), occurrence),
    }
}

/// The common prefix of the keys of equal lines.
pub(super) fn content_stem(digest: &Digest) -> String {
    format!("sha256:{}", digest.hex())
}

/// The common prefix of the keys of equal bad lines.
pub(super) fn bad_stem(digest: &Digest) -> String {
    format!("bad:{}", digest.hex())
}

/// The key of one of several equal lines, counted from 1.
pub(super) fn occurrence_of(stem: &str, occurrence: u64) -> String {
    format!("{stem}:{occurrence}")
}
