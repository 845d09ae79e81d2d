//! Calls and tokens a minute, by route, as they compare with the limits of the route.

use std::collections::BTreeMap;

use serde::Serialize;

use super::series::MOST_SLOTS;
use crate::domain::outcome::Attempt;
use crate::store::StoredRouteLimits;

const MINUTE_MS: i64 = 60_000;

/// The calls and tokens of each minute. A call counts in the minute in which it was sent.
#[derive(Debug, Default)]
pub(super) struct Minutes(BTreeMap<String, BTreeMap<i64, (u64, u64)>>);

/// The rate of one route over time. A slot covers several minutes if the run was long.
#[derive(Debug, Serialize)]
pub(super) struct RateChart {
    route: String,
    #[serde(skip)]
    all_calls: u64,
    rpm: Option<u32>,
    tpm: Option<u64>,
    /// Unix milliseconds of the first minute.
    start: i64,
    /// The minutes of one slot.
    minutes: i64,
    /// The calls a minute, as the mean over each slot.
    calls: Vec<f64>,
    /// The calls of the busiest minute of each slot.
    calls_most: Vec<u64>,
    tokens: Vec<f64>,
    tokens_most: Vec<u64>,
}

impl Minutes {
    pub(super) fn add(&mut self, attempt: &Attempt) {
        let minute = attempt.started_at.div_euclid(MINUTE_MS);
        if !self.0.contains_key(&attempt.route) {
            self.0.insert(attempt.route.clone(), BTreeMap::new());
        }
        if let Some(minutes) = self.0.get_mut(&attempt.route) {
            let (calls, tokens) = minutes.entry(minute).or_default();
            *calls += 1;
            *tokens = tokens.saturating_add(attempt.usage.total());
        }
    }

    /// Returns one chart for each route, that with the most calls first.
    pub(super) fn charts(&self, limits: &BTreeMap<String, StoredRouteLimits>) -> Vec<RateChart> {
        let mut charts: Vec<RateChart> = self
            .0
            .iter()
            .filter_map(|(route, minutes)| {
                let limits = limits.get(route).copied().unwrap_or_default();
                chart(route, limits, minutes)
            })
            .collect();
        charts.sort_by_key(|chart| std::cmp::Reverse(chart.all_calls));
        charts
    }
}

#[expect(clippy::cast_precision_loss, reason = "a mean for a chart")]
fn chart(route: &str, limits: StoredRouteLimits, minutes: &BTreeMap<i64, (u64, u64)>) -> Option<RateChart> {
    let first = *minutes.keys().next()?;
    let last = *minutes.keys().next_back()?;
    let span = last.saturating_sub(first).saturating_add(1);
    let width = span.div_euclid(MOST_SLOTS) + i64::from(span % MOST_SLOTS != 0);
    let slots = usize::try_from(span.div_euclid(width) + i64::from(span % width != 0)).ok()?;
    let mut sums = vec![(0_u64, 0_u64, 0_u64, 0_u64); slots];
    for (minute, (calls, tokens)) in minutes {
        let place = usize::try_from((minute - first) / width).ok()?;
        if let Some((all_calls, most_calls, all_tokens, most_tokens)) = sums.get_mut(place) {
            *all_calls += calls;
            *most_calls = (*most_calls).max(*calls);
            *all_tokens = all_tokens.saturating_add(*tokens);
            *most_tokens = (*most_tokens).max(*tokens);
        }
    }
    let mean = |sum: u64| (sum as f64 / width as f64 * 10.0).round() / 10.0;
    Some(RateChart {
        route: route.to_owned(),
        all_calls: sums.iter().map(|slot| slot.0).sum(),
        rpm: limits.rpm,
        tpm: limits.tpm,
        start: first.saturating_mul(MINUTE_MS),
        minutes: width,
        calls: sums.iter().map(|slot| mean(slot.0)).collect(),
        calls_most: sums.iter().map(|slot| slot.1).collect(),
        tokens: sums.iter().map(|slot| mean(slot.2)).collect(),
        tokens_most: sums.iter().map(|slot| slot.3).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_the_mean_and_the_busiest_minute_of_each_slot() {
        let minutes: BTreeMap<i64, (u64, u64)> = (0_i64..240)
            .map(|n| (n, (1 + n.unsigned_abs() % 2, 10)))
            .collect();
        let chart = chart("a", StoredRouteLimits::default(), &minutes).unwrap();
        assert_eq!((chart.minutes, chart.calls.len()), (2, 120));
        assert!(chart.calls.iter().all(|&mean| (mean - 1.5).abs() < 1e-9));
        assert!(chart.calls_most.iter().all(|&most| most == 2));
    }
}
