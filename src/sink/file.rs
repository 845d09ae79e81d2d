//! One result file, locked for as long as it is open.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::SinkError;

/// So many bytes before the end of ours are recognised by their digest.
const TAIL: u64 = 4096;

/// What to do with a file that is not what the mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Stop.
    Refuse,
    /// Keep it and write behind it.
    Append,
    /// Empty it.
    Overwrite,
}

/// What should be in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Bytes before the first line of ours.
    pub base: u64,
    /// Bytes of ours that are certain.
    pub settled: u64,
    /// Bytes that may follow them, whole or in part.
    pub announced: u64,
    /// Digest of the last bytes before `base + settled`.
    pub tail: [u8; 32],
    /// Length and tail of a file that may have taken this one's place.
    pub replacement: Option<(u64, [u8; 32])>,
}

/// What was found, after at most the announced bytes were cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing of ours: every line is still to be written, behind so many bytes of someone else's.
    Nothing {
        /// Bytes of someone else's.
        base: u64,
    },
    /// The file that the mark describes.
    AsMarked,
    /// The announced replacement.
    Replaced,
}

/// A result file.
#[derive(Debug)]
pub struct ResultFile {
    path: PathBuf,
    file: File,
    length: u64,
    /// The last bytes of the file, at most [`TAIL`] of them.
    last: Vec<u8>,
}

impl ResultFile {
    /// Opens and locks the file, makes it if it is absent, and compares it with the mark.
    pub fn open(path: &Path, mark: Option<&Mark>, existing: Existing) -> Result<(Self, Found), SinkError> {
        let io = |action| {
            move |source| SinkError::Io {
                path: path.to_path_buf(),
                action,
                source,
            }
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io("opening it"))?;
        lock(&file, path)?;
        let length = file.metadata().map_err(io("reading its length"))?.len();
        let mut this = Self {
            path: path.to_path_buf(),
            file,
            length,
            last: Vec::new(),
        };
        let found = this.compare(mark, existing)?;
        this.last = this.read_tail(this.length)?;
        this.file
            .seek(SeekFrom::Start(this.length))
            .map_err(this.io("seeking in it"))?;
        Ok((this, found))
    }

    fn compare(&mut self, mark: Option<&Mark>, existing: Existing) -> Result<Found, SinkError> {
        if self.length == 0 {
            return Ok(Found::Nothing { base: 0 });
        }
        let reason = match mark {
            // What others wrote before our first line was kept once; now it shall go too.
            Some(mark) if existing == Existing::Overwrite && mark.base > 0 => {
                format!("{} bytes of others stand before ours", mark.base)
            }
            None => "it was there before".to_owned(),
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
                Ok(Found::Nothing { base: 0 })
            }
            Existing::Append => {
                self.end_last_line()?;
                Ok(Found::Nothing { base: self.length })
            }
        }
    }

    /// The state that the mark explains, or how the file differs from every such state.
    ///
    /// A replacement may look like the file it replaces: as long, with the same end. Such a file is taken for
    /// the old one, because that is written anew for nothing, while a replacement is believed.
    fn explain(&mut self, mark: &Mark) -> Result<Result<Found, String>, SinkError> {
        let Some(reason) = self.difference(mark)? else {
            return Ok(Ok(Found::AsMarked));
        };
        if let Some((length, tail)) = mark.replacement
            && self.length == length
            && self.tail_at(length)? == tail
        {
            return Ok(Ok(Found::Replaced));
        }
        Ok(Err(reason))
    }

    /// How the file differs from the settled bytes; what may have been torn behind them is cut off.
    fn difference(&mut self, mark: &Mark) -> Result<Option<String>, SinkError> {
        let settled = mark.base + mark.settled;
        if self.length < settled {
            return Ok(Some(format!(
                "it has {} bytes where {settled} were written",
                self.length
            )));
        }
        if self.tail_at(settled)? != mark.tail {
            return Ok(Some(format!(
                "the {} bytes before byte {settled} are others",
                settled.min(TAIL)
            )));
        }
        if self.length > settled + mark.announced {
            let more = self.length - settled;
            return Ok(Some(format!("{more} bytes were added behind byte {settled}")));
        }
        if self.length > settled {
            self.cut(settled)?;
        }
        Ok(None)
    }

    /// Someone else's last line gets its end, so that ours does not run into it.
    fn end_last_line(&mut self) -> Result<(), SinkError> {
        if self.read_tail(self.length)?.last() != Some(&b'\n') {
            self.file
                .seek(SeekFrom::End(0))
                .map_err(self.io("seeking in it"))?;
            self.file
                .write_all(b"\n")
                .and_then(|()| self.file.sync_data())
                .map_err(self.io("writing"))?;
            self.length += 1;
        }
        Ok(())
    }

    /// The lines are in the file and on the disk. After an error the file may hold a part of them, which
    /// the announcement covers.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), SinkError> {
        self.file.write_all(lines).map_err(self.io("writing"))?;
        self.file.sync_data().map_err(self.io("writing to disk"))?;
        self.length += lines.len() as u64;
        remember(&mut self.last, lines);
        Ok(())
    }

    /// The digest that recognises the file as it is now.
    pub fn tail(&self) -> [u8; 32] {
        tail_digest(&self.last)
    }

    /// The length of the file as it is now.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Begins a file that will take this one's place; the first `keep` bytes are copied into it.
    pub fn replacement(&mut self, keep: u64) -> Result<Replacement, SinkError> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".nova3-new");
        let path = PathBuf::from(name);
        let failed = |source| SinkError::Io {
            path: path.clone(),
            action: "writing a new one beside it",
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(failed)?;
        // The new file is locked before it has the name, so that nobody slips in between.
        lock(&file, &path)?;
        if let Ok(data) = self.file.metadata() {
            drop(file.set_permissions(data.permissions()));
        }
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let copied =
            std::io::copy(&mut Read::by_ref(&mut self.file).take(keep), &mut file).map_err(failed)?;
        self.file.seek(SeekFrom::Start(self.length)).map_err(failed)?;
        let mut new = Self {
            path: path.clone(),
            file,
            length: copied,
            last: Vec::new(),
        };
        new.last = new.read_tail(copied)?;
        new.file.seek(SeekFrom::Start(copied)).map_err(failed)?;
        Ok(Replacement { new })
    }

    fn cut(&mut self, length: u64) -> Result<(), SinkError> {
        self.file
            .set_len(length)
            .and_then(|()| self.file.sync_data())
            .map_err(self.io("cutting it"))?;
        self.length = length;
        Ok(())
    }

    fn tail_at(&mut self, end: u64) -> Result<[u8; 32], SinkError> {
        Ok(tail_digest(&self.read_tail(end)?))
    }

    fn read_tail(&mut self, end: u64) -> Result<Vec<u8>, SinkError> {
        let from = end.saturating_sub(TAIL);
        let mut bytes = Vec::new();
        let file = &mut self.file;
        let read = file
            .seek(SeekFrom::Start(from))
            .and_then(|_| Read::by_ref(file).take(end - from).read_to_end(&mut bytes));
        read.map_err(self.io("reading it"))?;
        Ok(bytes)
    }

    fn io(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> SinkError + use<> {
        let path = self.path.clone();
        move |source| SinkError::Io { path, action, source }
    }
}

