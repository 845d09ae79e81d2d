//! The lock on a store: one process works on it, under any of its names.
//!
//! The process holds two locks of the operating system, and both end with it. The lock on the store file keeps out a
//! process that opened it by a hard link, or after the lock file was removed. The lock on the lock file protects the
//! files that SQLite finds by the store's name, above all its write-ahead log, also after the store file was replaced.
//! The text in the lock file names the holder, and tells whether the last holder ended properly.
//!
//! The store file is opened before SQLite opens it, and closed after the writing connection. Closing any descriptor of
//! a file releases SQLite's locks on it (<https://sqlite.org/howtocorrupt.html>, 2.2).

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use super::open::told;
use super::place::{StorePlace, with_suffix};
use crate::store::StoreError;

/// The beginning of a lock file's text. A file of that name with another beginning is foreign.
const MARK: &str = "nova3 store lock, held by ";

/// The most bytes of a lock file that are read.
const TEXT: u64 = 200;

/// The pause between two tries for a lock that is held.
const STEP: Duration = Duration::from_millis(50);

/// The lock. It is held until it is dropped or the process ends.
///
/// The text in the lock file remains after a crash. A process that ends properly leaves an empty file. A process that
/// could not open the store leaves an earlier text in place.
#[derive(Debug)]
pub(super) struct StoreLock {
    shown: PathBuf,
    store: LockFile,
    name: LockFile,
    died: bool,
    leave_text: bool,
}

/// An open file, and the path under which it was found.
#[derive(Debug)]
struct LockFile {
    path: PathBuf,
    file: File,
}

impl StoreLock {
    /// Takes the lock and makes the store file if it is absent. Waits up to `wait` for another process to leave.
    /// `holder` is the text by which other processes name this one.
    pub(super) fn take(place: &StorePlace, wait: Duration, holder: &str) -> Result<Self, StoreError> {
        let io = |action| {
            move |error: Error| StoreError::Io {
                path: place.shown.clone(),
                action,
                reason: told(&error),
            }
        };
        let mut left = wait;
        let beside = with_suffix(&place.file, ".lock");
        let mut name = loop {
            let file = open_lock_file(&beside, place)?;
            if !lock(&file, &mut left).map_err(io("locking it"))? {
                let holder = text(&file).map(|text| holder_in(&text)).unwrap_or_default();
                return Err(in_use(place, holder));
            }
            let held = LockFile {
                path: beside.clone(),
                file,
            };
            if held.has_its_name() {
                break held;
            }
        };
        let store = loop {
            let file = open_private(&place.file).map_err(io("creating or opening it"))?;
            let alone = shares_locks(&file) || lock(&file, &mut left).map_err(io("locking it"))?;
            if !alone {
                return Err(in_use(place, String::new()));
            }
            let held = LockFile {
                path: place.file.clone(),
                file,
            };
            if held.has_its_name() {
                break held;
            }
        };
        let died = name.file.metadata().is_ok_and(|data| data.len() > 0);
        name.write_text(&format!("{MARK}{holder}\n"));
        Ok(Self {
            shown: place.shown.clone(),
            store,
            name,
            died,
            leave_text: died,
        })
    }

    /// Whether the last holder crashed while it held the lock.
    pub(super) const fn died(&self) -> bool {
        self.died
    }

    /// Notes that recovery after a crash is complete, so that leaving the store is clean again.
    pub(super) const fn leave_clean(&mut self) {
        self.leave_text = false;
    }

    /// Fails when the store file or the lock file was removed or replaced. Another process could then open the new
    /// file.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for (held, what) in [(&self.store, "it"), (&self.name, "its lock file")] {
            if !held.has_its_name() {
                return Err(StoreError::Displaced {
                    path: self.shown.clone(),
                    reason: format!("{what} was removed, moved or replaced while this run worked on it"),
                });
            }
        }
        Ok(())
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        if !self.leave_text {
            drop(self.name.file.set_len(0));
        }
    }
}

