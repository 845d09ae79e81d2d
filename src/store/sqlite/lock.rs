//! The lock on a store: one process works on it, by whatever name it came.
//!
//! Two locks of the operating system are held, and both end with the process. The one on the store file keeps out a
//! process that came by a hard link, or after the lock file was removed. The one on the lock file guards what SQLite
//! finds by the store's name, its log above all, also after the store file was replaced. The text in the lock file says
//! who holds the store, and whether the last holder ended in good order.
//!
//! The store file is opened before SQLite opens it, and closed after the writing connection: closing any descriptor of a
//! file gives up the locks that SQLite has on it (<https://sqlite.org/howtocorrupt.html>, 2.2).

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use super::open::told;
use super::place::{Place, with_suffix};
use crate::store::StoreError;

/// Begins the text of a lock file. A file of that name which begins otherwise is somebody else's.
const MARK: &str = "nova3 store lock, held by ";

/// At most so much of a lock file is read.
const TEXT: u64 = 200;

/// The pause between two tries for a lock that somebody holds.
const STEP: Duration = Duration::from_millis(50);

/// The lock, held until it is dropped or the process dies.
///
/// The text in the lock file stays when a process dies: an empty file was left in good order. A process that could not
/// open the store leaves that as it was.
#[derive(Debug)]
pub(super) struct StoreLock {
    shown: PathBuf,
    store: Held,
    name: Held,
    died: bool,
    leave_text: bool,
}

/// An open file, and the name under which it was found.
#[derive(Debug)]
struct Held {
    path: PathBuf,
    file: File,
}

impl StoreLock {
    /// Takes the lock and makes the store file if it is absent. Waits up to `wait` for another process to leave;
    /// `holder` is what others are told about us meanwhile.
    pub(super) fn take(place: &Place, wait: Duration, holder: &str) -> Result<Self, StoreError> {
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
            let held = Held {
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
            let held = Held {
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

    /// Whether the last holder died with the lock in its hand.
    pub(super) const fn died(&self) -> bool {
        self.died
    }

    /// What a dead holder left is put in order: leaving the store is clean again.
    pub(super) const fn leave_clean(&mut self) {
        self.leave_text = false;
    }

    /// Fails when the store file or the lock file was removed or replaced: others may then open what has its name.
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

impl Held {
    fn has_its_name(&self) -> bool {
        let inode = |data: Metadata| (data.dev(), data.ino());
        let named = std::fs::symlink_metadata(&self.path).map(inode);
        let ours = self.file.metadata().map(inode);
        named.is_ok_and(|named| ours.is_ok_and(|ours| named == ours))
    }

    /// A full disk must not keep a store from being opened and read, so this may fail. The old text goes last, so that
    /// the file is never empty before its holder leaves it.
    fn write_text(&mut self, line: &str) {
        drop(
            self.file
                .rewind()
                .and_then(|()| self.file.write_all(line.as_bytes()))
                .and_then(|()| self.file.set_len(line.len() as u64)),
        );
    }
}

/// Whether the lock was taken; waits for it as long as there is time `left`.
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

fn in_use(place: &Place, holder: String) -> StoreError {
    StoreError::InUse {
        path: place.shown.clone(),
        holder: if holder.is_empty() {
            "another process".to_owned()
        } else {
            holder
        },
    }
}

/// Makes the lock file, or opens one that is ours. One that is not is never opened for writing.
fn open_lock_file(path: &Path, place: &Place) -> Result<File, StoreError> {
    let io = |error: Error| StoreError::Io {
        path: place.shown.clone(),
        action: "opening its lock file",
        reason: told(&error),
    };
    let foreign = || StoreError::ForeignFile {
        path: place.shown.clone(),
        file: path.to_path_buf(),
        reason: "has the name of its lock file, and was not made by nova3",
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

/// The store holds people's requests: only its owner may read it. SQLite gives its log the same mode.
fn open_private(path: &Path) -> Result<File, Error> {
    match create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => open(path, true),
        other => other,
    }
}

/// A new file, for its owner alone.
fn create(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// A file that is there and no link. Opening does not wait, as it would at a pipe.
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

/// Empty, ours, or ours before its text was written whole. A power cut may leave zeros.
fn is_ours(text: &[u8]) -> bool {
    let mark = MARK.as_bytes();
    text.starts_with(mark) || mark.starts_with(text) || text.iter().all(|byte| *byte == 0)
}

fn holder_in(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.strip_prefix(MARK).unwrap_or_default().trim().to_owned()
}

/// Whether a lock on the whole file would keep SQLite out too, which locks parts of it: so it is on NFS, SMB (two
/// versions) and 9P, where the lock file has to do.
#[cfg(target_os = "linux")]
fn shares_locks(file: &File) -> bool {
    const SHARING: [rustix::fs::FsWord; 4] =
        [rustix::fs::NFS_SUPER_MAGIC, 0xFF53_4D42, 0xFE53_4D42, 0x0102_1997];
    rustix::fs::fstatfs(file).is_ok_and(|system| SHARING.contains(&system.f_type))
}

/// Systems other than Linux do not tell the two kinds of locks apart.
#[cfg(not(target_os = "linux"))]
const fn shares_locks(_: &File) -> bool {
    true
}
