//! The schema in the database: made, brought up to date, or refused.

use std::path::PathBuf;
use std::time::Duration;

use super::fault::Fault;
use crate::postgres::{Connection, Param};
use crate::store::StoreError;

/// One version of the schema.
struct Step {
    sql: &'static [&'static str],
    /// The earliest version whose programs may go on beside this one.
    oldest: i32,
}

const STEPS: &[Step] = &[Step {
    sql: &[
        include_str!("../schema/postgres/001_tables.sql"),
        include_str!("../schema/postgres/002_leases.sql"),
        include_str!("../schema/postgres/003_settling.sql"),
        include_str!("../schema/postgres/004_plans.sql"),
        include_str!("../schema/postgres/005_money.sql"),
        include_str!("../schema/postgres/006_runs.sql"),
        include_str!("../schema/postgres/007_limits.sql"),
    ],
    oldest: 1,
}];

/// The version that this program writes.
fn known() -> i32 {
    i32::try_from(STEPS.len()).unwrap_or(i32::MAX)
}

/// A step may rewrite a large table.
const LONG: Duration = Duration::from_secs(3600);

const BOOK: &str = "CREATE TABLE IF NOT EXISTS nova3_schema(
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  version integer NOT NULL,
  oldest integer NOT NULL)";

/// The store is of the present version, or of a later one that allows ours. One program does it at a time, in one
/// transaction, so that a store is never between two versions.
pub(super) async fn bring_up(connection: &mut Connection, shown: &str) -> Result<(), Fault> {
    if let Some(version) = version(connection).await?
        && version.0 >= known()
    {
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
    let found = found.map(|row| (row.get(0), row.get(1)));
    if let Some(version) = found.filter(|(version, _)| *version >= known()) {
        connection.commit().await?;
        return check(version, shown);
    }
    let done = found.map_or(0, |(version, _)| version);
    for step in STEPS.iter().skip(usize::try_from(done).unwrap_or(0)) {
        for sql in step.sql {
            connection.batch(sql).await?;
        }
        connection
            .execute(
                "INSERT INTO nova3_schema(version, oldest) VALUES (1, $1)
                 ON CONFLICT (only_row) DO UPDATE SET version = nova3_schema.version + 1, oldest = excluded.oldest",
                &[step.oldest.sent()],
            )
            .await?;
    }
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
        Some((version, _)) if version < known() => Err(StoreError::Older {
            path: PathBuf::from(shown),
        }
        .into()),
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
    if oldest <= known() {
        return Ok(());
    }
    Err(StoreError::Newer {
        path: PathBuf::from(shown),
        found: version.into(),
        known: known().into(),
    }
    .into())
}