impl LockFile {
    fn has_its_name(&self) -> bool {
        let inode = |data: Metadata| (data.dev(), data.ino());
        let named = std::fs::symlink_metadata(&self.path).map(inode);
        let ours = self.file.metadata().map(inode);
        named.is_ok_and(|named| ours.is_ok_and(|ours| named == ours))
    }

    /// Writes the text and ignores errors, because a full disk must not keep a store from being opened and read. The
    /// old text is removed last, so that the file is never empty while it is held.
    fn write_text(&mut self, line: &str) {
        drop(
            self.file
                .rewind()
                .and_then(|()| self.file.write_all(line.as_bytes()))
                .and_then(|()| self.file.set_len(line.len() as u64)),
        );
    }
}

/// Takes the lock, waiting as long as there is time `left`. Returns whether it was taken.
fn lock(file: &File, left: &mut Duration) -> Result<bool, Error> {
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if left.is_zero() => return Ok(false),
            Err(TryLockError::WouldBlock) => {
                let step = STEP.min(*left);
                std::thread::sleep(step);
                *left -= step;
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn in_use(place: &StorePlace, holder: String) -> StoreError {
    StoreError::InUse {
        path: place.shown.clone(),
        holder: if holder.is_empty() {
            "another process".to_owned()
        } else {
            holder
        },
    }
}

/// Makes the lock file, or opens an existing one of nova3. A foreign file is never opened for writing.
fn open_lock_file(path: &Path, place: &StorePlace) -> Result<File, StoreError> {
    let io = |error: Error| StoreError::Io {
        path: place.shown.clone(),
        action: "opening its lock file",
        reason: told(&error),
    };
    let foreign = || StoreError::ForeignFile {
        path: place.shown.clone(),
        file: path.to_path_buf(),
        reason: "has the name of its lock file, but nova3 did not create it",
    };
    loop {
        match create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            other => return other.map_err(io),
        }
        let named = match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            other => other.map_err(io)?,
        };
        if !named.is_file() {
            return Err(foreign());
        }
        let seen = open(path, false).map_err(io)?;
        let content = text(&seen).map_err(io)?;
        if !is_ours(&content) {
            return Err(foreign());
        }
        return open(path, true).map_err(io);
    }
}

/// Opens or makes the store file. It holds people's requests, so only its owner may read it. SQLite gives its log the
/// same mode.
fn open_private(path: &Path) -> Result<File, Error> {
    match create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => open(path, true),
        other => other,
    }
}

/// Makes a new file that only its owner can read.
fn create(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Opens an existing file that is no link. Opening does not block, as it would on a pipe.
fn open(path: &Path, to_write: bool) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(to_write)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
}

fn text(mut file: &File) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    file.rewind()?;
    file.take(TEXT).read_to_end(&mut text)?;
    Ok(text)
}

/// Whether the text is nova3's: empty, complete, or cut off while it was written. A power cut may leave zeros.
fn is_ours(text: &[u8]) -> bool {
    let mark = MARK.as_bytes();
    text.starts_with(mark) || mark.starts_with(text) || text.iter().all(|byte| *byte == 0)
}

fn holder_in(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.strip_prefix(MARK).unwrap_or_default().trim().to_owned()
}

/// Whether a lock on the whole file would also keep SQLite out, which locks parts of the file. This is so on NFS, SMB
/// (two versions) and 9P, where the lock file has to be enough.
#[cfg(target_os = "linux")]
fn shares_locks(file: &File) -> bool {
    const SHARING: [rustix::fs::FsWord; 4] =
        [rustix::fs::NFS_SUPER_MAGIC, 0xFF53_4D42, 0xFE53_4D42, 0x0102_1997];
    rustix::fs::fstatfs(file).is_ok_and(|system| SHARING.contains(&system.f_type))
}

/// Systems other than Linux do not separate the two kinds of locks.
#[cfg(not(target_os = "linux"))]
const fn shares_locks(_: &File) -> bool {
    true
}
