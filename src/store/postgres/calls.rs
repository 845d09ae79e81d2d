//! Calls on their way into the ledger, column by column, as `unnest` takes them.

use crate::domain::outcome::Attempt;
use crate::postgres::{Param, Sent, text};

/// The calls of several jobs; `of` says whose each is, counted from 1.
#[derive(Debug, Default)]
pub(super) struct Calls {
    of: Vec<i32>,
    route: Vec<String>,
    model: Vec<String>,
    cause: Vec<Option<String>>,
    status: Vec<Option<i32>>,
    input: Vec<i64>,
    cached: Vec<i64>,
    written: Vec<i64>,
    output: Vec<i64>,
    cost: Vec<Option<i64>>,
    uncertain: Vec<i64>,
    started: Vec<i64>,
    duration: Vec<i64>,
    first: Vec<Option<i64>>,
}

/// A count as the columns hold it.
pub(super) fn int(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// A place in an array or a queue.
pub(super) fn small(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}

impl Calls {
    pub(super) fn add(&mut self, of: i32, attempts: &[Attempt]) {
        for attempt in attempts {
            self.of.push(of);
            self.route.push(text(&attempt.route));
            self.model.push(text(&attempt.model));
            self.cause.push(attempt.end.cause().map(str::to_owned));
            self.status.push(attempt.status_code.map(i32::from));
            self.input.push(int(attempt.usage.input_tokens));
            self.cached.push(int(attempt.usage.cached_input_tokens));
            self.written.push(int(attempt.usage.cache_write_tokens));
            self.output.push(int(attempt.usage.output_tokens));
            self.cost.push(attempt.cost.map(|cost| int(cost.0)));
            self.uncertain.push(int(attempt.uncertain.0));
            self.started.push(attempt.started_at);
            self.duration.push(int(attempt.duration_ms));
            self.first.push(attempt.first_token_ms.map(int));
        }
    }

    pub(super) fn sent(&self) -> [Sent<'_>; 14] {
        [
            self.of.sent(),
            self.route.sent(),
            self.model.sent(),
            self.cause.sent(),
            self.status.sent(),
            self.input.sent(),
            self.cached.sent(),
            self.written.sent(),
            self.output.sent(),
            self.cost.sent(),
            self.uncertain.sent(),
            self.started.sent(),
            self.duration.sent(),
            self.first.sent(),
        ]
    }
}
