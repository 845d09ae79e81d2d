//! What is done before a store is trusted that its last process did not leave in good order.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

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

/// The store is whole, and everything that it holds is on the disk; a damaged one is refused as it was found.
///
/// The log is folded in at once, because a process whose `fsync` failed may have left frames that the system keeps in
/// memory and takes for written: what is copied into the database is written anew.
pub(super) fn recover(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    tracing::info!(
        store.path = %path.display(),
        "the store was not left in good order and is being checked"
    );
    let fault = |error: rusqlite::Error| Fault::from(error).at(path);
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(fault)?;
    if verdict != "ok" {
        return Err(damaged(path, &verdict));
    }
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .map_err(fault)?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map(drop)
        .map_err(fault)
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
