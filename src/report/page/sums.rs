//! Sums over calls: by agent, route, day and user, and for each request.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::clock;
use crate::domain::outcome::{Attempt, CallEnd};
use crate::domain::usage::{Cost, Usage};
use crate::store::LedgerCall;

/// The most users that the page lists. The others are one row.
const MOST_USERS: usize = 50;

const DAY_MS: i64 = 86_400_000;

/// The calls, tokens and money of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct GroupSums {
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) usage: Usage,
    pub(super) cost: Cost,
    pub(super) wasted: Cost,
    pub(super) unpriced: u64,
}

impl GroupSums {
    pub(super) fn add(&mut self, attempt: &Attempt) {
        self.calls += 1;
        self.failed += u64::from(!attempt.end.is_good());
        self.usage = self.usage.plus(attempt.usage);
        let cost = attempt.cost.unwrap_or(Cost::ZERO);
        self.cost = self.cost.plus(cost);
        if !attempt.used {
            self.wasted = self.wasted.plus(cost);
        }
        self.unpriced += u64::from(attempt.cost.is_none());
    }

    fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            failed: self.failed + other.failed,
            usage: self.usage.plus(other.usage),
            cost: self.cost.plus(other.cost),
            wasted: self.wasted.plus(other.wasted),
            unpriced: self.unpriced + other.unpriced,
        }
    }

    /// Returns the cost in dollars; `None` if no call has a price.
    pub(super) fn usd(&self) -> Option<f64> {
        (self.calls == 0 || self.unpriced < self.calls).then(|| self.cost.usd())
    }
}

/// A row of a table of groups.
#[derive(Debug, Serialize)]
pub(super) struct GroupRow {
    name: String,
    calls: u64,
    failed: u64,
    input: u64,
    cached: u64,
    output: u64,
    cost: Option<f64>,
    wasted: f64,
    unpriced: u64,
}

impl GroupRow {
    fn new(name: String, sums: &GroupSums) -> Self {
        Self {
            name,
            calls: sums.calls,
            failed: sums.failed,
            input: sums.usage.input_tokens,
            cached: sums.usage.cached_input_tokens,
            output: sums.usage.output_tokens,
            cost: sums.usd(),
            wasted: sums.wasted.usd(),
            unpriced: sums.unpriced,
        }
    }
}

/// The sums of all groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    agents: BTreeMap<String, GroupSums>,
    routes: BTreeMap<String, GroupSums>,
    users: HashMap<String, GroupSums>,
    days: BTreeMap<i64, GroupSums>,
    failed: BTreeMap<(String, &'static str), u64>,
}

/// The tables of all groups.
#[derive(Debug, Serialize)]
pub(super) struct GroupTables {
    agent: Vec<GroupRow>,
    route: Vec<GroupRow>,
    day: Vec<GroupRow>,
    user: Vec<GroupRow>,
    /// The users that share the last row.
    other_users: usize,
}

/// Failed calls of one route, for one cause.
#[derive(Debug, Serialize)]
pub(super) struct FailedCalls {
    route: String,
    cause: &'static str,
    calls: u64,
}

impl Groups {
    /// Adds a call. `agent` is the name of its group of agents.
    pub(super) fn add(&mut self, agent: &str, call: &LedgerCall) {
        let attempt = &call.attempt;
        sums_of(&mut self.agents, agent).add(attempt);
        sums_of(&mut self.routes, &attempt.route).add(attempt);
        match self.users.get_mut(&call.user_id) {
            Some(sums) => sums.add(attempt),
            None => self.users.entry(call.user_id.clone()).or_default().add(attempt),
        }
        let day = attempt.started_at.div_euclid(DAY_MS);
        self.days.entry(day).or_default().add(attempt);
        let cause = match attempt.end {
            CallEnd::Answered => return,
            CallEnd::Failed(class) => class.as_str(),
            CallEnd::Abandoned => "abandoned",
        };
        *self.failed.entry((attempt.route.clone(), cause)).or_default() += 1;
    }

