//! Opening a store file: is it ours, is it free, is it of a version we know.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::fault::Fault;
use super::recovery;
use crate::store::StoreError;

/// `nov3` in ASCII: marks the file as ours in SQLite's header.
const APPLICATION_ID: i32 = 0x6e6f_7633;

/// The schema as a whole. A change raises [`VERSION`]; a store of another version is refused.
const SCHEMA: &str = include_str!("../schema/sqlite.sql");

/// The schema's version, in `user_version` of SQLite's header.
const VERSION: i64 = 4;

/// Pages that the writer keeps. The operating system's own cache is behind it, so a miss is a copy and not a
/// read of the disk: three times as many made a run of a million lines no faster.
const WRITER_CACHE_KIB: i64 = 2048;

/// A reader meets each row once.
const READER_CACHE_KIB: i64 = 1024;

/// The name of a store that lives as long as the process; tests use it.
pub(super) const MEMORY: &str = ":memory:";

/// A lock on the store, held until it is dropped or the process dies.
///
/// The text in its file stays when a process dies: an empty file was left in good order. Who could not open the store
/// leaves that as it was.
#[derive(Debug)]
pub(super) struct StoreLock {
    file: File,
    died: bool,
    leave_text: bool,
}

impl StoreLock {
    /// Takes the lock beside the store, waiting up to `wait` for whoever holds it. `holder` is written
    /// into the lock file for people; the lock itself is the operating system's and dies with the process.
    pub(super) fn take(store: &Path, wait: Duration, holder: &str) -> Result<Self, StoreError> {
        let path = with_suffix(store, ".lock");
        let io = |action| {
            move |error: std::io::Error| StoreError::Io {
                path: store.to_path_buf(),
                action,
                reason: told(&error),
            }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io("opening its lock file"))?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if waited < wait => {
                    let step = Duration::from_millis(50).min(wait.saturating_sub(waited));
                    std::thread::sleep(step);
                    waited += step;
                }
                Err(TryLockError::WouldBlock) => {
                    let mut text = String::new();
                    drop((&file).take(200).read_to_string(&mut text));
                    let holder = text.trim();
                    let holder = if holder.is_empty() {
                        "another process"
                    } else {
                        holder
                    };
                    return Err(StoreError::InUse {
                        path: store.to_path_buf(),
                        holder: holder.to_owned(),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(io("locking it")(error)),
            }
        }
        let died = file.metadata().is_ok_and(|data| data.len() > 0);
        // A full disk must not keep a store from being opened and read. The old text goes last, so that the file is
        // never empty before its holder leaves it.
        let line = format!("{holder}\n");
        drop(
            file.rewind()
                .and_then(|()| file.write_all(line.as_bytes()))
                .and_then(|()| file.set_len(line.len() as u64)),
        );
        Ok(Self {
            file,
            died,
            leave_text: died,
        })
    }

    /// Whether the last holder died with the lock in its hand.
    pub(super) const fn died(&self) -> bool {
        self.died
    }

    /// What a dead holder left is put in order: leaving the store is clean again.
    pub(super) const fn leave_clean(&mut self) {
        self.leave_text = false;
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        if !self.leave_text {
            drop(self.file.set_len(0));
        }
    }
}

/// The path of a file that lies beside the store.
pub(super) fn with_suffix(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// What the system said, and what to do about it where that is not plain.
fn told(error: &std::io::Error) -> String {
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

/// The connection that writes; makes the file and its tables. A store that was not left in good
/// order, because its last process `died` or for another reason, is looked through before anything is written.
pub(super) fn writer(path: &Path, died: bool) -> Result<Connection, StoreError> {
    if path.as_os_str() == MEMORY {
        let mut connection = Connection::open_in_memory().map_err(|error| Fault::from(error).at(path))?;
        prepare(&mut connection).map_err(|fault| fault.at(path))?;
        return Ok(connection);
    }
    refuse_foreign(path)?;
    create_private(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(|error| Fault::from(error).at(path))?;
    let unclean = died || recovery::log_is_left(path);
    if unclean {
        recovery::leave_log(&connection).map_err(|fault| fault.at(path))?;
    }
    check_version(&connection, path)?;
    if unclean {
        recovery::recover(&connection, path)?;
    }
    prepare(&mut connection).map_err(|fault| fault.at(path))?;
    Ok(connection)
}

/// A connection that only reads, beside a writer in this or another process.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    refuse_foreign(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| Fault::from(error).at(path))?;
    let version = check_version(&connection, path)?;
    if version == 0 {
        return Err(StoreError::NotAStore {
            path: path.to_path_buf(),
            reason: "it is empty, no run was started in it".to_owned(),
        });
    }
    settings(&connection, READER_CACHE_KIB).map_err(|fault| fault.at(path))?;
    Ok(connection)
}

/// A file that is no SQLite database is never opened as one, let alone written.
///
/// Looked at before anything is made beside it, and before it is opened, because opening a pipe may never
/// return.
pub(super) fn refuse_foreign(path: &Path) -> Result<(), StoreError> {
    let foreign = |reason: &str| StoreError::NotAStore {
        path: path.to_path_buf(),
        reason: reason.to_owned(),
    };
    let io = |error: &std::io::Error| StoreError::Io {
        path: path.to_path_buf(),
        action: "opening it",
        reason: error.to_string(),
    };
    match std::fs::metadata(path) {
        Ok(data) if !data.is_file() => return Err(foreign("it is a folder or a device")),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return folder_of(path),
        Err(error) => return Err(io(&error)),
    }
    let mut file = File::open(path).map_err(|error| io(&error))?;
    let mut head = Vec::new();
    if Read::by_ref(&mut file).take(16).read_to_end(&mut head).is_err() {
        return Err(foreign("it cannot be read"));
    }
    if head.is_empty() || head == b"SQLite format 3\0" {
        Ok(())
    } else {
        Err(foreign("it is another kind of file"))
    }
}

/// A store is made where its folder is; a folder that is missing is most often a typing error.
fn folder_of(path: &Path) -> Result<(), StoreError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if folder.is_dir() {
        return Ok(());
    }
    Err(StoreError::Io {
        path: path.to_path_buf(),
        action: "creating it",
        reason: format!(
            "its folder `{}` does not exist (make it, or give another `--store`)",
            folder.display()
        ),
    })
}

/// The store holds people's requests: only its owner may read it. SQLite gives its log the same mode.
fn create_private(path: &Path) -> Result<(), StoreError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|error| StoreError::Io {
            path: path.to_path_buf(),
            action: "creating or opening it",
            reason: told(&error),
        })
}

/// The version of the schema: ours, or 0 for a file without one. Any other is refused.
fn check_version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let fault = |error: rusqlite::Error| Fault::from(error).at(path);
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

fn prepare(connection: &mut Connection) -> Result<(), Fault> {
    settings(connection, WRITER_CACHE_KIB)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // With FULL each commit is on the disk before anybody is answered; group commit makes it cheap.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
    connection.pragma_update(None, "journal_size_limit", 67_108_864)?;
    // Before the tables, so that a kill between the two leaves a file that is still known as ours.
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION_ID {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    make_tables(connection)
}

/// The tables and their version are there, both or neither.
fn make_tables(connection: &mut Connection) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}

fn settings(connection: &Connection, cache_kib: i64) -> Result<(), Fault> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    Ok(())
}
