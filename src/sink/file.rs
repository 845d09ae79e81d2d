//! One result file, locked and checked while it is open.
//!
//! Only this process writes the file while it is open. If another program removes, replaces, cuts or extends it, the
//! next append fails and nothing more is written.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::error::SinkError;

/// How many bytes before the end of our lines the tail digest covers.
const TAIL: u64 = 4096;

/// The handling of a file that does not match the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Stop.
    Refuse,
    /// Keep it and write behind it.
    Append,
    /// Empty it.
    Overwrite,
}

/// The expected content of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Bytes before our first line.
    pub base: u64,
    /// Our bytes that are certainly in the file.
    pub settled: u64,
    /// Our bytes that may follow them, completely or in part.
    pub announced: u64,
    /// The announced bytes, if they are known: any other bytes behind the settled ones belong to another program.
    pub lines: Option<Vec<u8>>,
    /// Digest of the last bytes before `base + settled`.
    pub tail: [u8; 32],
    /// Length and tail of a replacement that may have taken the file's place.
    pub replacement: Option<(u64, [u8; 32])>,
}

/// The state of the file, after at most the announced bytes were cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// The file holds none of our lines: all of them are still to be written, behind `base` foreign bytes.
    Nothing {
        /// Foreign bytes.
        base: u64,
    },
    /// The file matches the mark.
    AsMarked,
    /// The file is the announced replacement.
    Replaced,
}

/// A result file.
#[derive(Debug)]
pub struct ResultFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) length: u64,
    /// The last bytes of the file, at most [`TAIL`] of them.
    pub(super) last: Vec<u8>,
}

impl ResultFile {
    /// Opens and locks the file, creates it if it is absent, and compares it with the mark.
    pub fn open(
        path: &Path,
        mark: Option<&Mark>,
        existing: Existing,
    ) -> Result<(Self, FileState), SinkError> {
        let io = |action| {
            move |source| SinkError::Io {
                path: path.to_path_buf(),
                action,
                source,
            }
        };
        let file = open_locked(path)?;
        let length = file.metadata().map_err(io("reading its length"))?.len();
        let mut this = Self {
            path: path.to_path_buf(),
            file,
            length,
            last: Vec::new(),
        };
        let found = this.compare(mark, existing)?;
        this.last = this.read_tail(this.length)?;
        Ok((this, found))
    }

    fn compare(&mut self, mark: Option<&Mark>, existing: Existing) -> Result<FileState, SinkError> {
        if self.length == 0 {
            return Ok(FileState::Nothing { base: 0 });
        }
        let reason = match mark {
            // An earlier run kept the foreign bytes before our first line; `--overwrite` removes them too.
            Some(mark) if existing == Existing::Overwrite && mark.base > 0 => {
                format!("{} bytes that this run did not write come first", mark.base)
            }
            None => "it existed before this run".to_owned(),
            Some(mark) => match self.explain(mark)? {
                Ok(found) => return Ok(found),
                Err(reason) => reason,
            },
        };
        match existing {
            Existing::Refuse => Err(SinkError::Foreign {
                path: self.path.clone(),
                reason,
            }),
            Existing::Overwrite => {
                self.cut(0)?;
                Ok(FileState::Nothing { base: 0 })
            }
            Existing::Append => {
                self.end_last_line()?;
                Ok(FileState::Nothing { base: self.length })
            }
        }
    }

    /// Returns the state that the mark explains, or how the file differs from every such state.
    ///
    /// A replacement may look like the file that it replaces: the same length and the same tail. Such a file counts as
    /// the old one: writing it again costs only time, while a file that counts as the replacement is not written again.
    fn explain(&mut self, mark: &Mark) -> Result<Result<FileState, String>, SinkError> {
        let Some(reason) = self.difference(mark)? else {
            return Ok(Ok(FileState::AsMarked));
        };
        if let Some((length, tail)) = mark.replacement
            && self.length == length
            && self.tail_at(length)? == tail
        {
            return Ok(Ok(FileState::Replaced));
        }
        Ok(Err(reason))
    }

    /// Returns how the file differs from the settled bytes. It cuts off a torn write behind them.
    fn difference(&mut self, mark: &Mark) -> Result<Option<String>, SinkError> {
        let settled = mark.base.saturating_add(mark.settled);
        if self.length < settled {
            return Ok(Some(format!(
                "it has {} bytes, but {settled} were written",
                self.length
            )));
        }
        if self.tail_at(settled)? != mark.tail {
            return Ok(Some(format!(
                "the {} bytes before byte {settled} were changed",
                settled.min(TAIL)
            )));
        }
        let more = self.length - settled;
        if more > mark.announced || !self.is_torn(settled, mark)? {
            return Ok(Some(format!("{more} bytes were added after byte {settled}")));
        }
        if more > 0 && !failpoint!("announced-not-cut") {
            self.cut(settled)?;
        }
        Ok(None)
    }

    /// Whether the bytes behind the settled ones are the beginning of the announced lines, as far as these are known.
    /// After a power cut, zeros may stand in place of bytes that were not written.
    fn is_torn(&mut self, settled: u64, mark: &Mark) -> Result<bool, SinkError> {
        let Some(lines) = &mark.lines else {
            return Ok(true);
        };
        let found = self.read(settled, self.length)?;
        let written = found.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        Ok(lines.starts_with(&found[..written]))
    }

    /// Ends the last line of a foreign file, so that our first line does not join it.
    fn end_last_line(&mut self) -> Result<(), SinkError> {
        if self.read_tail(self.length)?.last() != Some(&b'\n') {
            self.file
                .write_all(b"\n")
                .and_then(|()| self.file.sync_data())
                .map_err(self.io("writing"))?;
            self.length += 1;
        }
        Ok(())
    }

