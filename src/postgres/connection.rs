//! One connection, used by one job at a time.

use std::time::Duration;

use deadpool_postgres::Object;
use tokio_postgres::Row;

use super::fault::DatabaseFault;
use super::params::SentParam;

/// A connection that has carried more bytes than this in one statement is closed after its job: its buffers keep the
/// size of the largest statement or answer.
const LARGE: usize = 16 << 20;

/// A connection. If it is dropped in the middle of a statement or transaction, it is closed instead of given back: the
/// server rolls the transaction back.
pub struct Connection {
    pooled: Option<Object>,
    limit: Duration,
    busy: bool,
    in_transaction: bool,
    large: bool,
}

impl Connection {
    pub(super) const fn new(pooled: Object, limit: Duration) -> Self {
        Self {
            pooled: Some(pooled),
            limit,
            busy: false,
            in_transaction: false,
            large: false,
        }
    }

    /// Notes that the next statement's parameters have about this many bytes.
    pub const fn carries(&mut self, bytes: usize) {
        self.large |= bytes > LARGE;
    }

    /// Returns all rows of a statement.
    pub async fn rows(&mut self, sql: &str, params: &[SentParam<'_>]) -> Result<Vec<Row>, DatabaseFault> {
        let (client, limit) = self.begin_statement()?;
        let answer = tokio::time::timeout(limit, client.query_typed(sql, params)).await;
        let rows = self.end_statement(answer)?;
        self.carries(rows.iter().map(Row::raw_size_bytes).sum());
        Ok(rows)
    }

    /// Returns the only row of a statement that always has one.
    pub async fn row(&mut self, sql: &str, params: &[SentParam<'_>]) -> Result<Row, DatabaseFault> {
        let found = self.optional(sql, params).await?;
        found.ok_or_else(DatabaseFault::missing)
    }

    /// Returns the first row of a statement, if it has any.
    pub async fn optional(
        &mut self,
        sql: &str,
        params: &[SentParam<'_>],
    ) -> Result<Option<Row>, DatabaseFault> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    /// Returns how many rows a statement changed.
    pub async fn execute(&mut self, sql: &str, params: &[SentParam<'_>]) -> Result<u64, DatabaseFault> {
        let (client, limit) = self.begin_statement()?;
        let answer = tokio::time::timeout(limit, client.execute_typed(sql, params)).await;
        self.end_statement(answer)
    }

    /// Runs several statements without parameters.
    pub async fn batch(&mut self, sql: &str) -> Result<(), DatabaseFault> {
        let (client, limit) = self.begin_statement()?;
        let answer = tokio::time::timeout(limit, client.batch_execute(sql)).await;
        self.end_statement(answer)
    }

    /// Begins a transaction, read committed.
    pub async fn begin(&mut self) -> Result<(), DatabaseFault> {
        self.in_transaction = true;
        self.batch("BEGIN").await
    }

    /// Begins a transaction with this limit for each of its statements.
    pub async fn begin_long(&mut self, limit: Duration) -> Result<(), DatabaseFault> {
        self.in_transaction = true;
        self.limit = limit + Duration::from_secs(5);
        self.batch(&format!(
            "BEGIN; SET LOCAL statement_timeout={0}; SET LOCAL lock_timeout={0}",
            limit.as_millis()
        ))
        .await
    }

    /// Begins a transaction that only reads, and reads one snapshot.
    pub async fn begin_reading(&mut self) -> Result<(), DatabaseFault> {
        self.in_transaction = true;
        self.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
    }

    /// Ends the work on a connection of [`super::Database::connect_within`]; it is durable on return.
    pub async fn end_within(&mut self) -> Result<(), DatabaseFault> {
        if self.in_transaction {
            self.commit().await?;
        }
        Ok(())
    }

    /// Commits the transaction; it is durable on return.
    pub async fn commit(&mut self) -> Result<(), DatabaseFault> {
        self.batch("COMMIT").await?;
        self.in_transaction = false;
        Ok(())
    }

    fn begin_statement(&mut self) -> Result<(&Object, Duration), DatabaseFault> {
        self.busy = true;
        match &self.pooled {
            Some(client) => Ok((client, self.limit)),
            None => Err(DatabaseFault::lost("the connection is gone")),
        }
    }

    fn end_statement<T>(
        &mut self,
        answer: Result<Result<T, tokio_postgres::Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, DatabaseFault> {
        match answer {
            Ok(Ok(value)) => {
                self.busy = false;
                Ok(value)
            }
            Ok(Err(error)) => {
                // A refusal of the server ends its statement only; the connection stays usable.
                self.busy = error.as_db_error().is_none();
                Err(error.into())
            }
            Err(_) => Err(DatabaseFault::lost("it does not answer in time")),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if (self.busy || self.in_transaction || self.large)
            && let Some(pooled) = self.pooled.take()
        {
            drop(Object::take(pooled));
        }
    }
}
