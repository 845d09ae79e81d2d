//! The schema in the database: made, or refused.

use std::path::PathBuf;
use std::time::Duration;

use super::fault::JobFault;
use crate::domain::request::Digest;
use crate::failpoint;
use crate::postgres::{Connection, Param};
use crate::store::StoreError;

/// The tables. They are made once; a change to them raises [`VERSION`].
const TABLES: &[&str] = &[
    include_str!("../schema/postgres/tables/001_tables.sql"),
    include_str!("../schema/postgres/tables/002_limits.sql"),
    include_str!("../schema/postgres/tables/003_cache.sql"),
    include_str!("../schema/postgres/tables/004_durability.sql"),
];

/// The functions, each after those that it calls. A program that opens a store of its own version installs its
/// functions if the store has others. Programs of one version call each other's functions, so a change of names or
/// parameters raises [`VERSION`].
const FUNCTIONS: &[&str] = &[
    include_str!("../schema/postgres/functions/sessions.sql"),
    include_str!("../schema/postgres/functions/graph.sql"),
    include_str!("../schema/postgres/functions/redo.sql"),
    include_str!("../schema/postgres/functions/claims.sql"),
    include_str!("../schema/postgres/functions/leases.sql"),
    include_str!("../schema/postgres/functions/settling.sql"),
    include_str!("../schema/postgres/functions/settle.sql"),
    include_str!("../schema/postgres/functions/plans.sql"),
    include_str!("../schema/postgres/functions/money.sql"),
    include_str!("../schema/postgres/functions/runs.sql"),
    include_str!("../schema/postgres/functions/dropping.sql"),
    include_str!("../schema/postgres/functions/limits.sql"),
    include_str!("../schema/postgres/functions/cache.sql"),
];

/// The version of the tables, in `nova3_schema`. A change raises it; a store of an earlier version is refused.
const VERSION: i32 = 10;

/// The earliest version whose programs may work on a store of [`VERSION`].
const OLDEST: i32 = 10;

/// The time limit of an installation. It is long because another process can be installing at the same time.
const LONG: Duration = Duration::from_secs(3600);

const BOOK: &str = "CREATE TABLE IF NOT EXISTS nova3_schema(
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  version integer NOT NULL,
  oldest integer NOT NULL,
  functions text NOT NULL)";

/// The stored information about the schema.
struct StoredSchema {
    version: i32,
    /// The earliest version whose programs may work on the store.
    oldest: i32,
    /// The digest of its functions.
    functions: Option<String>,
}

/// The functions of this program and their digest.
struct Functions {
    sql: String,
    digest: String,
}

impl Functions {
    fn ours() -> Self {
        let sql: String = FUNCTIONS.iter().map(|sql| failpoint::sql(sql)).collect();
        let digest = Digest::of(sql.as_bytes()).hex();
        Self { sql, digest }
    }

    /// Whether the store needs no installation: it has these functions, or it is of another version and keeps its own.
    fn are_in(&self, found: &StoredSchema) -> bool {
        found.version != VERSION || found.functions.as_ref() == Some(&self.digest)
    }
}

/// The schema is there, with the functions of this program. One process installs at a time, in one transaction, so that
/// a crash leaves all of it or nothing. Running programs continue: each statement finds either the old or the new
/// functions.
pub(super) async fn bring_up(connection: &mut Connection, shown: &str) -> Result<(), JobFault> {
    let functions = Functions::ours();
    if let Some(found) = find(connection).await? {
        check(&found, shown)?;
        if functions.are_in(&found) {
            return Ok(());
        }
    } else {
        check_encoding(connection, shown).await?;
    }
    connection.begin_long(LONG).await?;
    connection
        .rows(
            "SELECT pg_advisory_xact_lock(hashtextextended('nova3 schema', 0))",
            &[],
        )
        .await?;
    connection.batch(BOOK).await?;
    let found = read(connection).await?;
    if let Some(found) = &found {
        check(found, shown)?;
    }
    install(connection, &functions, found.as_ref()).await?;
    Ok(connection.commit().await?)
}

/// Makes the missing parts: tables and functions, or the functions alone.
async fn install(
    connection: &mut Connection,
    functions: &Functions,
    found: Option<&StoredSchema>,
) -> Result<(), JobFault> {
    if found.is_some_and(|found| functions.are_in(found)) {
        return Ok(());
    }
    if found.is_none() {
        for sql in TABLES {
            connection.batch(&failpoint::sql(sql)).await?;
        }
    }
    connection.batch(&functions.sql).await?;
    connection
        .execute(
            "INSERT INTO nova3_schema(version, oldest, functions) VALUES ($1, $2, $3)
             ON CONFLICT (only_row) DO UPDATE SET functions = excluded.functions",
            &[VERSION.sent(), OLDEST.sent(), functions.digest.sent()],
        )
        .await?;
    Ok(())
}

/// Refuses a database whose encoding is not UTF-8. Input can have any text, so another encoding would fail in the
/// middle of a run.
async fn check_encoding(connection: &mut Connection, shown: &str) -> Result<(), JobFault> {
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

/// Returns whether the database holds a store. Refuses a version that cannot be read.
pub(super) async fn check_to_read(connection: &mut Connection, shown: &str) -> Result<bool, JobFault> {
    match find(connection).await? {
        None => Ok(false),
        Some(found) => check(&found, shown).map(|()| true),
    }
}

/// Returns the stored information, if there is any.
async fn find(connection: &mut Connection) -> Result<Option<StoredSchema>, JobFault> {
    let there = connection
        .row("SELECT to_regclass('nova3_schema') IS NOT NULL", &[])
        .await?;
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    read(connection).await
}

async fn read(connection: &mut Connection) -> Result<Option<StoredSchema>, JobFault> {
    // Earlier versions have no column for the digest.
    let row = connection
        .optional(
            "SELECT s.version, s.oldest, to_jsonb(s)->>'functions' FROM nova3_schema s",
            &[],
        )
        .await?;
    Ok(row.map(|row| StoredSchema {
        version: row.get(0),
        oldest: row.get(1),
        functions: row.get(2),
    }))
}

fn check(found: &StoredSchema, shown: &str) -> Result<(), JobFault> {
    let path = PathBuf::from(shown);
    let (version, known) = (found.version.into(), VERSION.into());
    if found.version < VERSION {
        let found = version;
        return Err(StoreError::Older { path, found, known }.into());
    }
    if found.oldest > VERSION {
        let found = version;
        return Err(StoreError::Newer { path, found, known }.into());
    }
    Ok(())
}
