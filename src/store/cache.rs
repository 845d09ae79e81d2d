//! Answers of others that may be used again, such as those of a search.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;

/// What an entry takes beside its body, about.
pub(super) const OVERHEAD: u64 = 128;

/// So many entries are removed in one transaction at most.
pub(super) const BATCH: u32 = 32;

/// An entry as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was put under the key.
    pub body: String,
    /// How long ago, by the store's clock.
    pub age: Duration,
}

/// What is found under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cached {
    /// Nothing, or nothing that may still be used.
    Nothing,
    /// An entry before its `fresh_until`.
    Fresh(Entry),
    /// An entry between its `fresh_until` and its `stale_until`: good where nothing newer can be had.
    Stale(Entry),
}

/// An entry to be put. Both times are counted from now by the store's clock, since hosts need not agree on the time.
#[derive(Debug, Clone, Copy)]
pub struct NewEntry<'a> {
    /// Under which it is found; of any length.
    pub key: &'a str,
    /// What is kept.
    pub body: &'a str,
    /// For how long it is fresh: until its `fresh_until`.
    pub fresh_for: Duration,
    /// For how long it may be used at all: until its `stale_until`.
    pub stale_for: Duration,
}

/// A cache that all processes of a store share, bounded in bytes. The least recently used entries go first, a small batch
/// in one transaction.
#[async_trait]
pub trait Cache: Send + Sync {
    /// What is kept under the key, which counts as used now.
    async fn cached(&self, key: &str) -> Result<Cached, StoreError>;

    /// The entry is durable in the place of an earlier one under its key, and all entries have at most `most` bytes
    /// together. An entry that is larger alone is not kept, and an earlier one under its key is gone.
    async fn put_cached(&self, entry: &NewEntry<'_>, most: u64) -> Result<(), StoreError>;

    /// All entries have at most `most` bytes together.
    async fn shrink_cache(&self, most: u64) -> Result<(), StoreError>;
}

/// The bytes that an entry of this body counts.
pub(super) fn size(body: &str) -> u64 {
    body.len() as u64 + OVERHEAD
}

/// A duration in the milliseconds of the store, at most so many that a time and it are still a time.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis())
        .unwrap_or(i64::MAX)
        .min(i64::MAX / 4)
}

/// What a row says.
pub(super) fn found(body: String, age_ms: i64, fresh: bool) -> Cached {
    let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
    let entry = Entry { body, age };
    if fresh {
        Cached::Fresh(entry)
    } else {
        Cached::Stale(entry)
    }
}
