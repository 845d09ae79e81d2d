//! The bill: what calls cost, as a table, CSV or JSON.

mod json;
mod money;
mod text;

use crate::store::{UsageKey, UsageRow, UsageSums};

pub use json::bill_json;
pub use text::{bill_csv, bill_text};

/// The data of `usage`.
#[derive(Debug, Default)]
pub struct UsageBill {
    /// The keys of the rows.
    pub by: Vec<UsageKey>,
    /// The rows.
    pub rows: Vec<UsageRow>,
    /// Their sum.
    pub total: UsageSums,
    /// The calls whose answer was not used, by cause; the most expensive cause first.
    pub waste: Vec<(String, UsageSums)>,
    /// The calls whose cost is not known, by route and model.
    pub unpriced: Vec<UnpricedCalls>,
    /// Where the prices in force come from, by route.
    pub prices: Vec<PriceSource>,
    /// The filter in words, by name.
    pub filter: Vec<(&'static str, String)>,
    /// How many seconds the store that was read is behind its store, if it is a replica.
    pub replica_age_s: Option<f64>,
}

/// Calls whose cost is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpricedCalls {
    /// Their route.
    pub route: String,
    /// Their model.
    pub model: String,
    /// How many.
    pub calls: u64,
    /// The setting that is missing, or another reason.
    pub cure: String,
}

/// Where the price of a route comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceSource {
    /// The route.
    pub route: String,
    /// `settings`, or the name of a table with its date; `None` if it has no price.
    pub source: Option<String>,
}

impl UsageBill {
    /// Makes a bill of rows, and of the rows by cause, route and model.
    pub fn new(by: Vec<UsageKey>, rows: Vec<UsageRow>, causes: &[UsageRow]) -> Self {
        let total = rows
            .iter()
            .fold(UsageSums::default(), |sum, row| sum.plus(row.sums));
        Self {
            by,
            rows,
            total,
            waste: waste(causes),
            ..Self::default()
        }
    }
}

/// Returns the sums by the first key, which is the cause.
fn waste(rows: &[UsageRow]) -> Vec<(String, UsageSums)> {
    let mut waste: Vec<(String, UsageSums)> = Vec::new();
    for row in rows {
        let Some(Some(cause)) = row.keys.first() else {
            continue;
        };
        match waste.iter_mut().find(|(known, _)| known == cause) {
            Some((_, sums)) => *sums = sums.plus(row.sums),
            None => waste.push((cause.clone(), row.sums)),
        }
    }
    waste.sort_by(|(one, first), (other, second)| {
        let dearness = |sums: &UsageSums| (sums.cost.plus(sums.uncertain), sums.calls);
        dearness(second)
            .cmp(&dearness(first))
            .then_with(|| one.cmp(other))
    });
    waste
}
