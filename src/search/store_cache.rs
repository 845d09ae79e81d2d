//! The cache of search results in the store, shared by all processes of the store.

use std::sync::Arc;

use async_trait::async_trait;

use super::cache::{CacheError, CacheHit, CachedSearch, LEASE, Lifetime, SearchCache};
use super::query::{Query, QueryKey};
use crate::store::{Cached, NewEntry, Store, StoreError};

/// The cache of search results in a store. The store's clock counts ages and leases, because the clocks of hosts can
/// differ. An entry survives a crash.
pub struct StoreCache {
    store: Arc<dyn Store>,
    most_bytes: u64,
    /// The random number under which this process holds leases.
    owner: i64,
}

impl StoreCache {
    /// Creates a cache that holds at most this many bytes in the store.
    pub fn new(store: Arc<dyn Store>, most_bytes: usize) -> Self {
        Self {
            store,
            most_bytes: most_bytes as u64,
            owner: fastrand::i64(1..),
        }
    }
}

impl std::fmt::Debug for StoreCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreCache")
    }
}

/// Returns the key in the store. Other users of the cache have keys with other beginnings.
fn key_of(key: &QueryKey) -> String {
    format!("search:{}", key.as_str())
}

/// Whether a store has a fresh answer to the query. Nothing is written.
pub async fn has_stored(store: &dyn Store, query: &Query) -> Result<bool, StoreError> {
    store.is_fresh(&key_of(&query.key())).await
}

fn failed(error: &StoreError) -> CacheError {
    CacheError(error.to_string())
}

#[async_trait]
impl SearchCache for StoreCache {
    async fn get(&self, key: &QueryKey) -> Result<Option<CacheHit>, CacheError> {
        let (found, is_fresh) = match self
            .store
            .cached(&key_of(key))
            .await
            .map_err(|error| failed(&error))?
        {
            Cached::Nothing => return Ok(None),
            Cached::Fresh(found) => (found, true),
            Cached::Stale(found) => (found, false),
        };
        // An entry of another form was written by another version, and is replaced by the next search.
        Ok(serde_json::from_str(&found.body).ok().map(|entry| CacheHit {
            entry,
            age: found.age,
            is_fresh,
        }))
    }

    async fn put(&self, key: &QueryKey, entry: CachedSearch, lifetime: Lifetime) -> Result<(), CacheError> {
        let body = serde_json::to_string(&entry).map_err(|error| CacheError(error.to_string()))?;
        let (key, entry) = (key_of(key), &body);
        let entry = NewEntry {
            key: &key,
            body: entry,
            fresh_for: lifetime.fresh,
            stale_for: lifetime.stale,
        };
        self.store
            .put_cached(&entry, self.most_bytes)
            .await
            .map_err(|error| failed(&error))
    }

    async fn lease(&self, key: &QueryKey) -> Result<bool, CacheError> {
        self.store
            .lease_cached(&key_of(key), self.owner, LEASE)
            .await
            .map_err(|error| failed(&error))
    }

    async fn release(&self, key: &QueryKey) -> Result<(), CacheError> {
        self.store
            .release_cached(&key_of(key), self.owner)
            .await
            .map_err(|error| failed(&error))
    }
}
