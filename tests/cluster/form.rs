//! The size of the tests: parameters from the environment.

use std::time::Duration;

use super::choices::{self, number};

/// How long a process keeps its leases after its last heartbeat.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// The size of a run of the tests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    pub(crate) long: bool,
    /// Requests of the first run, nearly all of two tasks.
    pub(crate) requests: usize,
    /// Requests of a second run in the same store, in sessions of the first.
    pub(crate) second: usize,
    /// Workers beside the two processes that load the runs.
    pub(crate) workers: usize,
    /// The concurrent calls of each process.
    pub(crate) concurrency: usize,
    /// Processes that are killed.
    pub(crate) kills: usize,
    /// Processes that are suspended for longer than a lease.
    pub(crate) stops: usize,
    /// Times that the database stops at once.
    pub(crate) outages: usize,
    /// Networks that are cut between one process and the database.
    pub(crate) cuts: usize,
    /// Connections of one process that break while answers are on their way.
    pub(crate) breaks: usize,
    /// Requests that wait for a limit, apart from the storm.
    pub(crate) limited: usize,
    /// That limit, in requests a minute.
    pub(crate) rpm: usize,
    /// The most calls beyond one for each task, in percent of the tasks. It is higher in the short form, which has more
    /// blows for its work.
    pub(crate) twice: f64,
    /// How long a lack of progress is accepted. It is longer than a lease plus the restart of a database.
    pub(crate) patience: Duration,
    /// The seed of every random choice.
    pub(crate) seed: u64,
}

impl Form {
    /// The short form, unless the environment says otherwise.
    pub(crate) fn get() -> Self {
        let long = number("NOVA3_CLUSTER_LONG", 0_u8) != 0;
        let of = |short, of_long| if long { of_long } else { short };
        let requests = number("NOVA3_CLUSTER_REQUESTS", of(1_500, 60_000));
        Self {
            long,
            requests,
            second: number("NOVA3_CLUSTER_SECOND", requests / 10),
            workers: number("NOVA3_CLUSTER_WORKERS", 5),
            concurrency: number("NOVA3_CLUSTER_CONCURRENCY", 20),
            kills: number("NOVA3_CLUSTER_KILLS", of(6, 100)),
            stops: number("NOVA3_CLUSTER_STOPS", of(4, 50)),
            outages: number("NOVA3_CLUSTER_OUTAGES", of(1, 5)),
            cuts: number("NOVA3_CLUSTER_CUTS", of(2, 10)),
            breaks: number("NOVA3_CLUSTER_BREAKS", of(4, 20)),
            limited: number("NOVA3_CLUSTER_LIMITED", of(60, 600)),
            rpm: number("NOVA3_CLUSTER_RPM", 120),
            twice: number("NOVA3_CLUSTER_TWICE", if long { 5.0 } else { 20.0 }),
            patience: Duration::from_secs(number("NOVA3_CLUSTER_PATIENCE_S", 60)),
            seed: number("NOVA3_CLUSTER_SEED", 1),
        }
    }

    /// The random choices of one scenario.
    pub(crate) fn rng(self, scenario: &str) -> fastrand::Rng {
        choices::rng(self.seed, scenario)
    }
}
