//! Asks the links of a chain in order, until one answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::cache::{CachedSearch, SearchCache};
use super::flight::Flights;
use super::http::ProviderClients;
use super::item::SearchItem;
use super::library::Providers;
use super::link::Link;
use super::material::DefaultMaterial;
use super::outcome::{FailureKind, LinkAttempt, LinkFailure, SearchOutcome};
use super::pages::{PageRead, PageReader};
use super::provider::Provider;
use super::query::{Query, QueryKey};
use super::{CACHED, DEFAULT};
use crate::clock;
use crate::config::{MOST_PAGES, SearchSettings};
use crate::domain::usage::Cost;
use crate::limit::Limiter;

/// The error of a search without an answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SearchError {
    /// No link of the chain answered.
    #[error("no search provider answered ({})", causes(attempts))]
    NoAnswer {
        /// The links that were asked, each with its cause.
        attempts: Vec<LinkAttempt>,
        /// The cost of all their requests.
        cost: Cost,
    },
    /// The chain names a link that does not exist.
    #[error("there is no search provider `{link}` (known: {known})")]
    UnknownLink {
        /// The unknown name.
        link: String,
        /// The names that exist.
        known: String,
    },
}

fn causes(attempts: &[LinkAttempt]) -> String {
    let causes = attempts.iter().filter_map(|attempt| {
        let failure = attempt.failure.as_ref()?;
        Some(format!("`{}`: {}", attempt.link, failure.message))
    });
    causes.collect::<Vec<_>>().join("; ")
}

/// Searches with the providers of this process. All clones share one state.
#[derive(Debug, Clone)]
pub struct Searcher(Arc<SearcherState>);

#[derive(Debug)]
struct SearcherState {
    settings: SearchSettings,
    links: BTreeMap<String, Link>,
    material: DefaultMaterial,
    cache: Arc<dyn SearchCache>,
    http: ProviderClients,
    reader: PageReader,
    flights: Flights<(QueryKey, Vec<String>), Landed>,
}

/// The result of a search that several callers may wait for. One caller is charged.
#[derive(Debug, Clone)]
struct Landed {
    end: Arc<Result<SearchOutcome, SearchError>>,
    paid: Arc<AtomicBool>,
}

impl Searcher {
    /// Creates a searcher for the chain of the settings. `limiter` returns the limiter that keeps a provider to its
    /// requests a minute.
    pub fn new(
        providers: Providers,
        settings: SearchSettings,
        cache: Arc<dyn SearchCache>,
        limiter: &dyn Fn(&Provider) -> Arc<dyn Limiter>,
    ) -> Self {
        let link = |provider: Provider| {
            let limiter = limiter(&provider);
            Link::new(provider, limiter, &settings)
        };
        let (readers, searching): (Vec<_>, Vec<_>) =
            providers.all.into_iter().partition(|provider| provider.is_reader);
        let reader = readers
            .into_iter()
            .find(|reader| reader.name == settings.reader)
            .map_or(PageReader::Http, |reader| {
                PageReader::Service(Box::new(link(reader)))
            });
        let searching = searching.into_iter();
        Self(Arc::new(SearcherState {
            links: searching
                .map(|provider| (provider.name.clone(), link(provider)))
                .collect(),
            reader,
            material: providers.material,
            cache,
            http: ProviderClients::new(settings.connect, settings.ca_file.as_deref()),
            flights: Flights::default(),
            settings,
        }))
    }

    /// Asks the links of the chain of the settings.
    pub async fn search(&self, query: &Query) -> Result<SearchOutcome, SearchError> {
        self.search_in(query, &self.0.settings.providers).await
    }

    /// Asks the links of this chain in order, until one answers. Equal searches at the same moment are sent once.
    pub async fn search_in(&self, query: &Query, chain: &[String]) -> Result<SearchOutcome, SearchError> {
        self.0.check(chain)?;
        let begin = || {
            let (shared, query, chain) = (Arc::clone(&self.0), query.clone(), chain.to_vec());
            async move {
                Landed {
                    end: Arc::new(shared.ask(&query, &chain).await),
                    paid: Arc::default(),
                }
            }
            .boxed()
        };
        self.0
            .flights
            .join((query.key(), chain.to_vec()), begin)
            .await
            .taken()
    }

