//! The search of a task, and its sources, in a result line. The texts of the sources stay in the store.

use serde::Serialize;

use super::outcome::{Provenance, SearchTaskRecord};
use super::result_line::ShowTime;
use super::task_search::{QueryRecord, SourceRecord};
use super::usage::Cost;

/// The search of a task.
#[derive(Serialize)]
pub(super) struct SearchSummaryLine<'a> {
    status: &'static str,
    queries: &'a [QueryRecord],
    degraded: bool,
    cost_usd: Option<f64>,
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// A source that a task may refer to.
#[derive(Serialize)]
pub(super) struct SourceLine<'a> {
    id: &'a str,
    provider: &'a str,
    query: &'a str,
    title: &'a str,
    url: Option<&'a str>,
    published_at: Option<&'a str>,
    found_at: Option<String>,
    hash: &'a str,
    looked_up: bool,
}

impl<'a> SearchSummaryLine<'a> {
    pub(super) fn new(search: &'a SearchTaskRecord) -> Self {
        let making: Option<&Provenance> = search.making.as_ref();
        Self {
            status: search.status.shown(),
            queries: search.found.as_ref().map_or(&[], |found| &found.queries),
            degraded: making.is_none_or(|making| making.degraded),
            cost_usd: making.and_then(|making| making.cost).map(Cost::usd),
            duration_ms: making.map(|making| making.duration_ms),
            error: search.failure.as_ref().map(|failure| failure.message.as_str()),
        }
    }
}

impl<'a> SourceLine<'a> {
    /// Returns the sources of a task's search.
    pub(super) fn all(search: Option<&'a SearchTaskRecord>, time: ShowTime) -> Vec<Self> {
        let found = search.and_then(|search| search.found.as_ref());
        let sources = found.map_or(&[][..], |found| &found.sources);
        sources.iter().map(|source| Self::new(source, time)).collect()
    }

    fn new(source: &'a SourceRecord, time: ShowTime) -> Self {
        Self {
            id: &source.id,
            provider: &source.provider,
            query: &source.query,
            title: &source.title,
            url: source.url.as_deref(),
            published_at: source.published_at.as_deref(),
            found_at: time(source.found_at),
            hash: &source.hash,
            looked_up: source.looked_up,
        }
    }
}
