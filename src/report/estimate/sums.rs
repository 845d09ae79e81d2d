//! Sums of expected calls, by agent and route.

use std::collections::BTreeMap;

use crate::domain::usage::{Cost, Usage};

/// The agent and the route of calls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey {
    /// The action of the agent.
    pub agent: String,
    /// The route; `search:NAME` for a search provider.
    pub route: String,
}

/// The expected and the highest use of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CallSums {
    /// Expected calls.
    pub calls: f64,
    /// Expected tokens of prompts.
    pub input: f64,
    /// The part of `input` that the provider reads from its cache.
    pub cached: f64,
    /// Expected tokens of answers.
    pub output: f64,
    /// Expected cost in picodollars, of the calls with a price.
    pub cost: f64,
    /// Expected calls without a price.
    pub unpriced: f64,
    /// Expected calls whose answers have an unknown length: the limit of the agent counts.
    pub by_limit: f64,
    /// Expected milliseconds of the calls, one after the other.
    pub busy_ms: f64,
    /// The most that the calls cost if each is answered at once.
    pub without_retries: Cost,
    /// The most that the calls cost.
    pub worst: Cost,
    /// Whether a possible call has no price, or its answer no bound. The highest costs are too low then.
    pub is_unbounded: bool,
}

impl CallSums {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.input += other.input;
        self.cached += other.cached;
        self.output += other.output;
        self.cost += other.cost;
        self.unpriced += other.unpriced;
        self.by_limit += other.by_limit;
        self.busy_ms += other.busy_ms;
        self.without_retries = self.without_retries.plus(other.without_retries);
        self.worst = self.worst.plus(other.worst);
        self.is_unbounded |= other.is_unbounded;
    }

    /// Returns a share of the expectation, without the highest costs.
    fn share(&self, share: f64) -> Self {
        Self {
            calls: self.calls * share,
            input: self.input * share,
            cached: self.cached * share,
            output: self.output * share,
            cost: self.cost * share,
            unpriced: self.unpriced * share,
            by_limit: self.by_limit * share,
            busy_ms: self.busy_ms * share,
            without_retries: Cost::ZERO,
            worst: Cost::ZERO,
            is_unbounded: self.is_unbounded,
        }
    }

    /// The expected cost in dollars; `None` if a call has no price.
    pub fn usd(&self) -> Option<f64> {
        (self.unpriced <= 0.0).then_some(self.cost / 1e12)
    }

    /// The highest cost in dollars; `None` if it has no bound.
    pub fn worst_usd(&self) -> Option<f64> {
        (!self.is_unbounded).then(|| self.worst.usd())
    }

    /// The highest cost in dollars without retries and repairs; `None` if it has no bound.
    pub fn without_retries_usd(&self) -> Option<f64> {
        (!self.is_unbounded).then(|| self.without_retries.usd())
    }
}

/// The estimate of a task, a request, or an input.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Estimate {
    /// The sums by agent and route.
    pub rows: BTreeMap<RowKey, CallSums>,
    /// The expected tokens of the last result in later prompts.
    pub result_tokens: f64,
    /// The expected milliseconds of calls that wait for each other. For an input: of its longest request.
    pub serial_ms: f64,
    /// Why a task would fail before any call, as when its request is too long.
    pub refused: Option<String>,
}

impl Estimate {
    /// Adds sums to the row of an agent and a route.
    pub(super) fn put(&mut self, agent: &str, route: &str, sums: &CallSums) {
        let key = RowKey {
            agent: agent.to_owned(),
            route: route.to_owned(),
        };
        self.rows.entry(key).or_default().add(sums);
    }

    /// Adds the rows of another estimate.
    pub fn add(&mut self, other: &Self) {
        for (key, sums) in &other.rows {
            self.rows.entry(key.clone()).or_default().add(sums);
        }
    }

    /// Adds a share of the expectation of another estimate.
    pub(super) fn add_share(&mut self, other: &Self, share: f64) {
        for (key, sums) in &other.rows {
            self.rows.entry(key.clone()).or_default().add(&sums.share(share));
        }
        self.result_tokens += other.result_tokens * share;
        self.serial_ms += other.serial_ms * share;
    }

    /// Returns the sum of all rows.
    pub fn total(&self) -> CallSums {
        self.rows.values().fold(CallSums::default(), |mut sum, row| {
            sum.add(row);
            sum
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of an estimate")]
pub(super) const fn number(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of an estimate; the cast saturates"
)]
pub(super) fn rounded(number: f64) -> u64 {
    number.max(0.0).round() as u64
}

/// Returns the usage of one call of several with these tokens together.
pub(super) fn of_one(calls: f64, (input, cached, written, output): (f64, f64, f64, f64)) -> Usage {
    let one = |tokens: f64| if calls > 0.0 { rounded(tokens / calls) } else { 0 };
    Usage {
        input_tokens: one(input),
        cached_input_tokens: one(cached),
        cache_write_tokens: one(written),
        output_tokens: one(output),
    }
}