/// A file that is about to take another's place.
#[derive(Debug)]
pub struct Replacement {
    new: ResultFile,
}

impl Replacement {
    /// Adds lines; they need not be on the disk yet.
    pub fn write(&mut self, lines: &[u8]) -> Result<(), SinkError> {
        self.new.file.write_all(lines).map_err(self.new.io("writing"))?;
        self.new.length += lines.len() as u64;
        remember(&mut self.new.last, lines);
        Ok(())
    }

    /// Everything is on the disk; answers length and tail for the announcement.
    pub fn complete(&mut self) -> Result<(u64, [u8; 32]), SinkError> {
        self.new.file.sync_all().map_err(self.new.io("writing to disk"))?;
        Ok((self.new.length, self.new.tail()))
    }

    /// It has the name of `old`, also after a power cut.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the old file is no more; its lock goes with it"
    )]
    pub fn take_place(mut self, old: ResultFile) -> Result<ResultFile, SinkError> {
        std::fs::rename(&self.new.path, &old.path).map_err(self.new.io("renaming it"))?;
        let folder = old.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .map_err(self.new.io("renaming it"))?;
        self.new.path.clone_from(&old.path);
        Ok(self.new)
    }
}

/// The digest of the last bytes of a file.
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

fn lock(file: &File, path: &Path) -> Result<(), SinkError> {
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
mod tests {
    use super::*;

    struct Bundle {
        _folder: tempfile::TempDir,
        path: PathBuf,
    }

    fn setup(content: Option<&[u8]>) -> Bundle {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        Bundle {
            _folder: folder,
            path,
        }
    }

    fn mark(settled: &[u8], announced: u64) -> Mark {
        Mark {
            base: 0,
            settled: settled.len() as u64,
            announced,
            tail: tail_digest(settled),
            replacement: None,
        }
    }

    fn open(bundle: &Bundle, mark: Option<&Mark>, existing: Existing) -> Result<Found, SinkError> {
        ResultFile::open(&bundle.path, mark, existing).map(|(_, found)| found)
    }

    #[test]
    fn a_torn_tail_is_cut_and_no_more() {
        let bundle = setup(Some(b"one\ntwo\nthr"));
        assert_eq!(
            open(&bundle, Some(&mark(b"one\ntwo\n", 6)), Existing::Refuse).unwrap(),
            Found::AsMarked
        );
        assert_eq!(std::fs::read(&bundle.path).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn what_others_wrote_is_left_alone() {
        let cases: [(&[u8], Option<Mark>, &str); 4] = [
            (b"mine\n", None, "it was there before"),
            (
                b"one\n",
                Some(mark(b"one\ntwo\n", 9)),
                "it has 4 bytes where 8 were written",
            ),
            (
                b"one\nTWO\n",
                Some(mark(b"one\ntwo\n", 9)),
                "the 8 bytes before byte 8 are others",
            ),
            (
                b"one\ntwo\nmore\n",
                Some(mark(b"one\ntwo\n", 0)),
                "5 bytes were added behind byte 8",
            ),
        ];
        for (content, mark, expected) in cases {
            let bundle = setup(Some(content));
            match open(&bundle, mark.as_ref(), Existing::Refuse) {
                Err(SinkError::Foreign { reason, .. }) => assert_eq!(reason, expected),
                other => panic!("{other:?}"),
            }
            assert_eq!(std::fs::read(&bundle.path).unwrap(), content);
        }
    }

    #[test]
    fn append_keeps_and_overwrite_empties() {
        let bundle = setup(Some(b"mine"));
        assert_eq!(
            open(&bundle, None, Existing::Append).unwrap(),
            Found::Nothing { base: 5 }
        );
        assert_eq!(std::fs::read(&bundle.path).unwrap(), b"mine\n");
        assert_eq!(
            open(&bundle, None, Existing::Overwrite).unwrap(),
            Found::Nothing { base: 0 }
        );
        assert_eq!(std::fs::read(&bundle.path).unwrap(), b"");
    }

    #[test]
    fn an_absent_file_is_made_and_an_open_one_is_locked() {
        let bundle = setup(None);
        let (_held, found) =
            ResultFile::open(&bundle.path, Some(&mark(b"one\n", 0)), Existing::Refuse).unwrap();
        assert_eq!(found, Found::Nothing { base: 0 });
        assert!(matches!(
            open(&bundle, None, Existing::Refuse),
            Err(SinkError::Locked { .. })
        ));
    }

    #[test]
    fn a_replacement_is_recognised_before_and_after_its_rename() {
        let bundle = setup(Some(b"base\nold\n"));
        let before = Mark {
            base: 5,
            settled: 4,
            announced: 0,
            tail: tail_digest(b"base\nold\n"),
            replacement: None,
        };
        let (mut file, _) = ResultFile::open(&bundle.path, Some(&before), Existing::Refuse).unwrap();
        let mut new = file.replacement(5).unwrap();
        new.write(b"new\nlines\n").unwrap();
        let announced = Mark {
            replacement: Some(new.complete().unwrap()),
            ..before
        };
        drop(file);
        assert_eq!(
            open(&bundle, Some(&announced), Existing::Refuse).unwrap(),
            Found::AsMarked
        );
        let (file, _) = ResultFile::open(&bundle.path, Some(&announced), Existing::Refuse).unwrap();
        let file = new.take_place(file).unwrap();
        assert!(matches!(
            open(&bundle, None, Existing::Refuse),
            Err(SinkError::Locked { .. })
        ));
        drop(file);
        assert_eq!(
            open(&bundle, Some(&announced), Existing::Refuse).unwrap(),
            Found::Replaced
        );
        assert_eq!(std::fs::read(&bundle.path).unwrap(), b"base\nnew\nlines\n");
    }

    #[test]
    fn the_remembered_tail_is_the_files_tail() {
        let bundle = setup(None);
        let (mut file, _) = ResultFile::open(&bundle.path, None, Existing::Refuse).unwrap();
        let mut whole = Vec::new();
        for n in 0..300_usize {
            let line = format!("{}\n", "x".repeat(n * 7 % 97));
            file.append(line.as_bytes()).unwrap();
            whole.extend_from_slice(line.as_bytes());
        }
        assert_eq!(file.tail(), tail_digest(&whole));
        file.append(&vec![b'y'; 9000]).unwrap();
        whole.extend_from_slice(&vec![b'y'; 9000]);
        assert_eq!(
            (file.tail(), file.length()),
            (tail_digest(&whole), whole.len() as u64)
        );
    }

    #[test]
    fn a_replacement_that_looks_like_the_old_file_is_not_believed() {
        let end = [b'x'; 4096];
        let (old, new) = ([b"1\n", &end[..]].concat(), [b"2\n", &end[..]].concat());
        let bundle = setup(Some(&old));
        let length = new.len() as u64;
        let mark = Mark {
            replacement: Some((length, tail_digest(&new))),
            ..mark(&old, 0)
        };
        assert_eq!(
            open(&bundle, Some(&mark), Existing::Refuse).unwrap(),
            Found::AsMarked
        );
    }
}
