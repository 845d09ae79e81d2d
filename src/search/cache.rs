//! The cache of search results.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

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
    /// The time of the search, in Unix milliseconds.
    pub found_at: i64,
    /// Until this time the entry answers an equal search, and no provider is asked.
    pub fresh_until: i64,
    /// Until this time the entry answers when no provider does.
    pub stale_if_error_until: i64,
}

/// The cache cannot be used now. The search continues without it.
#[derive(Debug, thiserror::Error)]
#[error("failed to use the search cache: {0}")]
pub struct CacheError(pub String);

/// Keeps answers to equal queries. [`MemoryCache`] keeps those of one process. A store can keep those of all processes.
#[async_trait]
pub trait SearchCache: std::fmt::Debug + Send + Sync {
    /// Returns the last entry that was put under this key. Returns none if the entry was dropped to free space, or if
    /// its `stale_if_error_until` is not after `now` (Unix milliseconds).
    async fn get(&self, key: &QueryKey, now: i64) -> Result<Option<CachedSearch>, CacheError>;

    /// When this returns, the entry replaces the earlier one of this key. Older entries may have been dropped to free
    /// space. A crash may lose it. An entry that is larger than the cache is not kept.
    async fn put(&self, key: &QueryKey, entry: CachedSearch) -> Result<(), CacheError>;
}

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
    async fn get(&self, key: &QueryKey, now: i64) -> Result<Option<CachedSearch>, CacheError> {
        let mut state = self.state();
        let is_over = |kept: &MemoryEntry| kept.entry.stale_if_error_until <= now;
        if state.entries.get(key).is_some_and(is_over) {
            state.remove(key);
        }
        Ok(state.entries.get(key).map(|kept| kept.entry.clone()))
    }

    async fn put(&self, key: &QueryKey, entry: CachedSearch) -> Result<(), CacheError> {
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
        state
            .entries
            .insert(key.clone(), MemoryEntry { entry, number, bytes });
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
            found_at: 100,
            fresh_until: 200,
            stale_if_error_until: 300,
        }
    }

    #[tokio::test]
    async fn entries_are_kept_until_their_time_is_over() {
        let cache = MemoryCache::new(1 << 20);
        cache.put(&key("a"), entry("first")).await.unwrap();
        cache.put(&key("a"), entry("second")).await.unwrap();
        assert_eq!(cache.get(&key("a"), 299).await.unwrap(), Some(entry("second")));
        assert_eq!(cache.get(&key("b"), 299).await.unwrap(), None);
        assert_eq!(cache.get(&key("a"), 300).await.unwrap(), None);
        let state = cache.state();
        assert_eq!((state.bytes, state.order.len()), (0, 0));
    }

    #[tokio::test]
    async fn the_oldest_entries_are_dropped_to_free_space() {
        let cache = MemoryCache::new(3 * size(&entry("aaaa")));
        for text in ["a", "b", "c", "a", "d"] {
            cache.put(&key(text), entry("aaaa")).await.unwrap();
        }
        let mut kept = Vec::new();
        for text in ["a", "b", "c", "d"] {
            kept.push(cache.get(&key(text), 0).await.unwrap().is_some());
        }
        assert_eq!(kept, [true, false, true, true]);
        cache.put(&key("e"), entry(&"燕".repeat(4000))).await.unwrap();
        assert_eq!(cache.get(&key("e"), 0).await.unwrap(), None);
        assert!(cache.state().bytes <= cache.most_bytes);
    }
}
