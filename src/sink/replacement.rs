//! A result file that is written anew beside the old one and replaces it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::error::SinkError;
use super::file::{ResultFile, lock};

/// A file that is about to replace another. Dropping it before that removes it.
#[derive(Debug)]
pub struct Replacement {
    new: ResultFile,
    name: TempPath,
}

impl ResultFile {
    /// Begins a file that will replace this one; the first `keep` bytes are copied into it. `None` if the old file has
    /// to be written in place: no file can be made beside it, or it has a second name, which would keep the old lines.
    pub fn replacement(&mut self, keep: u64) -> Result<Option<Replacement>, SinkError> {
        let path = beside(&self.path);
        let failed = |source| SinkError::Io {
            path: path.clone(),
            action: "writing a new one beside it",
            source,
        };
        let data = self.file.metadata().map_err(failed)?;
        if data.nlink() > 1 {
            return Ok(None);
        }
        // A killed process left this file, since only nova3 uses its name. A link or a folder of that name is kept.
        if std::fs::symlink_metadata(&path).is_ok_and(|data| data.is_file()) {
            drop(std::fs::remove_file(&path));
        }
        let made = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let mut file = match made {
            Ok(file) => file,
            Err(error) if leaves_no_room(error.kind()) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let name = TempPath::try_from_path(path.clone()).map_err(failed)?;
        // The new file is locked before it has the result file's name, so that no other process can lock it first.
        lock(&file, &path)?;
        drop(file.set_permissions(data.permissions()));
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let length =
            std::io::copy(&mut Read::by_ref(&mut self.file).take(keep), &mut file).map_err(failed)?;
        let mut new = Self {
            path: path.clone(),
            file,
            length,
            last: Vec::new(),
        };
        new.last = new.read_tail(length)?;
        Ok(Some(Replacement { new, name }))
    }
}

impl Replacement {
    /// Adds lines; they need not be on the disk on return.
    pub fn write(&mut self, lines: &[u8]) -> Result<(), SinkError> {
        self.new.add(lines)
    }

    /// Writes everything to the disk; returns length and tail for the announcement.
    pub fn complete(&mut self) -> Result<(u64, [u8; 32]), SinkError> {
        self.new.file.sync_all().map_err(self.new.io("writing to disk"))?;
        Ok((self.new.length(), self.new.tail()))
    }

    /// Renames the new file to the name of `old`; on return this holds also after a power cut. Returns `old` and false
    /// if the system refuses the rename, for example because the file is a mount of its own.
    pub fn take_place(self, mut old: ResultFile) -> Result<(ResultFile, bool), SinkError> {
        let Self { mut new, name } = self;
        old.check()?;
        if let Err(error) = std::fs::rename(&name, &old.path) {
            return if keeps_its_name(error.kind()) {
                Ok((old, false))
            } else {
                Err(new.io("renaming it")(error))
            };
        }
        // The temporary name does not exist any more, so nothing has to be removed.
        drop(name.keep());
        let folder = old.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .map_err(new.io("renaming it"))?;
        new.path.clone_from(&old.path);
        Ok((new, true))
    }
}

/// Returns the name of a new file beside `path`. Only nova3 uses this name, so a leftover file of this name is ours.
fn beside(path: &Path) -> PathBuf {
    let digest = blake3::hash(path.as_os_str().as_bytes()).to_hex();
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.nova3-new", &digest[..8]));
    PathBuf::from(name)
}

/// Whether no file can be made beside the old one, although the old one can be written.
fn leaves_no_room(error: ErrorKind) -> bool {
    matches!(
        error,
        ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::InvalidFilename
            | ErrorKind::AlreadyExists
    )
}

/// Whether no file can be renamed to the old file's name, although the old file can be written.
fn keeps_its_name(error: ErrorKind) -> bool {
    matches!(
        error,
        ErrorKind::ResourceBusy
            | ErrorKind::CrossesDevices
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Existing;

    fn opened(path: &Path, content: &[u8]) -> ResultFile {
        let (mut file, _) = ResultFile::open(path, None, Existing::Refuse).unwrap();
        file.append(content).unwrap();
        file
    }

    #[test]
    fn what_a_killed_process_left_is_replaced_and_what_others_have_there_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let foreign = folder.path().join("out.jsonl.nova3-new");
        std::fs::write(&foreign, b"precious").unwrap();
        std::fs::write(beside(&path), b"left over").unwrap();
        let mut file = opened(&path, b"base\nold\n");
        let mut new = file.replacement(5).unwrap().expect("a leftover of ours");
        new.write(b"new\n").unwrap();
        assert!(new.take_place(file).unwrap().1);
        assert_eq!(std::fs::read(&path).unwrap(), b"base\nnew\n");
        assert_eq!(std::fs::read(&foreign).unwrap(), b"precious");
        assert!(!beside(&path).exists());

        let victim = folder.path().join("victim");
        std::fs::write(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, beside(&path)).unwrap();
        let (mut file, _) = ResultFile::open(&path, None, Existing::Overwrite).unwrap();
        assert!(file.replacement(0).unwrap().is_none(), "a link is not ours");
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
        assert!(beside(&path).is_symlink());
    }

    #[test]
    fn a_file_with_a_second_name_keeps_both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let mut file = opened(&path, b"base\nold\n");
        std::fs::hard_link(&path, folder.path().join("second")).unwrap();
        assert!(file.replacement(5).unwrap().is_none());
        file.empty(5).unwrap();
        file.append(b"new\n").unwrap();
        for name in ["out.jsonl", "second"] {
            assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), b"base\nnew\n");
        }
    }
}