    /// Reads the pages of the first `count` items that have an address, at most [`MOST_PAGES`], side by side. An item gets
    /// the text of its page, and the hash of that text, if the text is longer. A failure leaves the item as it was.
    pub async fn read_pages(&self, items: &mut [SearchItem], count: usize) -> Vec<PageRead> {
        let state = &self.0;
        let count = count.min(MOST_PAGES);
        state
            .reader
            .read_all(&state.http, &state.settings, items, count)
            .await
    }

    /// Returns the warnings that no caller has taken yet. A latched provider gives one warning.
    pub fn take_warnings(&self) -> Vec<String> {
        let links = self.0.links.values().filter_map(Link::take_warning);
        links.chain(self.0.reader.take_warning()).collect()
    }
}

impl Landed {
    /// Returns the result for one caller. The first caller is charged.
    fn taken(self) -> Result<SearchOutcome, SearchError> {
        let joined = self.paid.swap(true, Ordering::Relaxed);
        let mut end = Arc::unwrap_or_clone(self.end);
        if joined {
            let (cost, attempts) = match &mut end {
                Ok(outcome) => {
                    outcome.joined = true;
                    (&mut outcome.cost, &mut outcome.attempts)
                }
                Err(SearchError::NoAnswer { cost, attempts }) => (cost, attempts),
                Err(SearchError::UnknownLink { .. }) => return end,
            };
            *cost = Cost::ZERO;
            attempts.iter_mut().for_each(|attempt| attempt.cost = Cost::ZERO);
        }
        end
    }
}

/// The answer of one link.
struct LinkAnswer {
    items: Vec<SearchItem>,
    found_by: Option<String>,
    age: Option<Duration>,
}

impl SearcherState {
    fn check(&self, chain: &[String]) -> Result<(), SearchError> {
        let is_known =
            |link: &String| [CACHED, DEFAULT].contains(&link.as_str()) || self.links.contains_key(link);
        match chain.iter().find(|link| !is_known(link)) {
            None => Ok(()),
            Some(link) => {
                let names = self.links.keys().map(String::as_str).chain([CACHED, DEFAULT]);
                let known: Vec<String> = names.map(|name| format!("`{name}`")).collect();
                Err(SearchError::UnknownLink {
                    link: link.clone(),
                    known: known.join(", "),
                })
            }
        }
    }

    async fn ask(&self, query: &Query, chain: &[String]) -> Result<SearchOutcome, SearchError> {
        if let Some(outcome) = self.fresh(query, chain).await {
            return Ok(outcome);
        }
        let mut attempts = Vec::new();
        for (place, link) in chain.iter().enumerate() {
            let (attempt, given) = match link.as_str() {
                CACHED => self.stale(query, chain).await,
                DEFAULT => self.default_material(query),
                name => self.provider(name, query).await,
            };
            attempts.push(attempt);
            let Some(given) = given else { continue };
            let outcome = SearchOutcome {
                provider: link.clone(),
                found_by: given.found_by,
                looked_up: link != DEFAULT,
                degraded: place > 0,
                age: given.age,
                joined: false,
                items: given.items,
                cost: total(&attempts),
                attempts,
            };
            if chain.iter().any(|link| link == CACHED) && self.links.contains_key(link) {
                self.keep(query, &outcome).await;
            }
            return Ok(outcome);
        }
        Err(SearchError::NoAnswer {
            cost: total(&attempts),
            attempts,
        })
    }

    async fn provider(&self, name: &str, query: &Query) -> (LinkAttempt, Option<LinkAnswer>) {
        let Some(link) = self.links.get(name) else {
            let failure = LinkFailure::new(FailureKind::Refused, "the provider does not exist");
            return (unsent(name, Some(failure), Instant::now()), None);
        };
        let (attempt, items) = link.ask(&self.http, query, &self.settings).await;
        if let Some(failure) = &attempt.failure {
            tracing::debug!(
                search.provider = name,
                search.failure = failure.kind.name(),
                search.tries = attempt.tries,
                "{}",
                failure.message
            );
        }
        let given = items.map(|items| LinkAnswer {
            items,
            found_by: None,
            age: None,
        });
        (attempt, given)
    }

