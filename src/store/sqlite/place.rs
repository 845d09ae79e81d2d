//! The place of a store: the file that a path means, and the files beside it.
//!
//! SQLite finds the log of a store by the store's name. A store that is opened under another name has another log, and
//! the content of the first log is lost. So all names of a file lead to one name: links are followed, and a store with
//! hard links records the name under which it is in use.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::fault::JobFault;
use crate::config::resolved;
use crate::store::StoreError;

/// The endings of the files that SQLite keeps beside a store, each with its possible first bytes: the write-ahead log,
/// its index in the machine's own byte order, and the journal from before the log exists.
const BESIDE: [(&str, &[&[u8]]); 3] = [
    ("-wal", &[&[0x37, 0x7f, 0x06, 0x82], &[0x37, 0x7f, 0x06, 0x83]]),
    ("-shm", &[&3_007_000_u32.to_ne_bytes()]),
    ("-journal", &[&[0xd9, 0xd5, 0x05, 0xf9]]),
];

const FOREIGN: &str = "has the name of a file of the store, but nova3 did not create it";

/// A store's place.
#[derive(Debug, Clone)]
pub(super) struct StorePlace {
    /// The path as the user gave it.
    pub(super) shown: PathBuf,
    /// The absolute path of the file, without links.
    pub(super) file: PathBuf,
}

impl StorePlace {
    /// Finds the place of the store, whether it exists or not. Refuses a file that is no store, and foreign files
    /// beside it, before anything is made or opened as a database.
    pub(super) fn find(given: &Path) -> Result<Self, StoreError> {
        refuse_foreign(given)?;
        let file = resolved(given).map_err(|error| StoreError::Io {
            path: given.to_path_buf(),
            action: "opening it",
            reason: error.to_string(),
        })?;
        let place = Self {
            shown: given.to_path_buf(),
            file: one_name(file),
        };
        for (ending, beginnings) in BESIDE {
            place.refuse_beside(ending, beginnings)?;
        }
        Ok(place)
    }

    /// Refuses a foreign file beside the store. SQLite would follow a link there, and would play back and remove
    /// another program's journal.
    fn refuse_beside(&self, ending: &str, beginnings: &[&[u8]]) -> Result<(), StoreError> {
        let path = with_suffix(&self.file, ending);
        let refuse = |reason| {
            Err(StoreError::ForeignFile {
                path: self.shown.clone(),
                file: path.clone(),
                reason,
            })
        };
        let Ok(data) = std::fs::symlink_metadata(&path) else {
            return Ok(());
        };
        if !data.is_file() {
            return refuse(FOREIGN);
        }
        if !self.file.exists() {
            return refuse("was left by a store that was moved or removed");
        }
        let mut head = Vec::new();
        // A file that cannot be read fails with its own error when SQLite opens it.
        if File::open(&path)
            .and_then(|file| file.take(4).read_to_end(&mut head))
            .is_err()
        {
            return Ok(());
        }
        let known = head.len() < 4 || head == [0; 4] || beginnings.contains(&head.as_slice());
        if known { Ok(()) } else { refuse(FOREIGN) }
    }
}

/// Returns the path of a file beside the store.
pub(super) fn with_suffix(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Refuses a file that is no SQLite database, so that it is never opened as one or written.
///
/// The check comes before anything is made beside the file. It also comes before opening, because opening a pipe may
/// never return.
fn refuse_foreign(path: &Path) -> Result<(), StoreError> {
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

/// Refuses a path whose folder does not exist, because a missing folder is usually a typing error.
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

/// Returns the one name of a file with hard links: the name under which it was last in use, if the file still has it.
fn one_name(file: PathBuf) -> PathBuf {
    let inode = |data: &Metadata| (data.dev(), data.ino());
    let Ok(data) = std::fs::metadata(&file) else {
        return file;
    };
    if data.nlink() < 2 {
        return file;
    }
    match recorded(&file) {
        Some(name) if std::fs::symlink_metadata(&name).is_ok_and(|named| inode(&named) == inode(&data)) => {
            name
        }
        _ => file,
    }
}

/// Reads the name that is recorded in the file. It is read without the log and without a lock, because the log can only
/// be found once the name is known.
fn recorded(file: &Path) -> Option<PathBuf> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(byte);
    let mut uri = "file:".to_owned();
    for byte in file.as_os_str().as_bytes() {
        if plain(byte) {
            uri.push(char::from(*byte));
        } else {
            uri += &format!("%{byte:02X}");
        }
    }
    uri += "?immutable=1";
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags).ok()?;
    let name = name_in(&connection).ok()??;
    Some(PathBuf::from(OsStr::from_bytes(&name)))
}

fn name_in(connection: &Connection) -> Result<Option<Vec<u8>>, JobFault> {
    Ok(connection
        .query_row("SELECT path FROM nova3_place", [], |row| row.get(0))
        .optional()?)
}

/// Records the name under which the store is in use. The checkpoint moves it from the log into the file.
pub(super) fn record(connection: &Connection, file: &Path) -> Result<(), JobFault> {
    let name = file.as_os_str().as_bytes();
    if name_in(connection)?.as_deref() == Some(name) {
        return Ok(());
    }
    connection.execute(
        "INSERT OR REPLACE INTO nova3_place(one, path) VALUES(1, ?1)",
        params![name],
    )?;
    Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}
