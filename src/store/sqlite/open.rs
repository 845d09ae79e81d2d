//! Opening a store file, and the check of its kind and version.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::fault::JobFault;
use super::place::{StorePlace, record};
use super::recovery;
use crate::failpoint;
use crate::store::StoreError;

/// `nov3` in ASCII. It marks the file as nova3's in SQLite's header.
const APPLICATION_ID: i32 = 0x6e6f_7633;

/// The whole schema. A change to it raises [`VERSION`]; a store of another version is refused.
const SCHEMA: &str = include_str!("../schema/sqlite.sql");

/// The schema's version, in `user_version` of SQLite's header.
const VERSION: i64 = 9;

/// The page cache of the writer, in KiB. The operating system's cache is behind it, so a miss is a copy and not a read
/// of the disk. Three times as much made a run of a million lines no faster.
const WRITER_CACHE_KIB: i64 = 2048;

/// The page cache of a reader, in KiB. A reader reads each row once.
const READER_CACHE_KIB: i64 = 1024;

/// The name of a store in memory, which lives as long as the process. Tests use it.
pub(super) const MEMORY: &str = ":memory:";

/// Formats an error of the system, with the cure if there is one.
pub(super) fn told(error: &std::io::Error) -> String {
    let cure = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            " (free some space and run the same command again: nothing stored is lost)"
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            " (its folder and files must be writable, or give another `--store`)"
        }
        _ => "",
    };
    format!("{error}{cure}")
}

/// Opens a store in memory, for tests.
pub(super) fn in_memory(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = Connection::open_in_memory().map_err(|error| JobFault::from(error).at(path))?;
    prepare(&mut connection).map_err(|fault| fault.at(path))?;
    Ok(connection)
}

/// Opens the writing connection and makes the tables. The file exists and is locked. A store that was not closed
/// properly is checked before anything is written: its last process crashed, or its log was left.
pub(super) fn writer(place: &StorePlace, died: bool) -> Result<Connection, StoreError> {
    let path = &place.shown;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(&place.file, flags).map_err(|error| JobFault::from(error).at(path))?;
    let unclean = died || recovery::log_is_left(&place.file);
    if unclean {
        recovery::leave_log(&connection).map_err(|fault| fault.at(path))?;
    }
    check_version(&connection, path)?;
    if unclean {
        recovery::recover(&connection, path)?;
    }
    prepare(&mut connection).map_err(|fault| fault.at(path))?;
    // A full disk must not keep a store from being opened and read.
    drop(record(&connection, &place.file));
    Ok(connection)
}

/// Opens a connection that only reads, beside a writer in this or another process.
pub(super) fn reader(place: &StorePlace) -> Result<Connection, StoreError> {
    let path = &place.shown;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(&place.file, flags).map_err(|error| JobFault::from(error).at(path))?;
    let version = check_version(&connection, path)?;
    if version == 0 {
        return Err(StoreError::NotAStore {
            path: path.clone(),
            reason: "it is empty: no run was started in it".to_owned(),
        });
    }
    settings(&connection, READER_CACHE_KIB).map_err(|fault| fault.at(path))?;
    Ok(connection)
}

/// Returns the version of the schema: [`VERSION`], or 0 for a file without one. Any other is refused.
fn check_version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let fault = |error: rusqlite::Error| JobFault::from(error).at(path);
    let application: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(fault)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(fault)?;
    if application != APPLICATION_ID && (application != 0 || tables > 0) {
        return Err(StoreError::NotAStore {
            path: path.to_path_buf(),
            reason: "it is a database of another program".to_owned(),
        });
    }
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(fault)?;
    match found {
        0 | VERSION => Ok(found),
        ..VERSION => Err(StoreError::Older {
            path: path.to_path_buf(),
            found,
            known: VERSION,
        }),
        _ => Err(StoreError::Newer {
            path: path.to_path_buf(),
            found,
            known: VERSION,
        }),
    }
}

fn prepare(connection: &mut Connection) -> Result<(), JobFault> {
    settings(connection, WRITER_CACHE_KIB)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // With FULL each commit is on the disk before its jobs are answered. Group commit keeps the cost low.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
    connection.pragma_update(None, "journal_size_limit", 67_108_864)?;
    // The mark comes before the tables, so that a kill between the two leaves a file that is recognised.
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION_ID {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    make_tables(connection)
}

/// Makes the tables and their version in one transaction.
fn make_tables(connection: &mut Connection) -> Result<(), JobFault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        transaction.execute_batch(&failpoint::sql(SCHEMA))?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}

fn settings(connection: &Connection, cache_kib: i64) -> Result<(), JobFault> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    Ok(())
}
