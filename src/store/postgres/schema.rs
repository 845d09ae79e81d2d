//! The schema in the database: made, or refused.

use std::path::PathBuf;
use std::time::Duration;

use super::fault::Fault;
use crate::failpoint;
use crate::postgres::{Connection, Param};
use crate::store::StoreError;

/// The tables, then the functions over them.
const SCHEMA: &[&str] = &[
    include_str!("../schema/postgres/001_tables.sql"),
    include_str!("../schema/postgres/002_leases.sql"),
    include_str!("../schema/postgres/003_settling.sql"),
    include_str!("../schema/postgres/004_plans.sql"),
    include_str!("../schema/postgres/005_money.sql"),
    include_str!("../schema/postgres/006_runs.sql"),
    include_str!("../schema/postgres/007_limits.sql"),
    include_str!("../schema/postgres/008_cache.sql"),
    include_str!("../schema/postgres/009_durability.sql"),
];

/// The schema's version, in `nova3_schema`. A change raises it; a store of an earlier version is refused.
const VERSION: i32 = 3;

/// The earliest version whose programs may work on a store of [`VERSION`].
const OLDEST: i32 = 3;

/// Another process may be making the schema at the same time.
const LONG: Duration = Duration::from_secs(3600);

const BOOK: &str = "CREATE TABLE IF NOT EXISTS nova3_schema(
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  version integer NOT NULL,
  oldest integer NOT NULL)";

/// The schema is there, made now or before. One process makes it at a time, in one transaction, so that a crash leaves all of
/// it or nothing.
pub(super) async fn bring_up(connection: &mut Connection, shown: &str) -> Result<(), Fault> {
    if let Some(version) = version(connection).await? {
        return check(version, shown);
    }
    check_encoding(connection, shown).await?;
    connection.begin_long(LONG).await?;
    connection
        .rows(
            "SELECT pg_advisory_xact_lock(hashtextextended('nova3 schema', 0))",
            &[],
        )
        .await?;
    connection.batch(BOOK).await?;
    let found = connection
        .optional("SELECT version, oldest FROM nova3_schema", &[])
        .await?;
    if let Some(row) = found {
        let version = (row.get(0), row.get(1));
        connection.commit().await?;
        return check(version, shown);
    }
    for sql in SCHEMA {
        connection.batch(&failpoint::sql(sql)).await?;
    }
    connection
        .execute(
            "INSERT INTO nova3_schema(version, oldest) VALUES ($1, $2)",
            &[VERSION.sent(), OLDEST.sent()],
        )
        .await?;
    Ok(connection.commit().await?)
}

/// Any text can come in, so that a database which holds only some of it would fail in the middle of the work.
async fn check_encoding(connection: &mut Connection, shown: &str) -> Result<(), Fault> {
    let row = connection.row("SELECT getdatabaseencoding()::text", &[]).await?;
    let encoding: &str = row.get(0);
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(StoreError::NotAStore {
        path: PathBuf::from(shown),
        reason: format!(
            "the database's encoding is `{encoding}`; make one with `createdb -T template0 -E UTF8`"
        ),
    }
    .into())
}

/// Whether the store is one, and of a version that can be read.
pub(super) async fn check_to_read(connection: &mut Connection, shown: &str) -> Result<bool, Fault> {
    match version(connection).await? {
        None => Ok(false),
        Some(version) => check(version, shown).map(|()| true),
    }
}

/// The version that is there, and the earliest that may go on beside it.
async fn version(connection: &mut Connection) -> Result<Option<(i32, i32)>, Fault> {
    let there = connection
        .row("SELECT to_regclass('nova3_schema') IS NOT NULL", &[])
        .await?;
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = connection
        .optional("SELECT version, oldest FROM nova3_schema", &[])
        .await?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

fn check((version, oldest): (i32, i32), shown: &str) -> Result<(), Fault> {
    let path = PathBuf::from(shown);
    let (found, known) = (version.into(), VERSION.into());
    if version < VERSION {
        return Err(StoreError::Older { path, found, known }.into());
    }
    if oldest > VERSION {
        return Err(StoreError::Newer { path, found, known }.into());
    }
    Ok(())
}
