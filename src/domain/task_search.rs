//! The result of a search task: its queries, and the sources that they found.

use serde::{Deserialize, Serialize};

/// The result of a search task, as the store keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSearch {
    /// The queries, in order.
    pub queries: Vec<QueryRecord>,
    /// The distinct sources of all queries: `s1`, `s2`, …
    pub sources: Vec<SourceRecord>,
}

/// One query of a search task, and the links that were asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryRecord {
    /// Its words.
    pub query: String,
    /// The link that answered; `None` if no link answered.
    pub provider: Option<String>,
    /// The provider that found the items, if the cache answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found_by: Option<String>,
    /// Whether a provider looked the items up. Default material is not looked up.
    pub looked_up: bool,
    /// Whether the first link of the chain did not answer.
    pub degraded: bool,
    /// The age of the items in seconds, if the cache answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u64>,
    /// The links that failed, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<LinkFailureRecord>,
}

/// A link of the chain that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkFailureRecord {
    /// Its name.
    pub link: String,
    /// The kind of the failure, as one word.
    pub kind: String,
    /// The cause, for people.
    pub message: String,
}

/// A text that was found, with the place where it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Its id among the sources of its task.
    pub id: String,
    /// The query that found it first.
    pub query: String,
    /// The provider that found it.
    pub provider: String,
    /// Its title.
    pub title: String,
    /// Its address, without secrets.
    pub url: Option<String>,
    /// Its text, cleaned and bounded.
    pub text: String,
    /// The time of publication, as a date or in RFC 3339.
    pub published_at: Option<String>,
    /// The time of the search, in Unix milliseconds.
    pub found_at: i64,
    /// The SHA-256 of the text.
    pub hash: String,
    /// Whether a provider looked it up. Default material proves nothing.
    pub looked_up: bool,
}

impl TaskSearch {
    /// Whether a query has no answer, or its answer does not come from the first link of its chain. A search without a
    /// query is degraded too.
    pub fn is_degraded(&self) -> bool {
        self.queries.is_empty()
            || self
                .queries
                .iter()
                .any(|query| query.degraded || !query.looked_up)
    }

    /// Whether a provider looked a source up.
    pub fn has_looked_up(&self) -> bool {
        self.sources.iter().any(|source| source.looked_up)
    }

    /// Returns the source with this id, if a provider looked it up.
    pub fn source(&self, id: &str) -> Option<&SourceRecord> {
        self.sources
            .iter()
            .find(|source| source.id == id && source.looked_up)
    }

    /// Estimates the bytes that it takes in the store.
    pub fn bytes(&self) -> usize {
        self.sources
            .iter()
            .map(|source| source.text.len() + source.title.len() + 300)
            .sum::<usize>()
            + 300
    }
}
