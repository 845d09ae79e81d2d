//! Asks the links of a chain in order, until one answers.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::cache::SearchCache;
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
use crate::config::{MOST_PAGES, SearchSettings};
use crate::domain::usage::Cost;
use crate::limit::{Limiter, Limits};

mod cached;

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
                let asked = AssertUnwindSafe(shared.ask(&query, &chain)).catch_unwind().await;
                Landed {
                    end: Arc::new(asked.unwrap_or_else(|_| Err(panicked()))),
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

    /// Returns the highest possible cost of one search in this chain: the tries of all its providers, and those of its
    /// pages.
    pub fn worst(&self, query: &Query, chain: &[String]) -> Cost {
        let tries = u64::from(self.0.settings.retry.retries) + 1;
        let times = |cost: Cost, count: u64| Cost(cost.0.saturating_mul(count));
        let links = chain.iter().filter_map(|link| self.0.links.get(link));
        let pages = times(self.0.reader.worst(), tries.saturating_mul(query.pages() as u64));
        links.fold(pages, |sum, link| sum.plus(times(link.worst(), tries)))
    }

    /// Returns the provider that is asked first in this chain, and the cost of one answered search with its pages. `None` if
    /// no provider of the chain can be asked.
    pub fn likely<'c>(&self, query: &Query, chain: &'c [String]) -> Option<(&'c str, Cost)> {
        let pages = Cost(self.0.reader.worst().0.saturating_mul(query.pages() as u64));
        let mut links = chain
            .iter()
            .filter_map(|link| Some((link.as_str(), self.0.links.get(link)?)));
        links.find_map(|(name, link)| Some((name, link.likely()?.plus(pages))))
    }

    /// Returns the items with which the link `default` answers.
    pub fn default_items(&self, query: &Query) -> Vec<SearchItem> {
        self.0.material.items(query)
    }

    /// Whether the cache has a fresh answer, so that the search sends no request.
    pub async fn has_fresh(&self, query: &Query, chain: &[String]) -> bool {
        self.0.fresh(query, chain).await.is_some()
    }

    /// The name of the reader of pages.
    pub fn reader(&self) -> &str {
        &self.0.settings.reader
    }

    /// The number of pages to read for an agent that names this number, or none. A rehearsal reads no page.
    pub fn pages_of(&self, own: Option<usize>) -> usize {
        match own {
            _ if self.0.settings.rehearsal => 0,
            own => own.unwrap_or(self.0.settings.pages),
        }
    }

    /// The chain for an agent that names these links, or none. In a rehearsal all agents have the chain of the settings.
    pub fn chain_of<'c>(&'c self, own: Option<&'c [String]>) -> &'c [String] {
        match own {
            Some(own) if !self.0.settings.rehearsal => own,
            _ => &self.0.settings.providers,
        }
    }

    /// Sets the limits of the providers for which `of_run` has any.
    pub fn keep_limits(&self, of_run: &dyn Fn(&str) -> Option<Limits>) {
        for (name, link) in &self.0.links {
            if let Some(limits) = of_run(name) {
                link.limiter().keep(limits);
            }
        }
    }

    /// Stores the state of the limits for the next process.
    pub async fn close(&self) {
        for link in self.0.links.values() {
            link.limiter().close().await;
        }
    }

    /// The number of results of a search, unless its caller wants another number.
    pub fn results(&self) -> usize {
        self.0.settings.results
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
                    outcome.pages = Vec::new();
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

    async fn ask_links(&self, query: &Query, chain: &[String]) -> Result<SearchOutcome, SearchError> {
        let mut attempts = Vec::new();
        for (place, link) in chain.iter().enumerate() {
            let (attempt, given) = match link.as_str() {
                CACHED => self.stale(query, chain).await,
                DEFAULT => self.default_material(query),
                name => self.provider(name, query).await,
            };
            attempts.push(attempt);
            let Some(given) = given else { continue };
            let mut outcome = SearchOutcome {
                provider: link.clone(),
                found_by: given.found_by,
                looked_up: link != DEFAULT,
                degraded: place > 0,
                age: given.age,
                joined: false,
                items: given.items,
                cost: total(&attempts),
                attempts,
                pages: Vec::new(),
            };
            if query.pages() > 0 && self.links.contains_key(link) {
                let (items, count) = (&mut outcome.items, query.pages());
                outcome.pages = self
                    .reader
                    .read_all(&self.http, &self.settings, items, count)
                    .await;
                outcome.cost = outcome
                    .pages
                    .iter()
                    .fold(outcome.cost, |sum, page| sum.plus(page.cost));
            }
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
}

/// The end of a search that panicked. Its callers go on without an answer.
fn panicked() -> SearchError {
    let failure = LinkFailure::new(
        FailureKind::Malformed,
        "nova3 panicked during the search (please report it)",
    );
    SearchError::NoAnswer {
        attempts: vec![unsent("search", Some(failure), Instant::now())],
        cost: Cost::ZERO,
    }
}

fn total(attempts: &[LinkAttempt]) -> Cost {
    attempts
        .iter()
        .fold(Cost::ZERO, |sum, attempt| sum.plus(attempt.cost))
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