    /// Returns the tables, the most expensive groups first and days in their order.
    pub(super) fn tables(&self) -> GroupTables {
        let users = self.users.iter().map(|(name, sums)| (name.clone(), *sums));
        let mut users = by_cost(users.collect());
        let others = users.split_off(MOST_USERS.min(users.len()));
        let rest = others
            .iter()
            .fold(GroupSums::default(), |sum, (_, more)| sum.plus(*more));
        if !others.is_empty() {
            users.push((String::new(), rest));
        }
        let named = |groups: &BTreeMap<String, GroupSums>| {
            let groups = groups.iter().map(|(name, sums)| (name.clone(), *sums));
            rows(by_cost(groups.collect()))
        };
        GroupTables {
            agent: named(&self.agents),
            route: named(&self.routes),
            day: rows(self.days.iter().map(|(day, sums)| (date(*day), *sums)).collect()),
            user: rows(users),
            other_users: others.len(),
        }
    }

    /// Returns the failed calls, the most frequent first.
    pub(super) fn failed_calls(&self) -> Vec<FailedCalls> {
        let failed = self.failed.iter().map(|((route, cause), calls)| FailedCalls {
            route: route.clone(),
            cause,
            calls: *calls,
        });
        let mut failed: Vec<FailedCalls> = failed.collect();
        failed.sort_by_key(|row| std::cmp::Reverse(row.calls));
        failed
    }
}

fn sums_of<'m>(groups: &'m mut BTreeMap<String, GroupSums>, name: &str) -> &'m mut GroupSums {
    if !groups.contains_key(name) {
        groups.insert(name.to_owned(), GroupSums::default());
    }
    groups.entry(name.to_owned()).or_default()
}

fn by_cost(mut groups: Vec<(String, GroupSums)>) -> Vec<(String, GroupSums)> {
    groups.sort_by(|(a, one), (b, other)| {
        let key = |sums: &GroupSums| (sums.cost, sums.usage.total(), sums.calls);
        key(other).cmp(&key(one)).then_with(|| a.cmp(b))
    });
    groups
}

fn rows(groups: Vec<(String, GroupSums)>) -> Vec<GroupRow> {
    groups
        .into_iter()
        .map(|(name, sums)| GroupRow::new(name, &sums))
        .collect()
}

/// Returns the date of a day, counted from 1970-01-01.
fn date(day: i64) -> String {
    let text = day.checked_mul(DAY_MS).and_then(clock::rfc3339);
    text.and_then(|text| text.get(..10).map(str::to_owned))
        .unwrap_or_else(|| "no date".to_owned())
}

/// The calls of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct QueueSums {
    pub(super) sums: GroupSums,
    /// Milliseconds for which at least one call was in flight.
    pub(super) busy_ms: u64,
}

/// Collects the calls of the requests, which stand together.
#[derive(Debug, Default)]
pub(super) struct QueueCalls {
    present: Option<i64>,
    sums: GroupSums,
    calls: Vec<(i64, i64)>,
    settled: HashMap<i64, QueueSums>,
}

impl QueueCalls {
    pub(super) fn add(&mut self, queue_id: i64, attempt: &Attempt) {
        if self.present != Some(queue_id) {
            self.settle();
            self.present = Some(queue_id);
        }
        self.sums.add(attempt);
        let length = i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX);
        let end = attempt.started_at.saturating_add(length);
        self.calls.push((attempt.started_at, end));
    }

    fn settle(&mut self) {
        let Some(queue_id) = self.present.take() else {
            return;
        };
        let settled = QueueSums {
            sums: std::mem::take(&mut self.sums),
            busy_ms: covered(&mut self.calls),
        };
        self.calls.clear();
        self.settled.insert(queue_id, settled);
    }

    pub(super) fn settled(mut self) -> HashMap<i64, QueueSums> {
        self.settle();
        self.settled
    }
}

/// Returns how much time the spans cover together. Spans side by side count once.
fn covered(spans: &mut [(i64, i64)]) -> u64 {
    spans.sort_unstable();
    let mut end = i64::MIN;
    let mut sum = 0_u64;
    for &(from, to) in spans.iter() {
        let from = from.max(end);
        if to > from {
            sum = sum.saturating_add(to.abs_diff(from));
            end = to;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_side_by_side_count_once() {
        assert_eq!(covered(&mut []), 0);
        assert_eq!(covered(&mut [(10, 30), (0, 20), (100, 101), (15, 18)]), 31);
        assert_eq!(covered(&mut [(i64::MIN, i64::MAX), (0, 1)]), u64::MAX);
    }

    #[test]
    fn a_day_is_a_date() {
        assert_eq!([date(0), date(20_787)], ["1970-01-01", "2026-11-30"]);
        assert_eq!(date(i64::MAX), "no date");
    }
}
