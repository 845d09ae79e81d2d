//! Searches: providers described by files, and the chain that asks them in order.
//!
//! ```text
//! Searcher::search ─▶ single flight ─▶ fresh cache entry? ─▶ link 1 ─▶ link 2 ─▶ … ─▶ `cached` ─▶ `default`
//!                                                              │
//!   key ─▶ latch ─▶ pause ─▶ breaker ─▶ limiter ─▶ request ─▶ rules of the answer ─▶ cleaned items, or a failure
//! ```
//!
//! A provider is a file (`search/*.toml`): its request, the rules for its answer, its cost and its limits. No provider
//! has code of its own.
//!
//! Failure behaviour: each failed link leaves a [`LinkAttempt`] with its cause, and the next link is asked. A 429
//! pauses the provider. Failures in a row open its breaker. An answer that refuses the key or reports an empty account
//! latches the provider: this process sends it no further request. Text from outside is bounded and cleaned. It is
//! never executed and never rendered as a template.
//!
//! [`Searcher::read_pages`] replaces the snippets of the first items by the texts of their pages. The addresses come from
//! outside, so only public hosts are asked. A page that fails leaves its item as it was.
//!
//! One link waits at most for its rate limit. Each try adds its timeout, and the longer of `retry.patience` and
//! `retry.longest`.
//!
//! Deliberately absent: prompts and facts (they belong to `agent`), and the ledger.

mod address;
mod breaker;
mod cache;
mod chain;
mod clean;
mod cost;
mod flight;
mod html;
mod http;
mod item;
mod library;
mod link;
mod main_text;
mod markup;
mod material;
mod outcome;
mod page_http;
mod pages;
mod pointer;
mod provider;
mod provider_file;
mod published;
mod query;
mod redirect;
mod request;
mod response;
mod retry_after;
mod rules;
mod secrets;
mod store_cache;
mod template;

pub use cache::{CacheError, CacheHit, CachedSearch, Lifetime, MemoryCache, SearchCache};
pub use chain::{SearchError, Searcher};
pub use item::SearchItem;
pub use library::Providers;
pub use outcome::{FailureKind, LinkAttempt, LinkFailure, SearchOutcome};
pub use pages::PageRead;
pub use provider::Provider;
pub use provider_file::ProviderError;
pub use query::{Query, QueryKey};
pub use store_cache::{StoreCache, has_stored};

/// Returns the name of a provider in the ledger of calls and among limits, where routes have names too.
pub fn route_name(provider: &str) -> String {
    format!("search:{provider}")
}

/// The link that answers from the cache when the links before it failed. Naming it also turns the cache on.
pub const CACHED: &str = "cached";

/// The only provider of a rehearsal.
pub const MOCK: &str = "mock";

/// The reader that asks pages itself. A provider file of the kind `reader` has another name.
pub const HTTP: &str = "http";

/// The link that answers with default material. No provider looks that material up.
pub const DEFAULT: &str = "default";
