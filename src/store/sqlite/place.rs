//! Where a store is: which file its name means, and what lies beside it.
//!
//! SQLite finds the log of a store by the store's name. A store that is opened under another name has another log, and
//! what stands in the first one is lost. So all names of a file lead to one: links are followed, and a store with hard
//! links remembers the name under which it is worked on.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::fault::Fault;
use crate::config::resolved;
use crate::store::StoreError;

/// What SQLite keeps beside a store, and how each begins: the log, its index in the machine's own order of bytes, and
/// the journal from before there is a log.
const BESIDE: [(&str, &[&[u8]]); 3] = [
    ("-wal", &[&[0x37, 0x7f, 0x06, 0x82], &[0x37, 0x7f, 0x06, 0x83]]),
    ("-shm", &[&3_007_000_u32.to_ne_bytes()]),
    ("-journal", &[&[0xd9, 0xd5, 0x05, 0xf9]]),
];

const FOREIGN: &str = "has the name of a file that belongs to it, and was not made by nova3";

/// A store's place.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The path as it was given, for people.
    pub(super) shown: PathBuf,
    /// The file itself: absolute, no link.
    pub(super) file: PathBuf,
}

impl Place {
    /// Where the store is or will be. Refuses what is no store, and files beside it that are not the store's, before
    /// anything is made or opened as a database.
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

    /// A link there would be followed, and a journal of another program would be played back and removed.
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
        // One that cannot be read has an error of its own, when SQLite opens it.
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

/// The path of a file that lies beside the store.
pub(super) fn with_suffix(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A file that is no SQLite database is never opened as one, let alone written.
///
/// Looked at before anything is made beside it, and before it is opened, because opening a pipe may never
/// return.
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

/// The one name of a file with hard links: that under which it was worked on last, if it still has it.
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

/// The name in the file. It is read past the log and without a lock: it is the one thing that has to be known before the
/// log can be found.
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

fn name_in(connection: &Connection) -> Result<Option<Vec<u8>>, Fault> {
    Ok(connection
        .query_row("SELECT path FROM nova3_place", [], |row| row.get(0))
        .optional()?)
}

/// Remembers in the store, and not only in its log, under which name it is worked on.
pub(super) fn record(connection: &Connection, file: &Path) -> Result<(), Fault> {
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
