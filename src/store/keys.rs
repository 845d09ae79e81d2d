//! Under which key a request is found again in its run, on every engine.

use crate::domain::request::{Digest, Identity};

/// The action of an OpenAI Batch line's only task.
pub(super) const COMPLETION: &str = "completion";

/// The action of planning.
pub(super) const PLANNING: &str = "supervisor";

/// Settlements that share one transaction or statement hold at most about so many bytes of results, and one more
/// settlement of any size. Results are copied on their way into the store, so that a group of large ones would take a
/// multiple of its size in memory.
pub(super) const GROUP_BYTES: usize = 8 << 20;

/// The key of a request in its run.
pub(super) fn key(identity: &Identity, occurrence: u64) -> String {
    match identity {
        Identity::Custom(id) => format!("id:{id}"),
        Identity::Content(digest) => occurrence_of(&content_stem(digest), occurrence),
    }
}

/// What the keys of equal lines have in common.
pub(super) fn content_stem(digest: &Digest) -> String {
    format!("sha256:{}", digest.hex())
}

/// What the keys of equal bad lines have in common.
pub(super) fn bad_stem(digest: &Digest) -> String {
    format!("bad:{}", digest.hex())
}

/// The key of one of them, counted from 1.
pub(super) fn occurrence_of(stem: &str, occurrence: u64) -> String {
    format!("{stem}:{occurrence}")
}
