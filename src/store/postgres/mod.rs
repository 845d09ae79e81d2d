//! The store as a PostgreSQL database, for any number of processes on any hosts.
//!
//! PostgreSQL does the locking, uniqueness, durability and replication. Each verb that many workers use at once is a
//! function in the database (`schema/postgres/functions`), and so one statement. Its locks are never held across the
//! network, where a stalled client would keep them. Verbs that are rare, or used by one process alone, are transactions
//! that this module sends.
//!
//! Failure behaviour: callers wait while the database does not answer. A request that was on its way is sent again when
//! the database answers, and finds its own earlier effect if there was one. A worker that is frozen or cut off loses
//! its leases to others. Its late settlements change nothing but the ledger.
//!
//! Deliberately absent: session state (a pooler may be in between), notifications for each row, the clock of a host,
//! and objects of the database for each run. A thousand runs have as many tables, indexes, locks and plans as one run.

/// Does a job on a connection and repeats it while the database does not answer.
macro_rules! job {
    ($store:ident, |$c:ident| $work:expr) => {{
        let attempt = |within| {
            let opening = $store.database.connect_within(within);
            async {
                let mut connection = opening.await?;
                let $c = &mut connection;
                let done = $work.await?;
                connection.end_within().await?;
                Ok(done)
            }
        };
        let done: Result<_, $crate::store::postgres::fault::JobFault> =
            $store.database.patiently_within(attempt).await;
        done.map_err(|fault| fault.at($store.database.shown()))
    }};
}

mod actions;
mod answered;
mod batch;
mod cache;
mod claimable;
mod claims;
mod composite_rows;
mod context;
mod counting;
mod cursors;
mod events;
mod failed_classes;
mod fault;
mod history;
mod ingest;
mod integrity;
mod leases;
mod ledger;
mod money;
mod names;
mod opening;
mod readings;
mod redo;
mod results;
mod retry;
mod rows;
mod runs;
mod schema;
mod session_order;
mod session_views;
mod settle;
mod submitted;
mod versions;
mod workers;

use std::collections::HashMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use self::batch::Batch;
use self::fault::JobFault;
use self::money::Capped;
use super::{Epoch, PlanSettlement, RunId, Settlement};
use crate::domain::state::{IllegalTransition, QueueState};
use crate::postgres::Database;

/// The number of lower bits of a queue's number that count the queues of its run. The bits above are the run's number.
const RUN_BITS: u32 = 36;

/// The time limit of a statement that touches every row of a run.
const LONG: Duration = Duration::from_secs(1800);

const fn run_of(queue: i64) -> i64 {
    queue >> RUN_BITS
}

/// Keeps the queues that belong to the run.
fn of_run(run: RunId, queues: Vec<i64>) -> Vec<i64> {
    let ours = |queue: &i64| run_of(*queue) == run.0;
    queues.into_iter().filter(ours).collect()
}

/// A PostgreSQL store.
#[derive(Debug)]
pub struct PostgresStore {
    database: Database,
    tasks: Batch<Settlement>,
    plans: Batch<PlanSettlement>,
    reservations: Batch<Capped>,
    /// The most leases that one statement takes away.
    reaps: AtomicI64,
    /// The ticket of the last chunk that this process added, by run and reading.
    chunks: Mutex<HashMap<(i64, i64), i64>>,
}

impl PostgresStore {
    fn last_chunk(&self, run: RunId, epoch: Epoch) -> Option<i64> {
        let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.get(&(run.0, epoch.0)).copied()
    }
}

/// Turns a transition that the domain refuses into a fault of the row.
fn legal(state: Result<QueueState, IllegalTransition>) -> Result<QueueState, JobFault> {
    state.map_err(|error| JobFault::Row(error.to_string()))
}
