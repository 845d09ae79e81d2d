//! Opening the store to work on it or to read it.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use super::batch::Batch;
use super::fault::JobFault;
use super::workers::REAPED;
use super::{PostgresStore, composite_rows, schema};
use crate::postgres::{Connection, Database};
use crate::store::StoreError;

impl PostgresStore {
    /// Opens the store to work on it. Makes its tables if they are missing and installs this program's functions. It
    /// waits up to `wait` for a database that does not answer. The wait is limited because a wrong address is as likely
    /// as a late server.
    pub async fn open(database: Database, wait: Duration) -> Result<Self, StoreError> {
        let mut connection = first(&database, wait).await?;
        let shown = database.shown();
        let ready = async {
            schema::bring_up(&mut connection, shown).await?;
            database
                .composites(&mut connection, composite_rows::TYPES)
                .await?;
            Ok(())
        };
        ready.await.map_err(|fault: JobFault| fault.at(shown))?;
        Ok(Self::over(database))
    }

    /// Opens an existing store to read it.
    pub async fn open_to_read(database: Database) -> Result<Self, StoreError> {
        match Self::if_there(database.clone()).await? {
            Some(store) => Ok(store),
            None => Err(StoreError::NotAStore {
                path: PathBuf::from(database.shown()),
                reason: "it holds no nova3 tables (start a run first)".to_owned(),
            }),
        }
    }

    /// Opens a store to read it, if the database holds one.
    pub async fn if_there(database: Database) -> Result<Option<Self>, StoreError> {
        let mut connection = first(&database, Duration::ZERO).await?;
        let shown = database.shown();
        let there = schema::check_to_read(&mut connection, shown).await;
        drop(connection);
        let there = there.map_err(|fault| fault.at(database.shown()))?;
        Ok(there.then(|| Self::over(database)))
    }

    /// Returns how far a replica is behind its store. It has the present state if it has replayed what it received and
    /// still receives. Otherwise its age is that of the last replayed transaction, or else of its start. `None` if the server is no replica.
    pub async fn replica_age(&self) -> Result<Option<Duration>, StoreError> {
        job!(self, |c| replica_age(c))
    }

    fn over(database: Database) -> Self {
        Self {
            reaps: AtomicI64::new(REAPED),
            tasks: Batch::start(database.clone()),
            plans: Batch::start(database.clone()),
            reservations: Batch::start(database.clone()),
            chunks: Mutex::default(),
            database,
        }
    }
}

async fn replica_age(c: &mut Connection) -> Result<Option<Duration>, JobFault> {
    let row = c
        .row(
            "SELECT CASE WHEN NOT pg_is_in_recovery() THEN NULL
               WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT 1 FROM pg_stat_wal_receiver) THEN 0
               ELSE greatest(extract(epoch FROM clock_timestamp()
                 - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time())) * 1000, 0)
               END::bigint",
            &[],
        )
        .await?;
    let age: Option<i64> = row.get(0);
    Ok(age.map(|ms| Duration::from_millis(ms.unsigned_abs())))
}

/// Makes the first connection.
async fn first(database: &Database, wait: Duration) -> Result<Connection, StoreError> {
    let connecting = database.patiently(|| database.connect());
    let connected = match tokio::time::timeout(wait, connecting).await {
        Ok(connected) => connected,
        Err(_) => database.connect().await,
    };
    connected.map_err(|fault| JobFault::from(fault).at(database.shown()))
}