    /// Returns the cached answer if it is fresh and a provider of this chain found it.
    async fn fresh(&self, query: &Query, chain: &[String]) -> Option<SearchOutcome> {
        let began = Instant::now();
        if !chain.iter().any(|link| link == CACHED) {
            return None;
        }
        let now = clock::now_ms();
        let entry = self.entry(query, chain, now).await.ok()??;
        (entry.fresh_until > now).then(|| SearchOutcome {
            provider: CACHED.to_owned(),
            // Another chain may have found the entry, so its own first link is compared.
            degraded: chain.first() != Some(&entry.provider),
            looked_up: true,
            age: Some(age(&entry, now)),
            found_by: Some(entry.provider),
            joined: false,
            items: entry.items,
            cost: Cost::ZERO,
            attempts: vec![unsent(CACHED, None, began)],
        })
    }

    /// Answers for the link `cached`, also with an answer that is no longer fresh.
    async fn stale(&self, query: &Query, chain: &[String]) -> (LinkAttempt, Option<LinkAnswer>) {
        let (began, now) = (Instant::now(), clock::now_ms());
        let failure = match self.entry(query, chain, now).await {
            Ok(Some(entry)) => {
                let given = LinkAnswer {
                    age: Some(age(&entry, now)),
                    items: entry.items,
                    found_by: Some(entry.provider),
                };
                return (unsent(CACHED, None, began), Some(given));
            }
            Ok(None) => LinkFailure::new(FailureKind::Empty, "the cache has no answer to this query"),
            Err(failure) => failure,
        };
        (unsent(CACHED, Some(failure), began), None)
    }

    /// Returns the cache entry of this query if a provider of this chain found it.
    async fn entry(
        &self,
        query: &Query,
        chain: &[String],
        now: i64,
    ) -> Result<Option<CachedSearch>, LinkFailure> {
        let entry = self.cache.get(&query.key(), now).await;
        let entry = entry.map_err(|error| LinkFailure::new(FailureKind::Cache, error.to_string()))?;
        Ok(entry.filter(|entry| chain.contains(&entry.provider) && !entry.items.is_empty()))
    }

    fn default_material(&self, query: &Query) -> (LinkAttempt, Option<LinkAnswer>) {
        let began = Instant::now();
        let items = self.material.items(query);
        if items.is_empty() {
            let failure = LinkFailure::new(FailureKind::Empty, "no default material fits this query");
            return (unsent(DEFAULT, Some(failure), began), None);
        }
        let given = LinkAnswer {
            items,
            found_by: None,
            age: None,
        };
        (unsent(DEFAULT, None, began), Some(given))
    }

    async fn keep(&self, query: &Query, outcome: &SearchOutcome) {
        let now = clock::now_ms();
        let after = |span: Duration| now.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
        let entry = CachedSearch {
            provider: outcome.provider.clone(),
            items: outcome.items.clone(),
            found_at: now,
            fresh_until: after(self.settings.fresh),
            // A fresh entry is kept also if `search.stale` is the shorter time.
            stale_if_error_until: after(self.settings.stale.max(self.settings.fresh)),
        };
        if let Err(error) = self.cache.put(&query.key(), entry).await {
            tracing::warn!("{error}");
        }
    }
}

fn total(attempts: &[LinkAttempt]) -> Cost {
    attempts
        .iter()
        .fold(Cost::ZERO, |sum, attempt| sum.plus(attempt.cost))
}

/// Returns the age of an entry. It is zero if the clock was set back since the search.
fn age(entry: &CachedSearch, now: i64) -> Duration {
    Duration::from_millis(u64::try_from(now.saturating_sub(entry.found_at)).unwrap_or(0))
}

/// Returns the attempt of a link to which no request was sent.
fn unsent(link: &str, failure: Option<LinkFailure>, began: Instant) -> LinkAttempt {
    LinkAttempt {
        link: link.to_owned(),
        tries: 0,
        failure,
        cost: Cost::ZERO,
        elapsed: began.elapsed(),
    }
}
