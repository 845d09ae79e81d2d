//! The link `cached`: fresh answers replace a search, older ones answer when no provider does. Under the lease of a query
//! one process asks, and the others wait for its answer.

use std::time::Duration;

use tokio::time::{Instant, interval_at, sleep};

use super::{LinkAnswer, SearchError, SearcherState, unsent};
use crate::domain::usage::Cost;
use crate::search::CACHED;
use crate::search::cache::{CacheHit, CachedSearch, LEASE, Lifetime};
use crate::search::outcome::{FailureKind, LinkAttempt, LinkFailure, SearchOutcome};
use crate::search::query::Query;

/// The first wait for the answer of another process. Each further wait is twice as long.
const WAIT: Duration = Duration::from_millis(50);

/// The longest wait before the cache is looked up again.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

impl SearcherState {
    /// Returns the fresh answer of the cache. Without one, asks the links of the chain under the lease of the query,
    /// while other processes wait for the answer.
    pub(super) async fn ask(&self, query: &Query, chain: &[String]) -> Result<SearchOutcome, SearchError> {
        if !chain.iter().any(|link| link == CACHED) {
            return self.ask_links(query, chain).await;
        }
        let key = query.key();
        let mut patience = WAIT;
        loop {
            if let Some(outcome) = self.fresh(query, chain).await {
                return Ok(outcome);
            }
            match self.cache.lease(&key).await {
                Ok(true) => break,
                Ok(false) => sleep(patience).await,
                Err(error) => {
                    tracing::warn!("{error}");
                    return self.ask_links(query, chain).await;
                }
            }
            patience = (patience * 2).min(LONGEST_WAIT);
        }
        let end = self.ask_under_lease(query, chain).await;
        if let Err(error) = self.cache.release(&key).await {
            tracing::warn!("{error}");
        }
        end
    }

    async fn ask_under_lease(&self, query: &Query, chain: &[String]) -> Result<SearchOutcome, SearchError> {
        // Another process may have answered between the look-up and the lease.
        if let Some(outcome) = self.fresh(query, chain).await {
            return Ok(outcome);
        }
        let key = query.key();
        let mut asked = std::pin::pin!(self.ask_links(query, chain));
        let mut renewal = interval_at(Instant::now() + LEASE / 4, LEASE / 4);
        loop {
            tokio::select! {
                end = &mut asked => return end,
                _ = renewal.tick() => {
                    if let Err(error) = self.cache.lease(&key).await {
                        tracing::warn!("{error}");
                    }
                }
            }
        }
    }

    /// Returns the cached answer if it is fresh and a provider of this chain found it.
    pub(super) async fn fresh(&self, query: &Query, chain: &[String]) -> Option<SearchOutcome> {
        let began = Instant::now();
        let hit = self.hit(query, chain).await.ok()??;
        hit.is_fresh.then(|| SearchOutcome {
            provider: CACHED.to_owned(),
            // Another chain may have found the entry, so its own first link is compared.
            degraded: chain.first() != Some(&hit.entry.provider),
            looked_up: true,
            age: Some(hit.age),
            found_by: Some(hit.entry.provider),
            joined: false,
            items: hit.entry.items,
            cost: Cost::ZERO,
            attempts: vec![unsent(CACHED, None, began)],
            pages: Vec::new(),
        })
    }

    /// Answers for the link `cached`, also with an answer that is no longer fresh.
    pub(super) async fn stale(&self, query: &Query, chain: &[String]) -> (LinkAttempt, Option<LinkAnswer>) {
        let began = Instant::now();
        let failure = match self.hit(query, chain).await {
            Ok(Some(hit)) => {
                let given = LinkAnswer {
                    age: Some(hit.age),
                    items: hit.entry.items,
                    found_by: Some(hit.entry.provider),
                };
                return (unsent(CACHED, None, began), Some(given));
            }
            Ok(None) => LinkFailure::new(FailureKind::Empty, "the cache has no answer to this query"),
            Err(failure) => failure,
        };
        (unsent(CACHED, Some(failure), began), None)
    }

    /// Returns the cache entry of this query if a provider of this chain found it.
    async fn hit(&self, query: &Query, chain: &[String]) -> Result<Option<CacheHit>, LinkFailure> {
        let hit = self.cache.get(&query.key()).await;
        let hit = hit.map_err(|error| LinkFailure::new(FailureKind::Cache, error.to_string()))?;
        Ok(hit.filter(|hit| chain.contains(&hit.entry.provider) && !hit.entry.items.is_empty()))
    }

    pub(super) async fn keep(&self, query: &Query, outcome: &SearchOutcome) {
        let entry = CachedSearch {
            provider: outcome.provider.clone(),
            items: outcome.items.clone(),
        };
        let lifetime = Lifetime {
            fresh: self.settings.fresh,
            // A fresh entry is kept also if `search.stale` is the shorter time.
            stale: self.settings.stale.max(self.settings.fresh),
        };
        if let Err(error) = self.cache.put(&query.key(), entry, lifetime).await {
            tracing::warn!("{error}");
        }
    }
}
