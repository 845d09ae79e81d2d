//! The size of the tests: parameters from the environment.

use std::time::Duration;

use super::choices::{self, number};

/// The size of a run of the tests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    pub(crate) long: bool,
    /// The least share of the calm throughput, in percent. The short form has no bound, because it ends before a kill
    /// could be made up for.
    pub(crate) least: f64,
    /// How long a lack of progress is accepted. It is longer than a breaker may close a route.
    pub(crate) patience: Duration,
    /// Requests of the storm, of three tasks each.
    pub(crate) requests: usize,
    /// How often processes are ended in the storm.
    pub(crate) kills: usize,
    /// The concurrent calls.
    pub(crate) concurrency: usize,
    /// The median time to the first piece of an answer.
    pub(crate) latency: Duration,
    /// How long every route is down.
    pub(crate) outage: Duration,
    /// Runs under a cost cap, each with its own random choices.
    pub(crate) caps: usize,
    /// The seed of every random choice.
    pub(crate) seed: u64,
}

impl Form {
    /// The short form, unless the environment says otherwise.
    pub(crate) fn get() -> Self {
        let long = number("NOVA3_CHAOS_LONG", 0_u8) != 0;
        let of = |short, of_long| if long { of_long } else { short };
        Self {
            long,
            least: number("NOVA3_CHAOS_LEAST", if long { 70.0 } else { 0.0 }),
            patience: Duration::from_secs(number("NOVA3_CHAOS_PATIENCE_S", 180)),
            requests: number("NOVA3_CHAOS_REQUESTS", of(300, 10_000)),
            kills: number("NOVA3_CHAOS_KILLS", of(10, 100)),
            concurrency: number("NOVA3_CHAOS_CONCURRENCY", of(16, 48)),
            latency: Duration::from_millis(number("NOVA3_CHAOS_LATENCY_MS", if long { 500 } else { 40 })),
            outage: Duration::from_secs(number("NOVA3_CHAOS_OUTAGE_S", if long { 90 } else { 4 })),
            caps: number("NOVA3_CHAOS_CAPS", of(5, 50)),
            seed: number("NOVA3_CHAOS_SEED", 1),
        }
    }

    /// The random choices of one scenario.
    pub(crate) fn rng(self, scenario: &str) -> fastrand::Rng {
        choices::rng(self.seed, scenario)
    }
}
