//! Tokens and money.
//!
//! Money is counted in picodollars (10⁻¹² USD) as integers, so that a price of 0.0375 USD per million
//! tokens is exact and a million small costs add up to the same sum in any order.

use serde::{Deserialize, Serialize};

/// Tokens of one call or a sum of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens, cached ones included.
    pub input_tokens: u64,
    /// The part of `input_tokens` that the provider read from its cache.
    pub cached_input_tokens: u64,
    /// The part of `input_tokens` that the provider wrote to its cache, which some bill apart.
    pub cache_write_tokens: u64,
    /// Completion tokens, reasoning included.
    pub output_tokens: u64,
}

impl Usage {
    /// The sum of two usages; saturates.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            cached_input_tokens: self.cached_input_tokens.saturating_add(other.cached_input_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
        }
    }

    /// Why this cannot be what an answer used, if so. Every prompt has tokens, and so has every answer that says
    /// something.
    pub const fn doubt(self, answered: bool) -> Option<&'static str> {
        if self.input_tokens == 0 {
            return Some("it counts no tokens of the prompt");
        }
        if answered && self.output_tokens == 0 {
            return Some("it counts no tokens of an answer that has some");
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

    /// No sum grows further: two million dollars. Four such sums fit into the 63 bits that the stores count in.
    pub const MOST: Self = Self(2_000_000_000_000_000_000);

    /// The sum; stops at [`Self::MOST`].
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let sum = self.0.saturating_add(other.0);
        if sum < Self::MOST.0 { Self(sum) } else { Self::MOST }
    }

    /// As dollars, for result lines and people.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a display value; sums are made in integers"
    )]
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e12
    }
}
