//! The bill: sums over the ledger of all runs, grouped by what a user asks for. Both engines run the same statement.

use std::cmp::Ordering;

use super::RunId;
use crate::clock;
use crate::domain::usage::{CostSum, Usage};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// The number of columns with sums, behind those of the keys.
pub(super) const SUMS: usize = 14;

/// A key by which the calls of the ledger are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageKey {
    /// The UTC day on which the call was sent, such as `2026-11-30`.
    Day,
    /// The user of the request.
    User,
    /// The name of the run.
    Run,
    /// The session of the request; none if it has none.
    Session,
    /// The action of the task; `supervisor` for planning, `?` for a task that is no longer stored.
    Agent,
    /// The route; `search:NAME` for a search provider.
    Route,
    /// The model; empty for a search.
    Model,
    /// The service tier that served the call; `live` is the usual one.
    Lane,
    /// The cause why the answer was not used; none for a call whose answer is a result.
    Cause,
}

impl UsageKey {
    /// All keys, in the order of the help text.
    pub const ALL: [Self; 9] = [
        Self::Day,
        Self::User,
        Self::Run,
        Self::Session,
        Self::Agent,
        Self::Route,
        Self::Model,
        Self::Lane,
        Self::Cause,
    ];

    /// Its name in `--by` and at the head of its column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::User => "user",
            Self::Run => "run",
            Self::Session => "session",
            Self::Agent => "agent",
            Self::Route => "route",
            Self::Model => "model",
            Self::Lane => "lane",
            Self::Cause => "cause",
        }
    }

    /// Returns the key with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == name)
    }

    const fn column(self) -> &'static str {
        match self {
            Self::Day => "a.started_at / 86400000",
            Self::User => "coalesce(q.user_id, '?')",
            Self::Run => "coalesce(r.name, '?')",
            Self::Session => "q.session_id",
            Self::Agent => "CASE WHEN a.task_index < 0 THEN 'supervisor' ELSE coalesce(t.action, '?') END",
            Self::Route => "a.route",
            Self::Model => "a.model",
            Self::Lane => "a.lane",
            Self::Cause => "CASE WHEN a.used THEN NULL ELSE coalesce(a.error_class, 'repeated') END",
        }
    }
}

/// The calls that a bill counts. Every condition is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageFilter {
    /// Calls of this run only.
    pub run: Option<RunId>,
    /// Calls for this user's requests only.
    pub user: Option<String>,
    /// Calls that were sent at this time or later, in Unix milliseconds.
    pub since: Option<i64>,
    /// Calls that were sent before this time, in Unix milliseconds.
    pub until: Option<i64>,
}

/// A question about the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageQuery {
    /// The keys of the groups, in the order of the columns. Without a key there is one group.
    pub by: Vec<UsageKey>,
    /// The calls that count.
    pub filter: UsageFilter,
    /// The most groups of the answer.
    pub most: usize,
}

/// The sums of a group of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageSums {
    /// Calls, searches included.
    pub calls: u64,
    /// Calls that gave no answer.
    pub failed: u64,
    /// Calls whose cost is not known.
    pub unpriced: u64,
    /// The part of `calls` that went to search providers.
    pub searches: u64,
    /// Counted tokens.
    pub usage: Usage,
    /// The known cost.
    pub cost: CostSum,
    /// The part of `cost` without a used answer.
    pub wasted: CostSum,
    /// The cost that may come on top, because answers were lost.
    pub uncertain: CostSum,
}

impl UsageSums {
    /// Whether any of its costs is known; true also without a call.
    pub const fn knows_costs(&self) -> bool {
        self.calls == 0 || self.unpriced < self.calls
    }

    /// Returns the sums of both groups together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            failed: self.failed.saturating_add(other.failed),
            unpriced: self.unpriced.saturating_add(other.unpriced),
            searches: self.searches.saturating_add(other.searches),
            usage: self.usage.plus(other.usage),
            cost: self.cost.plus(other.cost),
            wasted: self.wasted.plus(other.wasted),
            uncertain: self.uncertain.plus(other.uncertain),
        }
    }

    /// Reads the columns of [`UsageQuery::statement`] behind the keys.
    pub(super) fn of_columns(columns: [i64; SUMS]) -> Self {
        let count = |column: usize| columns[column].max(0).unsigned_abs();
        let money = |column: usize| CostSum::of_parts(count(column), count(column + 1));
        Self {
            calls: count(0),
            failed: count(1),
            unpriced: count(2),
            searches: count(3),
            usage: Usage {
                input_tokens: count(4),
                cached_input_tokens: count(5),
                cache_write_tokens: count(6),
                output_tokens: count(7),
            },
            cost: money(8),
            wasted: money(10),
            uncertain: money(12),
        }
    }
}

