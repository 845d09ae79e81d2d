//! The size of the tests: parameters from the environment.

use super::choices::{self, number};

/// The size of a run of the tests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// Requests of the kill scenarios.
    pub(crate) requests: usize,
    /// Kills of the kill scenarios.
    pub(crate) kills: usize,
    /// The seed of every random choice.
    pub(crate) seed: u64,
}

impl Form {
    /// The short form, unless the environment says otherwise.
    pub(crate) fn get() -> Self {
        Self {
            requests: number("NOVA3_CRASH_REQUESTS", 600),
            kills: number("NOVA3_CRASH_KILLS", 5),
            seed: number("NOVA3_CRASH_SEED", 1),
        }
    }

    /// The size of a secondary scenario: a share of the main one.
    pub(crate) fn smaller(self) -> Self {
        Self {
            requests: (self.requests / 4).max(120),
            kills: (self.kills / 2).max(3),
            ..self
        }
    }

    /// The random choices of one scenario.
    pub(crate) fn rng(self, scenario: &str) -> fastrand::Rng {
        choices::rng(self.seed, scenario)
    }
}
