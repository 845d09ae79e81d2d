//! The store as a PostgreSQL database, for any number of processes on any hosts.
//!
//! Locks, uniqueness, durability and replication are PostgreSQL's. Each verb that many workers use at once is a
//! function in the database (`schema/postgres/functions`), so that it is one statement: no lock is ever held across the
//! network, where its holder may stand still. What is rare, or one process's alone, is a transaction from here.
//!
//! Failure behaviour: while the database does not answer, whoever asks waits. What was on its way is asked again when
//! it does, and finds what it did if it was done already. A worker that is frozen or cut off loses its leases to
//! others; what it offers later changes nothing but the ledger.
//!
//! Deliberately absent: session state (a pooler may stand between), notifications for each row, the clock of a host,
//! and anything in the database that there is once for each run: its tables, indexes, locks and plans are as many with a
//! thousand runs as with one.

/// Does a job on a connection, again and again while the database does not answer.
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
        let done: Result<_, $crate::store::postgres::fault::Fault> =
            $store.database.patiently_within(attempt).await;
        done.map_err(|fault| fault.at($store.database.shown()))
    }};
}

mod answered;
mod batch;
mod cache;
mod claims;
mod composite_rows;
mod context;
mod cursors;
mod events;
mod fault;
mod ingest;
mod integrity;
mod leases;
mod money;
mod names;
mod opening;
mod readings;
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
use self::fault::Fault;
use self::money::Capped;
use super::{Epoch, PlanSettlement, RunId, Settlement};
use crate::domain::state::{IllegalTransition, QueueState};
use crate::postgres::Database;

/// The lower bits of a queue's number count the queues of its run; those above are the run's number.
const RUN_BITS: u32 = 36;

/// How long a statement may take that touches every row of a run.
const LONG: Duration = Duration::from_secs(1800);

const fn run_of(queue: i64) -> i64 {
    queue >> RUN_BITS
}

/// Those of the queues that are of the run.
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
    /// Leases that are taken away in one statement at most.
    reaps: AtomicI64,
    /// The ticket of the last chunk that this process added to a reading.
    chunks: Mutex<HashMap<(i64, i64), i64>>,
}

impl PostgresStore {
    fn last_chunk(&self, run: RunId, epoch: Epoch) -> Option<i64> {
        let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.get(&(run.0, epoch.0)).copied()
    }
}

/// A transition that the domain refuses is a row that should not be there.
fn legal(state: Result<QueueState, IllegalTransition>) -> Result<QueueState, Fault> {
    state.map_err(|error| Fault::Row(error.to_string()))
}
