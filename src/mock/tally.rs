//! The counts of the server. Tests check them together with the log.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::faults::MockFault;
use super::limiter::Window;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CallOutcome {
    Ok,
    RateLimited,
    ServerError,
    Disconnect,
    Truncate,
    Stall,
    Garbage,
    ErrorInStream,
    Overloaded,
    BadRequest,
    Unauthorized,
    /// The call ended before its answer was complete: the client closed the connection, or the server stopped.
    ClientGone,
}

impl CallOutcome {
    /// Returns the outcome of a call with this fault.
    pub(crate) const fn planned(fault: Option<MockFault>) -> Self {
        match fault {
            None => Self::Ok,
            Some(MockFault::RateLimited) => Self::RateLimited,
            Some(MockFault::ServerError) => Self::ServerError,
            Some(MockFault::Disconnect) => Self::Disconnect,
            Some(MockFault::Truncate) => Self::Truncate,
            Some(MockFault::Stall) => Self::Stall,
            Some(MockFault::Garbage) => Self::Garbage,
            Some(MockFault::ErrorInStream) => Self::ErrorInStream,
            Some(MockFault::Overloaded) => Self::Overloaded,
        }
    }

    /// Returns the name in the log and in the statistics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::Disconnect => "disconnect",
            Self::Truncate => "truncate",
            Self::Stall => "stall",
            Self::Garbage => "garbage",
            Self::ErrorInStream => "error_in_stream",
            Self::Overloaded => "overloaded",
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::ClientGone => "client_gone",
        }
    }
}

/// The counts of a server, in the form of `GET /mock/stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Chat calls that arrived.
    pub calls: u64,
    /// Chat calls that ended, by outcome.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Prompt tokens of the calls that were answered, whole or in part.
    pub input_tokens: u64,
    /// Answer tokens that were sent to the network.
    pub output_tokens: u64,
    /// Connections.
    pub connections: Gauge,
    /// Chat calls that arrived and have not ended.
    pub in_flight: Gauge,
    /// The busiest 60 seconds, including refused calls. They show whether a client exceeds a limit.
    pub window: Busiest,
    /// Searches that arrived. They are not among the calls.
    pub searches: u64,
    /// The different queries of these searches.
    pub queries: u64,
    /// The planned outcomes of these searches.
    pub search_outcomes: BTreeMap<&'static str, u64>,
    /// The error that lost lines of the log, if any were lost.
    pub log_error: Option<String>,
}

/// A number that rises and falls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Gauge {
    /// Its present value.
    pub now: u64,
    /// Its highest value so far.
    pub max: u64,
}

/// The largest sums over any 60 seconds, to the millisecond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Busiest {
    /// Calls that arrived.
    pub requests_max: u64,
    /// Prompt and answer tokens of the calls that arrived, counted as if each had a complete answer.
    pub tokens_max: u64,
}

impl Gauge {
    fn up(&mut self) {
        self.now += 1;
        self.max = self.max.max(self.now);
    }

    fn down(&mut self) {
        self.now = self.now.saturating_sub(1);
    }
}

/// The running counts. One short lock for each arrival and each end keeps the counts consistent.
#[derive(Default)]
pub(crate) struct Tally(Mutex<Running>);

#[derive(Default)]
struct Running {
    stats: Stats,
    arrivals: Window,
    queries: HashSet<String>,
}

impl Tally {
    /// Counts a call that arrived and costs `tokens` if it gets a complete answer. Returns its number, from 1.
    pub(crate) fn arrived(&self, now_us: u64, tokens: u64) -> u64 {
        let mut running = self.lock();
        // Calls of the same millisecond share an entry, so that the window stays small at any rate.
        running.arrivals.add(now_us / 1000 * 1000, tokens);
        let (requests, tokens) = (running.arrivals.requests, running.arrivals.tokens);
        let stats = &mut running.stats;
        stats.window.requests_max = stats.window.requests_max.max(requests);
        stats.window.tokens_max = stats.window.tokens_max.max(tokens);
        stats.in_flight.up();
        stats.calls += 1;
        stats.calls
    }

    /// Counts a call that ended.
    pub(crate) fn ended(&self, outcome: CallOutcome, input_tokens: u64, output_tokens: u64) {
        let stats = &mut self.lock().stats;
        *stats.outcomes.entry(outcome.as_str()).or_default() += 1;
        stats.input_tokens += input_tokens;
        stats.output_tokens += output_tokens;
        stats.in_flight.down();
    }

    /// Counts a search that arrived. Returns its number, from 1.
    pub(crate) fn searched(&self, query: &str) -> u64 {
        let mut running = self.lock();
        if !running.queries.contains(query) {
            running.queries.insert(query.to_owned());
            running.stats.queries += 1;
        }
        running.stats.searches += 1;
        running.stats.searches
    }

    /// Counts the planned outcome of a search.
    pub(crate) fn search_answered(&self, outcome: CallOutcome) {
        let outcomes = &mut self.lock().stats.search_outcomes;
        *outcomes.entry(outcome.as_str()).or_default() += 1;
    }

    pub(crate) fn connected(&self) {
        self.lock().stats.connections.up();
    }

    pub(crate) fn disconnected(&self) {
        self.lock().stats.connections.down();
    }

    pub(crate) fn calls(&self) -> u64 {
        self.lock().stats.calls
    }

    pub(crate) fn stats(&self) -> Stats {
        self.lock().stats.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
