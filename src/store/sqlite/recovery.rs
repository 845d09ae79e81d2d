//! Recovery of a store that its last process did not close properly.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};

use super::fault::JobFault;
use crate::store::StoreError;

/// Whether a log is beside the store. A process that closes the store properly leaves none.
pub(super) fn log_is_left(path: &Path) -> bool {
    std::fs::metadata(super::place::with_suffix(path, "-wal")).is_ok_and(|data| data.len() > 0)
}

/// Makes closing the connection leave the log and the database unchanged.
pub(super) fn leave_log(connection: &Connection) -> Result<(), JobFault> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(())
}

/// All content of the store is on the disk, and its header, its schema and both ends of each table can be read. A store
/// that is damaged in these places is refused and left unchanged.
///
/// The log is checkpointed at once. A process whose `fsync` failed may have left frames that the system holds in memory
/// and treats as written; the checkpoint writes them anew. A crash can only tear pages that the log holds, and SQLite
/// takes them from frames with valid checksums. So the cost follows the size of the log, and the rest of the file is
/// not read. Damage there is found when it is read, or by [`super::integrity`].
pub(super) fn recover(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    tracing::info!(
        store.path = %path.display(),
        "the store was not closed cleanly; its write-ahead log is written into it"
    );
    look_at_tables(connection).map_err(|fault| fault.at(path))?;
    let fault = |error: rusqlite::Error| JobFault::from(error).at(path);
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .map_err(fault)?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map(drop)
        .map_err(fault)
}

/// Reads the first and the last leaf of each table.
fn look_at_tables(connection: &Connection) -> Result<(), JobFault> {
    let mut query = connection.prepare(
        "SELECT name, wr FROM pragma_table_list WHERE schema='main' AND type='table' AND name LIKE 'nova3%'",
    )?;
    let tables: Vec<(String, bool)> = query
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (table, without_rowid) in tables {
        let first: Option<i64> = connection
            .query_row(&format!("SELECT 1 FROM {table} NOT INDEXED LIMIT 1"), [], |row| {
                row.get(0)
            })
            .optional()?;
        if first.is_some() && !without_rowid {
            let last = format!("SELECT max(rowid) FROM {table} NOT INDEXED");
            connection.query_row(&last, [], |_| Ok(()))?;
        }
    }
    Ok(())
}

/// The error for a file that SQLite finds damaged.
pub(super) fn damaged(path: &Path, finding: &str) -> StoreError {
    let finding = finding.trim().lines().next_back().unwrap_or_default();
    StoreError::Corrupt {
        path: path.to_path_buf(),
        reason: format!(
            "the file is damaged: {finding} (restore a copy, or save the readable part: \
             `sqlite3 {path} .recover | sqlite3 rescued.db`)",
            path = path.display()
        ),
    }
}
