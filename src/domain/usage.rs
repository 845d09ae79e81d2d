//! Tokens and money.
//!
//! Money is counted in picodollars (10⁻¹² USD) as integers. So a price of 0.0375 USD per million tokens is exact, and a
//! million small costs add up to the same sum in any order.

use serde::{Deserialize, Serialize};

/// Tokens of one call or a sum of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens, cached ones included.
    pub input_tokens: u64,
    /// The part of `input_tokens` that the provider read from its cache.
    pub cached_input_tokens: u64,
    /// The part of `input_tokens` that the provider wrote to its cache; some providers bill it separately.
    pub cache_write_tokens: u64,
    /// Completion tokens, reasoning included.
    pub output_tokens: u64,
}

impl Usage {
    /// No token.
    pub const NONE: Self = Self {
        input_tokens: 0,
        cached_input_tokens: 0,
        cache_write_tokens: 0,
        output_tokens: 0,
    };

    /// Returns the sum of two usages; saturates.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            cached_input_tokens: self.cached_input_tokens.saturating_add(other.cached_input_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
        }
    }

    /// Returns the part of this sum that `earlier` does not have.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_sub(earlier.input_tokens),
            cached_input_tokens: self
                .cached_input_tokens
                .saturating_sub(earlier.cached_input_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_sub(earlier.cache_write_tokens),
            output_tokens: self.output_tokens.saturating_sub(earlier.output_tokens),
        }
    }

    /// Returns why this usage cannot be right, if so. Every prompt has tokens, and every answer with content has
    /// tokens.
    pub const fn doubt(self, answered: bool) -> Option<&'static str> {
        if self.input_tokens == 0 {
            return Some("it counts no tokens of the prompt");
        }
        if answered && self.output_tokens == 0 {
            return Some("it counts no tokens of an answer that has text");
        }
        None
    }

    /// Input and output together, as token limits count them.
    pub const fn total(self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

/// An amount of money in picodollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cost(pub u64);

impl Cost {
    /// Nothing spent.
    pub const ZERO: Self = Self(0);

    /// The cap of every sum: two million dollars. Four such sums fit into the 63 bits of the stores' integers.
    pub const MOST: Self = Self(2_000_000_000_000_000_000);

    /// Returns the sum, at most [`Self::MOST`].
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let sum = self.0.saturating_add(other.0);
        if sum < Self::MOST.0 { Self(sum) } else { Self::MOST }
    }

    /// Returns the amount in dollars, for result lines and people.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a display value; sums are made in integers"
    )]
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e12
    }
}

/// A sum of the costs of many runs in picodollars. It has no cap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CostSum(pub u128);

impl CostSum {
    /// Returns the sum that has so many millions of picodollars and this remainder.
    pub fn of_parts(millions: u64, remainder: u64) -> Self {
        Self(u128::from(millions) * 1_000_000 + u128::from(remainder))
    }

    /// Returns the sum of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Returns the amount in dollars, for programs and people.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a display value; sums are made in integers"
    )]
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e12
    }
}

impl From<Cost> for CostSum {
    fn from(cost: Cost) -> Self {
        Self(cost.0.into())
    }
}

/// The sizes of a task's texts in tokens, estimated from the texts alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextSizes {
    /// The first prompt of its last conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<u64>,
    /// Its result, as later prompts show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<u64>,
}

impl TextSizes {
    /// No measured text.
    pub const NONE: Self = Self {
        prompt: None,
        result: None,
    };
}
