//! The port of the cache: stored answers of outside services, such as a search.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;

/// The bytes that an entry is estimated to take besides its body.
pub(super) const OVERHEAD: u64 = 128;

/// The most entries that one transaction removes.
pub(super) const BATCH: u32 = 32;

/// A cache entry as a look-up returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// The stored body.
    pub body: String,
    /// Its age by the store's clock.
    pub age: Duration,
}

/// The result of a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cached {
    /// No entry, or one past its `stale_until`.
    Nothing,
    /// An entry before its `fresh_until`.
    Fresh(CacheEntry),
    /// An entry between its `fresh_until` and its `stale_until`: usable when no newer answer can be had.
    Stale(CacheEntry),
}

/// An entry to be put. The store's clock counts both times from now, because the clocks of hosts can differ.
#[derive(Debug, Clone, Copy)]
pub struct NewEntry<'a> {
    /// Its key, of any length.
    pub key: &'a str,
    /// Its body.
    pub body: &'a str,
    /// How long it is fresh: the time until its `fresh_until`.
    pub fresh_for: Duration,
    /// How long it is usable at all: the time until its `stale_until`.
    pub stale_for: Duration,
}

/// A cache that all processes of a store share, bounded in bytes. The least recently used entries are removed first, a
/// small batch in each transaction.
#[async_trait]
pub trait Cache: Send + Sync {
    /// Returns the entry under the key and marks it as used now.
    async fn cached(&self, key: &str) -> Result<Cached, StoreError>;

    /// Returns whether the entry under the key is fresh. The entry does not count as used.
    async fn is_fresh(&self, key: &str) -> Result<bool, StoreError>;

    /// The entry is durable and replaces an earlier one under its key. All entries together have at most `most` bytes.
    /// An entry that is larger than `most` by itself is not stored, and an earlier one under its key is removed.
    async fn put_cached(&self, entry: &NewEntry<'_>, most: u64) -> Result<(), StoreError>;

    /// Returns whether `owner` has the lease of the key for `lease` from now on: no other owner has it. The lease is not
    /// part of the entry and does not protect it. The lease of a crashed owner expires. A store that one process locks
    /// grants every lease.
    async fn lease_cached(&self, key: &str, owner: i64, lease: Duration) -> Result<bool, StoreError>;

    /// The owner has no lease of the key.
    async fn release_cached(&self, key: &str, owner: i64) -> Result<(), StoreError>;

    /// All entries together have at most `most` bytes.
    async fn shrink_cache(&self, most: u64) -> Result<(), StoreError>;
}

/// The bytes that an entry with this body is counted as.
pub(super) fn size(body: &str) -> u64 {
    body.len() as u64 + OVERHEAD
}

/// A duration in milliseconds, capped so that its sum with a time stays a valid time.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis())
        .unwrap_or(i64::MAX)
        .min(i64::MAX / 4)
}

/// Converts the columns of a row.
pub(super) fn found(body: String, age_ms: i64, fresh: bool) -> Cached {
    let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
    let entry = CacheEntry { body, age };
    if fresh {
        Cached::Fresh(entry)
    } else {
        Cached::Stale(entry)
    }
}