    /// Fails if another program changed the file, or gave its name to another file, since it was opened.
    ///
    /// It compares inode, length and the last bytes, so it does not notice a change further up that keeps the length.
    pub fn check(&mut self) -> Result<(), SinkError> {
        let reason = match std::fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Some("it was removed".to_owned()),
            Err(error) => return Err(self.io("looking at it")(error)),
            Ok(named) => self.change(&named)?,
        };
        match reason {
            None => Ok(()),
            Some(reason) => Err(SinkError::Changed {
                path: self.path.clone(),
                reason,
            }),
        }
    }

    fn change(&mut self, named: &Metadata) -> Result<Option<String>, SinkError> {
        let ours = self.file.metadata().map_err(self.io("reading its length"))?;
        if inode(named) != inode(&ours) {
            return Ok(Some("another file has its name".to_owned()));
        }
        let (expected, found) = (self.length, ours.len());
        if found < expected {
            return Ok(Some(format!("it has {found} bytes, but {expected} were written")));
        }
        if found > expected {
            let more = found - expected;
            return Ok(Some(format!("{more} bytes were added after byte {expected}")));
        }
        if self.read_tail(expected)? != self.last {
            let last = self.last.len();
            return Ok(Some(format!(
                "the {last} bytes before byte {expected} were changed"
            )));
        }
        Ok(None)
    }

    /// Appends the lines. On return they are in the file and on the disk. After an error the file may hold a part of
    /// them, which the announcement covers.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), SinkError> {
        self.check()?;
        self.add(lines)?;
        self.file.sync_data().map_err(self.io("writing to disk"))
    }

    /// Adds lines; they need not be on the disk on return.
    pub(super) fn add(&mut self, lines: &[u8]) -> Result<(), SinkError> {
        self.file.write_all(lines).map_err(self.io("writing"))?;
        self.length += lines.len() as u64;
        remember(&mut self.last, lines);
        Ok(())
    }

    /// Returns the digest that identifies the file as it is now.
    pub fn tail(&self) -> [u8; 32] {
        tail_digest(&self.last)
    }

    /// The present length of the file.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Removes everything behind the first `keep` bytes, so that the lines can be written again in place.
    pub fn empty(&mut self, keep: u64) -> Result<(), SinkError> {
        self.check()?;
        self.cut(keep)?;
        self.last = self.read_tail(keep)?;
        Ok(())
    }

    fn cut(&mut self, length: u64) -> Result<(), SinkError> {
        self.file
            .set_len(length)
            .and_then(|()| self.file.sync_data())
            .map_err(self.io("cutting it"))?;
        self.length = length;
        Ok(())
    }

    /// Returns the digest of the last bytes before `end`.
    pub fn tail_at(&mut self, end: u64) -> Result<[u8; 32], SinkError> {
        Ok(tail_digest(&self.read_tail(end)?))
    }

    pub(super) fn read_tail(&mut self, end: u64) -> Result<Vec<u8>, SinkError> {
        self.read(end.saturating_sub(TAIL), end)
    }

    fn read(&mut self, from: u64, end: u64) -> Result<Vec<u8>, SinkError> {
        let mut bytes = Vec::new();
        let file = &mut self.file;
        let read = file
            .seek(SeekFrom::Start(from))
            .and_then(|_| Read::by_ref(file).take(end - from).read_to_end(&mut bytes));
        read.map_err(self.io("reading it"))?;
        Ok(bytes)
    }

    pub(super) fn io(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> SinkError + use<> {
        let path = self.path.clone();
        move |source| SinkError::Io { path, action, source }
    }
}

/// Returns the digest of the last bytes of a file.
pub fn tail_digest(last: &[u8]) -> [u8; 32] {
    let from = last
        .len()
        .saturating_sub(usize::try_from(TAIL).unwrap_or(usize::MAX));
    *blake3::hash(&last[from..]).as_bytes()
}

fn remember(last: &mut Vec<u8>, lines: &[u8]) {
    let keep = usize::try_from(TAIL).unwrap_or(usize::MAX);
    if lines.len() >= keep {
        last.clear();
        last.extend_from_slice(&lines[lines.len() - keep..]);
        return;
    }
    last.extend_from_slice(lines);
    let surplus = last.len().saturating_sub(keep);
    last.drain(..surplus);
}

/// The identity of a file, independent of its name.
fn inode(data: &Metadata) -> (u64, u64) {
    (data.dev(), data.ino())
}

/// Opens the file of this name and locks it; creates it if it is absent. It does not follow a link in its place: the
/// path of a result file is resolved before.
fn open_locked(path: &Path) -> Result<File, SinkError> {
    let io = |action| {
        move |source| SinkError::Io {
            path: path.to_path_buf(),
            action,
            source,
        }
    };
    loop {
        // Every write goes to the present end of the file, so that no foreign bytes are overwritten.
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)
            .map_err(io("opening it"))?;
        lock(&file, path)?;
        let ours = file.metadata().map_err(io("looking at it"))?;
        // The last writer may have replaced the file between the opening and the lock.
        let named = std::fs::symlink_metadata(path);
        if named.is_ok_and(|named| inode(&named) == inode(&ours)) {
            return Ok(file);
        }
    }
}

pub(super) fn lock(file: &File, path: &Path) -> Result<(), SinkError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(SinkError::Locked {
            path: path.to_path_buf(),
        }),
        Err(TryLockError::Error(source)) => Err(SinkError::Io {
            path: path.to_path_buf(),
            action: "locking it",
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
