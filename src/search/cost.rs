//! The cost of a search, as the provider's file and its answers name it.

use toml::Spanned;

use super::pointer::Pointers;
use super::provider_file::{ProviderError, ProviderSource, RawCost};
use crate::domain::usage::Cost;

/// The highest cost of one search in dollars. A higher amount in an answer is ignored.
const MOST_USD: f64 = 10.0;

/// How much more than the flat cost a request may cost whose answer names its own amount.
const NAMED_AT_MOST: u64 = 10;

/// The cost of an answered search.
#[derive(Debug, Clone, Default)]
pub(super) struct CostRule {
    flat: Cost,
    usd_at: Pointers,
    units_at: Pointers,
    usd_per_unit: f64,
}

impl CostRule {
    /// Reads the table `cost` of a file.
    pub(super) fn read(source: &ProviderSource, cost: &RawCost) -> Result<Self, ProviderError> {
        let amount = |key: &str, value: Option<&Spanned<f64>>, most: f64| match value {
            Some(value) if !(0.0..=most).contains(value.get_ref()) => {
                let shown = value.get_ref().to_string();
                Err(source.wrong(key, value, &shown, &format!("0 to {most} dollars")))
            }
            value => Ok(value.map_or(0.0, |value| *value.get_ref())),
        };
        let rate = cost.usd_per_million_units.as_ref();
        if let (Some(units), None) = (&cost.units_at, rate) {
            let reason = "`cost.units_at` needs a price: expected `cost.usd_per_million_units`";
            return Err(source.problem(units.span().start, reason));
        }
        Ok(Self {
            flat: dollars(amount("cost.usd", cost.usd.as_ref(), MOST_USD)?),
            usd_at: source.pointers("cost.usd_at", cost.usd_at.as_ref())?,
            units_at: source.pointers("cost.units_at", cost.units_at.as_ref())?,
            usd_per_unit: amount("cost.usd_per_million_units", rate, 1e6)? / 1e6,
        })
    }

    /// The cost of an answer that names no amount.
    pub(super) const fn flat(&self) -> Cost {
        self.flat
    }

    /// The cost to reserve for a request. An answer that names its own amount is expected to name at most
    /// [`NAMED_AT_MOST`] times the flat cost.
    pub(super) fn worst(&self) -> Cost {
        if self.usd_at.is_empty() && self.units_at.is_empty() {
            return self.flat;
        }
        Cost(self.flat.0.saturating_mul(NAMED_AT_MOST))
    }

    /// Returns the cost that the answer names in dollars or in units. Returns the flat cost if the answer names none,
    /// or if it is higher than allowed.
    pub(super) fn of(&self, answer: &serde_json::Value) -> Cost {
        let units = || Some(self.units_at.number(answer)? * self.usd_per_unit);
        let named = self.usd_at.number(answer).or_else(units);
        named.filter(|usd| *usd <= MOST_USD).map_or(self.flat, dollars)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and ten dollars"
)]
fn dollars(usd: f64) -> Cost {
    Cost((usd * 1e12).round() as u64)
}
