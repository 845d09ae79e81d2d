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
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
        }
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

    /// The sum; saturates.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
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

/// Prices of a route in picodollars a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// A prompt token that was not cached.
    pub input: u64,
    /// A prompt token read from the provider's cache.
    pub cached_input: u64,
    /// A completion token.
    pub output: u64,
}

impl Price {
    /// What a usage costs.
    pub const fn of(self, usage: Usage) -> Cost {
        let cached = if usage.cached_input_tokens < usage.input_tokens {
            usage.cached_input_tokens
        } else {
            usage.input_tokens
        };
        let fresh = usage.input_tokens - cached;
        Cost(
            fresh
                .saturating_mul(self.input)
                .saturating_add(cached.saturating_mul(self.cached_input))
                .saturating_add(usage.output_tokens.saturating_mul(self.output)),
        )
    }
}
