//! The outcome of a search: the items, the link that found them, and the failures of the links before it.

use std::time::Duration;

use super::item::SearchItem;
use super::pages::PageRead;
use crate::domain::usage::Cost;

/// A search that has an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchOutcome {
    /// The link that answered.
    pub provider: String,
    /// The provider that found the items, if the answer comes from the cache.
    pub found_by: Option<String>,
    /// Whether a provider looked the items up. Default material is not looked up.
    pub looked_up: bool,
    /// Whether the first link of the chain did not answer. For a fresh cache entry: whether another provider than the
    /// first link found the items.
    pub degraded: bool,
    /// The age of the items, if the answer comes from the cache.
    pub age: Option<Duration>,
    /// Whether this search joined an equal search in flight. The cost is counted there.
    pub joined: bool,
    /// The items, at least one.
    pub items: Vec<SearchItem>,
    /// The cost of this search, including the failed links and the pages.
    pub cost: Cost,
    /// The links that were asked, in order. The last one answered.
    pub attempts: Vec<LinkAttempt>,
    /// The pages that were read for the query.
    pub pages: Vec<PageRead>,
}

/// One link of a chain that was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkAttempt {
    /// The name of the link.
    pub link: String,
    /// The number of tries.
    pub tries: u32,
    /// The failure, or `None` if the link answered.
    pub failure: Option<LinkFailure>,
    /// The cost of its requests, including those that may have been charged.
    pub cost: Cost,
    /// The time that the link took, waits included.
    pub elapsed: Duration,
}

/// The failure of one link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFailure {
    /// The kind, for programs.
    pub kind: FailureKind,
    /// The cause, for people. The key of the provider is masked in it.
    pub message: String,
    /// The pause that the provider asks for.
    pub retry_after: Option<Duration>,
}

/// The kinds of failure of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The provider has no key. No request was sent.
    NoKey,
    /// The provider refused the key or the account, now or earlier.
    Terminal,
    /// The breaker of the provider is open. No request was sent.
    Open,
    /// The provider asked for a pause.
    Limited,
    /// The answer did not arrive in time.
    Timeout,
    /// The connection failed.
    Network,
    /// The provider reports a temporary fault.
    Server,
    /// The provider refuses this request, or the request cannot be built.
    Refused,
    /// The provider redirects to an address that is not followed.
    Redirected,
    /// The answer is larger than allowed.
    TooLarge,
    /// The answer is not what the provider's file describes.
    Malformed,
    /// There are no results.
    Empty,
    /// The cache cannot be read.
    Cache,
}

impl LinkFailure {
    /// The failure of a try that was repeated with success. Its own cause was not kept.
    pub fn retried() -> Self {
        Self::new(FailureKind::Server, "a try failed and was repeated")
    }

    pub(super) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
        }
    }
}

impl FailureKind {
    /// Returns the kind as one word, for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::Terminal => "terminal",
            Self::Open => "open",
            Self::Limited => "limited",
            Self::Timeout => "timeout",
            Self::Network => "network",
            Self::Server => "server",
            Self::Refused => "refused",
            Self::Redirected => "redirected",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Empty => "empty",
            Self::Cache => "cache",
        }
    }

    /// Whether the same request may succeed later.
    pub(super) const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Limited | Self::Timeout | Self::Network | Self::Server | Self::Malformed
        )
    }

    /// Whether the failure counts for the breaker: the fault lies with the provider and not with the query.
    pub(super) const fn is_outage(self) -> bool {
        matches!(
            self,
            Self::Timeout | Self::Network | Self::Server | Self::Malformed | Self::TooLarge
        )
    }
}