/// A group of calls with its sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// The values of the keys, in the order of the query.
    pub keys: Vec<Option<String>>,
    /// Its sums.
    pub sums: UsageSums,
}

impl UsageQuery {
    /// Returns the statement. Its columns are the keys and then the sums. Its only parameter is the user of the filter,
    /// if there is one.
    ///
    /// A sum of money can be larger than an integer of the stores, so its millions and its remainder are two sums.
    pub(super) fn statement(&self) -> String {
        let has = |keys: &[UsageKey]| self.by.iter().any(|key| keys.contains(key));
        let mut from = "nova3_attempts a".to_owned();
        if has(&[UsageKey::User, UsageKey::Session]) || self.filter.user.is_some() {
            from += " LEFT JOIN nova3_queues q ON q.queue_id = a.queue_id";
        }
        if has(&[UsageKey::Run]) {
            from += " LEFT JOIN nova3_runs r ON r.run_id = a.run_id";
        }
        if has(&[UsageKey::Agent]) {
            from += " LEFT JOIN nova3_tasks t ON t.queue_id = a.queue_id AND t.task_index = a.task_index";
        }
        let keys: Vec<&str> = self.by.iter().flat_map(|key| [key.column(), ", "]).collect();
        let keys = keys.concat();
        let places: Vec<String> = (1..=self.by.len()).map(|place| place.to_string()).collect();
        let grouped = if places.is_empty() {
            String::new()
        } else {
            format!(" GROUP BY {}", places.join(", "))
        };
        let sum = |of: &str| format!("CAST(coalesce(sum({of}), 0) AS bigint)");
        let money = |of: &str| {
            format!(
                "{}, {}",
                sum(&format!("{of} / 1000000")),
                sum(&format!("{of} % 1000000"))
            )
        };
        format!(
            "SELECT {keys}count(*), count(*) FILTER (WHERE a.error_class IS NOT NULL), count(*) FILTER (WHERE a.cost IS NULL),
               count(*) FILTER (WHERE a.route LIKE 'search:%'), {}, {}, {}, {}, {}, {}, {}
             FROM {from}{}{grouped} LIMIT {}",
            sum("a.input_tokens"),
            sum("a.cached_input_tokens"),
            sum("a.cache_write_tokens"),
            sum("a.output_tokens"),
            money("a.cost"),
            money("CASE WHEN a.used THEN 0 ELSE a.cost END"),
            money("a.uncertain"),
            self.filter.conditions(),
            self.most,
        )
    }

    /// Returns the value of a key's column that holds a number.
    pub(super) fn of_number(number: i64) -> Option<String> {
        let date = clock::rfc3339(number.saturating_mul(DAY_MS))?;
        date.get(..10).map(str::to_owned)
    }

    /// Sorts rows by their keys, those without a value first. The engines sort text in different ways, so that the order
    /// of both is made here.
    pub(super) fn sorted(mut rows: Vec<UsageRow>) -> Vec<UsageRow> {
        rows.sort_by(|one, other| match one.keys.cmp(&other.keys) {
            Ordering::Equal => other.sums.cost.cmp(&one.sums.cost),
            order => order,
        });
        rows
    }
}

impl UsageFilter {
    fn conditions(&self) -> String {
        let conditions: Vec<String> = [
            self.run.map(|run| format!("a.run_id = {}", run.0)),
            self.since.map(|since| format!("a.started_at >= {since}")),
            self.until.map(|until| format!("a.started_at < {until}")),
            self.user.as_ref().map(|_| "q.user_id = $1".to_owned()),
        ]
        .into_iter()
        .flatten()
        .collect();
        if conditions.is_empty() {
            return String::new();
        }
        format!(" WHERE {}", conditions.join(" AND "))
    }
}
