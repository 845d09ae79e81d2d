//! What is done before a store is trusted that its last process did not leave in good order.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};

use super::fault::Fault;
use crate::store::StoreError;

/// Whether a log lies beside the store: whoever leaves in good order folds it in.
pub(super) fn log_is_left(path: &Path) -> bool {
    std::fs::metadata(super::place::with_suffix(path, "-wal")).is_ok_and(|data| data.len() > 0)
}

/// Closing the connection will leave the log as it is, and the database too.
pub(super) fn leave_log(connection: &Connection) -> Result<(), Fault> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(())
}

/// Everything that the store holds is on the disk, and its header, its schema and both ends of each table can be read. A
/// store that is damaged there is refused as it was found.
///
/// The log is folded in at once, because a process whose `fsync` failed may have left frames that the system keeps in
/// memory and takes for written: what is copied into the database is written anew. A crash can only have torn pages that
/// the log holds, and SQLite takes them from frames whose checksums are right. So the cost follows the size of the log, and
/// the rest of the file is not read: damage there is found by what reads it, or by [`super::integrity`].
pub(super) fn recover(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    tracing::info!(
        store.path = %path.display(),
        "the store was not left in good order; its log is written into it"
    );
    look_at_tables(connection).map_err(|fault| fault.at(path))?;
    let fault = |error: rusqlite::Error| Fault::from(error).at(path);
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .map_err(fault)?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map(drop)
        .map_err(fault)
}

/// The first and the last leaf of each table can be reached.
fn look_at_tables(connection: &Connection) -> Result<(), Fault> {
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

/// The file is not as SQLite wrote it.
pub(super) fn damaged(path: &Path, finding: &str) -> StoreError {
    let finding = finding.trim().lines().next_back().unwrap_or_default();
    StoreError::Corrupt {
        path: path.to_path_buf(),
        reason: format!(
            "the file is damaged: {finding} (put a copy in its place, or save what can be read: \
             `sqlite3 {path} .recover | sqlite3 rescued.db`)",
            path = path.display()
        ),
    }
}
