//! The figures of a run's calls, from one pass over the ledger.

use std::collections::{BTreeMap, HashMap};

use futures::future::join;
use serde::Serialize;

use super::rates::Minutes;
use super::series::Timeline;
use super::spread::{Percentiles, Spread};
use super::sums::{GroupSums, Groups, QueueCalls, QueueSums};
use crate::store::{LedgerCall, Run, Store, StoreError};

/// Requests in one page of the ledger.
const PAGE: usize = 2_000;

/// Calls to search providers have no agent of their own here: they take another time than calls to models.
const SEARCH: &str = "search";

/// The beginning of the route of a search provider.
const SEARCH_ROUTE: &str = "search:";

/// The figures of all calls.
#[derive(Debug, Default)]
pub(super) struct CallFigures {
    pub(super) all: GroupSums,
    pub(super) groups: Groups,
    pub(super) minutes: Minutes,
    pub(super) timeline: Timeline,
    pub(super) queues: HashMap<i64, QueueSums>,
    /// Unix milliseconds of the first start and the last end.
    pub(super) span: Option<(i64, i64)>,
    agents: BTreeMap<String, CallLatency>,
    routes: BTreeMap<String, CallLatency>,
}

/// How long answered calls took, and how long their first token took.
#[derive(Debug, Default)]
struct CallLatency {
    whole: Spread,
    first: Spread,
}

/// The latency of a group of calls.
#[derive(Debug, Serialize)]
pub(super) struct LatencyRow<'a> {
    name: &'a str,
    whole: Option<Percentiles>,
    first: Option<Percentiles>,
}

/// The latency of calls by agent and by route.
#[derive(Debug, Serialize)]
pub(super) struct LatencyTables<'a> {
    agent: Vec<LatencyRow<'a>>,
    route: Vec<LatencyRow<'a>>,
}

impl CallFigures {
    /// Reads all calls of the run.
    pub(super) async fn read(store: &dyn Store, run: &Run) -> Result<Self, StoreError> {
        let mut figures = Self::default();
        let mut queues = QueueCalls::default();
        let mut page = store.calls(run.id, 0, PAGE).await?;
        while let Some(after) = page.after {
            // The store reads the next page while this one is counted.
            let (next, ()) = join(store.calls(run.id, after, PAGE), async {
                for call in &page.rows {
                    figures.add(call);
                    queues.add(call.queue_id, &call.attempt);
                }
            })
            .await;
            page = next?;
        }
        figures.queues = queues.settled();
        Ok(figures)
    }

    fn add(&mut self, call: &LedgerCall) {
        let attempt = &call.attempt;
        self.all.add(attempt);
        let agent = if attempt.route.starts_with(SEARCH_ROUTE) {
            SEARCH
        } else if call.action.is_empty() {
            "unknown"
        } else {
            &call.action
        };
        self.groups.add(agent, call);
        self.minutes.add(attempt);
        self.timeline.add_call(attempt.started_at, attempt.duration_ms);
        let length = i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX);
        let end = attempt.started_at.saturating_add(length);
        self.span = Some(match self.span {
            None => (attempt.started_at, end),
            Some((from, to)) => (from.min(attempt.started_at), to.max(end)),
        });
        if attempt.end.is_good() {
            latency_of(&mut self.agents, agent).add(attempt.duration_ms, attempt.first_token_ms);
            latency_of(&mut self.routes, &attempt.route).add(attempt.duration_ms, attempt.first_token_ms);
        }
    }

    pub(super) fn latency(&self) -> LatencyTables<'_> {
        LatencyTables {
            agent: rows(&self.agents),
            route: rows(&self.routes),
        }
    }
}

impl CallLatency {
    fn add(&mut self, whole: u64, first: Option<u64>) {
        self.whole.add(whole);
        if let Some(first) = first {
            self.first.add(first);
        }
    }
}

fn latency_of<'m>(groups: &'m mut BTreeMap<String, CallLatency>, name: &str) -> &'m mut CallLatency {
    if !groups.contains_key(name) {
        groups.insert(name.to_owned(), CallLatency::default());
    }
    groups.entry(name.to_owned()).or_default()
}

fn rows(groups: &BTreeMap<String, CallLatency>) -> Vec<LatencyRow<'_>> {
    let rows = groups.iter().map(|(name, latency)| LatencyRow {
        name,
        whole: latency.whole.percentiles(),
        first: latency.first.percentiles(),
    });
    rows.collect()
}
