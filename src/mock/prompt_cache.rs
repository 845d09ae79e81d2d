//! The beginnings of prompts that the server has seen. The Messages API bills the first call with a beginning as a
//! write to its cache and each later call as a read. The cache changes the usage and nothing else.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// The fewest tokens of a beginning that is cached.
const SHORTEST: u64 = 1024;

/// The most beginnings that are kept. Further ones count as a write in each call.
const MOST: usize = 100_000;

/// The beginning of a prompt up to its last `cache_control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CachedPrefix {
    /// The first eight bytes of its digest.
    pub(crate) digest: u64,
    pub(crate) tokens: u64,
}

/// The beginnings that are in the cache.
#[derive(Default)]
pub(crate) struct PromptCache(Mutex<HashSet<u64>>);

/// The tokens of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenUsage {
    /// Tokens of the prompt, including those of the cache.
    pub(crate) prompt: u64,
    /// Of these, read from the cache.
    pub(crate) cache_read: u64,
    /// Of these, written to the cache.
    pub(crate) cache_write: u64,
    pub(crate) answer: u64,
}

impl PromptCache {
    /// Returns the usage of a call, and puts its beginning into the cache.
    pub(crate) fn usage(&self, prompt: u64, answer: u64, prefix: Option<CachedPrefix>) -> TokenUsage {
        let cached = prefix.filter(|prefix| prefix.tokens >= SHORTEST);
        let tokens = cached.map_or(0, |prefix| prefix.tokens.min(prompt));
        let is_first = cached.is_some_and(|prefix| {
            let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if written.len() < MOST {
                written.insert(prefix.digest)
            } else {
                !written.contains(&prefix.digest)
            }
        });
        TokenUsage {
            prompt,
            cache_read: if is_first { 0 } else { tokens },
            cache_write: if is_first { tokens } else { 0 },
            answer,
        }
    }
}
