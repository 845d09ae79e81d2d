//! Distributions of durations: percentiles, and the columns of a histogram.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest duration that is told apart from longer ones, in milliseconds: one day.
const LONGEST_MS: u64 = 86_400_000;

/// The bounds of the columns of a histogram in milliseconds: each is about one and a half times the one before.
const BOUNDS: [u64; 46] = [
    0,
    1,
    2,
    3,
    5,
    7,
    10,
    15,
    20,
    30,
    50,
    70,
    100,
    150,
    200,
    300,
    500,
    700,
    1_000,
    1_500,
    2_000,
    3_000,
    5_000,
    7_000,
    10_000,
    15_000,
    20_000,
    30_000,
    45_000,
    60_000,
    90_000,
    120_000,
    180_000,
    300_000,
    420_000,
    600_000,
    900_000,
    1_200_000,
    1_800_000,
    2_700_000,
    3_600_000,
    7_200_000,
    14_400_000,
    28_800_000,
    57_600_000,
    115_200_000,
];

/// Durations in milliseconds. The memory does not grow with their number.
#[derive(Debug)]
pub(super) struct Spread {
    /// `None` if the histogram could not be made.
    durations: Option<Histogram<u32>>,
    columns: [u64; BOUNDS.len()],
}

/// The percentiles of durations, in milliseconds.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct Percentiles {
    count: u64,
    p50: u64,
    p95: u64,
    p99: u64,
    most: u64,
}

/// A column of a histogram: from, to, and how many.
pub(super) type Column = (u64, u64, u64);

impl Default for Spread {
    fn default() -> Self {
        Self {
            durations: Histogram::new_with_bounds(1, LONGEST_MS, 2).ok(),
            columns: [0; BOUNDS.len()],
        }
    }
}

impl Spread {
    pub(super) fn add(&mut self, ms: u64) {
        if let Some(durations) = &mut self.durations {
            durations.saturating_record(ms.max(1));
        }
        let column = BOUNDS.partition_point(|&bound| bound <= ms).saturating_sub(1);
        if let Some(count) = self.columns.get_mut(column) {
            *count += 1;
        }
    }

    /// Returns the percentiles; `None` without a duration.
    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        let durations = self
            .durations
            .as_ref()
            .filter(|durations| !durations.is_empty())?;
        let most = durations.max();
        let at = |quantile| durations.value_at_quantile(quantile).min(most);
        Some(Percentiles {
            count: durations.len(),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            most,
        })
    }

    /// Returns the columns from the first to the last that is not empty.
    pub(super) fn columns(&self) -> Vec<Column> {
        let first = self.columns.iter().position(|&count| count > 0);
        let last = self.columns.iter().rposition(|&count| count > 0);
        let (Some(first), Some(last)) = (first, last) else {
            return Vec::new();
        };
        let to = |column: usize| BOUNDS.get(column + 1).copied().unwrap_or(u64::MAX >> 12);
        (first..=last)
            .map(|column| (BOUNDS[column], to(column), self.columns[column]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_columns_count_each_duration() {
        let mut spread = Spread::default();
        assert_eq!((spread.percentiles(), spread.columns()), (None, vec![]));
        for ms in 1..=100 {
            spread.add(ms);
        }
        let found = spread.percentiles().unwrap();
        assert_eq!(
            (found.count, found.p50, found.p95, found.most),
            (100, 50, 95, 100)
        );
        assert_eq!(spread.columns()[0], (1, 2, 1));
        assert_eq!(spread.columns().last(), Some(&(100, 150, 1)));
        spread.add(u64::MAX);
        assert_eq!(spread.columns().iter().map(|column| column.2).sum::<u64>(), 101);
    }
}
