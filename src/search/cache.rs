//! The cache of search results.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::item::SearchItem;
use super::query::QueryKey;

/// The estimated bytes of an entry, and of an item, beside its texts.
const OVERHEAD: usize = 200;

/// The answer to an earlier search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedSearch {
    /// The provider that found the items.
    pub provider: String,
    /// The items.
    pub items: Vec<SearchItem>,
}

/// A cache entry as a look-up returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheHit {
    /// The answer.
    pub entry: CachedSearch,
    /// The time since the search.
    pub age: Duration,
    /// Whether it answers an equal search, so that no provider is asked. Otherwise it answers when no provider does.
    pub is_fresh: bool,
}

/// How long an entry is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// The time during which the entry is fresh.
    pub fresh: Duration,
    /// The time during which the entry is kept.
    pub stale: Duration,
}

/// The cache cannot be used now. The search continues without it.
#[derive(Debug, thiserror::Error)]
#[error("failed to use the search cache: {0}")]
pub struct CacheError(pub String);

/// Keeps answers to equal queries. [`MemoryCache`] keeps those of one process, [`super::StoreCache`] those of a store.
///
/// A key has a lease, so that one process asks and the others wait for its answer. The lease of a process that crashed
/// expires after 20 seconds.
#[async_trait]
pub trait SearchCache: std::fmt::Debug + Send + Sync {
    /// Returns the last entry that was put under this key, unless its lifetime is over or it was dropped to free space.
    async fn get(&self, key: &QueryKey) -> Result<Option<CacheHit>, CacheError>;

    /// When this returns, the entry replaces the earlier one of this key. Older entries may have been dropped to free
    /// space. An entry that is larger than the cache is not kept.
    async fn put(&self, key: &QueryKey, entry: CachedSearch, lifetime: Lifetime) -> Result<(), CacheError>;

    /// Returns whether this process has the lease of the key for 20 seconds from now on. A process that has it renews it.
    async fn lease(&self, key: &QueryKey) -> Result<bool, CacheError>;

    /// The lease of this process ends, if it has one.
    async fn release(&self, key: &QueryKey) -> Result<(), CacheError>;
}

/// The time after which an unrenewed lease of a key expires.
pub(super) const LEASE: Duration = Duration::from_secs(20);

/// The cache of one process. Its size is bounded: the entry that was put first is dropped first.
#[derive(Debug)]
pub struct MemoryCache {
    most_bytes: usize,
    state: Mutex<MemoryCacheState>,
}

#[derive(Debug, Default)]
struct MemoryCacheState {
    entries: HashMap<QueryKey, MemoryEntry>,
    order: BTreeMap<u64, QueryKey>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct MemoryEntry {
    entry: CachedSearch,
    put_at: Instant,
    lifetime: Lifetime,
    number: u64,
    bytes: usize,
}

impl MemoryCache {
    /// Creates an empty cache of at most this many bytes.
    pub fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, MemoryCacheState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryCacheState {
    fn remove(&mut self, key: &QueryKey) {
        if let Some(kept) = self.entries.remove(key) {
            self.order.remove(&kept.number);
            self.bytes -= kept.bytes;
        }
    }
}

#[async_trait]
impl SearchCache for MemoryCache {
    async fn get(&self, key: &QueryKey) -> Result<Option<CacheHit>, CacheError> {
        let mut state = self.state();
        let is_over = |kept: &MemoryEntry| kept.put_at.elapsed() >= kept.lifetime.stale;
        if state.entries.get(key).is_some_and(is_over) {
            state.remove(key);
        }
        let hit = |kept: &MemoryEntry| {
            let age = kept.put_at.elapsed();
            CacheHit {
                entry: kept.entry.clone(),
                age,
                is_fresh: age < kept.lifetime.fresh,
            }
        };
        Ok(state.entries.get(key).map(hit))
    }

    async fn put(&self, key: &QueryKey, entry: CachedSearch, lifetime: Lifetime) -> Result<(), CacheError> {
        let bytes = size(&entry);
        let mut state = self.state();
        state.remove(key);
        if bytes > self.most_bytes {
            return Ok(());
        }
        while state.bytes + bytes > self.most_bytes
            && let Some((_, oldest)) = state.order.first_key_value()
        {
            let oldest = oldest.clone();
            state.remove(&oldest);
        }
        let number = state.next;
        state.next += 1;
        state.bytes += bytes;
        state.order.insert(number, key.clone());
        let kept = MemoryEntry {
            entry,
            put_at: Instant::now(),
            lifetime,
            number,
            bytes,
        };
        state.entries.insert(key.clone(), kept);
        Ok(())
    }

    /// No other process shares the cache.
    async fn lease(&self, _key: &QueryKey) -> Result<bool, CacheError> {
        Ok(true)
    }

    async fn release(&self, _key: &QueryKey) -> Result<(), CacheError> {
        Ok(())
    }
}

fn size(entry: &CachedSearch) -> usize {
    let of_item = |item: &SearchItem| {
        OVERHEAD + item.title.len() + item.text.len() + item.url.as_ref().map_or(0, String::len)
    };
    OVERHEAD + entry.items.iter().map(of_item).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Query;

    fn key(text: &str) -> QueryKey {
        Query::new(text, 5).unwrap().key()
    }

    fn entry(text: &str) -> CachedSearch {
        CachedSearch {
            provider: "one".to_owned(),
            items: SearchItem::new("", None, text, None).into_iter().collect(),
        }
    }

    const LIFETIME: Lifetime = Lifetime {
        fresh: Duration::from_secs(100),
        stale: Duration::from_secs(200),
    };

    #[tokio::test(start_paused = true)]
    async fn entries_are_kept_until_their_time_is_over() {
        let cache = MemoryCache::new(1 << 20);
        cache.put(&key("a"), entry("first"), LIFETIME).await.unwrap();
        cache.put(&key("a"), entry("second"), LIFETIME).await.unwrap();
        let hit = |seconds, is_fresh| {
            Some(CacheHit {
                entry: entry("second"),
                age: Duration::from_secs(seconds),
                is_fresh,
            })
        };
        tokio::time::advance(Duration::from_secs(99)).await;
        assert_eq!(cache.get(&key("a")).await.unwrap(), hit(99, true));
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(cache.get(&key("a")).await.unwrap(), hit(199, false));
        assert_eq!(cache.get(&key("b")).await.unwrap(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(cache.get(&key("a")).await.unwrap(), None);
        let state = cache.state();
        assert_eq!((state.bytes, state.order.len()), (0, 0));
    }

    #[tokio::test]
    async fn the_oldest_entries_are_dropped_to_free_space() {
        let cache = MemoryCache::new(3 * size(&entry("aaaa")));
        for text in ["a", "b", "c", "a", "d"] {
            cache.put(&key(text), entry("aaaa"), LIFETIME).await.unwrap();
        }
        let mut kept = Vec::new();
        for text in ["a", "b", "c", "d"] {
            kept.push(cache.get(&key(text)).await.unwrap().is_some());
        }
        assert_eq!(kept, [true, false, true, true]);
        let large = entry(&"燕".repeat(4000));
        cache.put(&key("e"), large, LIFETIME).await.unwrap();
        assert_eq!(cache.get(&key("e")).await.unwrap(), None);
        assert!(cache.state().bytes <= cache.most_bytes);
    }
}
