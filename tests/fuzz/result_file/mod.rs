//! The result file under writes of a run, kills and changes by other programs, and the result of the next start.
//!
//! An input is a script, one act a line; see [`World::act`]. The cursor changes as that of a run does: announced and
//! stored, then appended, then settled.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a target fails the way a test does"
)]

mod writing;

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nova3::sink::{Existing, FileState, Mark, ResultFile, SinkError, tail_digest};

use super::input::digest;

/// How many acts of a script are done.
const MOST_ACTS: usize = 40;

/// The length of a file's tail, which identifies it.
const TAIL: usize = 4096;

#[test]
fn nothing_settled_is_lost_and_nothing_foreign_is_removed() {
    super::campaign::Campaign {
        target: "result_file",
        seeds: &[],
        check,
    }
    .run();
}

pub(crate) fn check(input: &[u8]) -> Vec<u64> {
    thread_local! {
        static FOLDER: tempfile::TempDir = folder();
    }
    FOLDER.with(|folder| {
        for entry in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            assert!(std::fs::remove_file(entry.path()).is_ok());
        }
        let mut world = World::new(folder.path().join("out.jsonl"));
        for line in input.split(|byte| *byte == b'\n').take(MOST_ACTS) {
            world.act(line);
        }
        world.kinds
    })
}

/// In memory if there is such a folder, because every append waits for the disk.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder")
}

/// The stored cursor of the file, with the bytes themselves in place of their digests.
#[derive(Debug, Clone, Default)]
struct Cursor {
    base: usize,
    /// Everything up to the last settled byte.
    certain: Vec<u8>,
    announced: Vec<u8>,
    /// The announced lines are not known any more.
    is_stale: bool,
    replacement: Option<Vec<u8>>,
}

impl Cursor {
    fn mark(&self) -> Mark {
        Mark {
            base: self.base as u64,
            settled: (self.certain.len() - self.base) as u64,
            announced: self.announced.len() as u64,
            lines: (!self.is_stale).then(|| self.announced.clone()),
            tail: tail_digest(&self.certain),
            replacement: self
                .replacement
                .as_ref()
                .map(|content| (content.len() as u64, tail_digest(content))),
        }
    }
}

struct World {
    path: PathBuf,
    /// Open while a run writes it.
    file: Option<ResultFile>,
    cursor: Cursor,
    stored: Option<Cursor>,
    /// Another program changed the file, and no start has accepted that.
    is_touched: bool,
    /// A start accepted a file of another program, and this is not stored yet.
    is_unsaved: bool,
    rows: usize,
    kinds: Vec<u64>,
}

impl World {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            cursor: Cursor::default(),
            stored: None,
            is_touched: false,
            is_unsaved: false,
            rows: 0,
            kinds: Vec::new(),
        }
    }

    /// Does `VERB` or `VERB VALUE`. Other lines are skipped.
    fn act(&mut self, line: &[u8]) {
        let (verb, value) = match line.iter().position(|byte| *byte == b' ') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &line[..0]),
        };
        match verb {
            b"open" => self.open(match value {
                b"append" => Existing::Append,
                b"overwrite" => Existing::Overwrite,
                _ => Existing::Refuse,
            }),
            b"rows" => self.append(number(value)),
            b"torn" => self.tear(number(value)),
            b"save" => self.save(),
            b"kill" => self.file = None,
            b"forget" => {
                if let Some(stored) = &mut self.stored {
                    stored.is_stale = true;
                }
            }
            b"end" => {
                self.save();
                self.file = None;
            }
            b"rewrite" => self.rewrite(number(value)),
            b"empty" => self.empty(number(value)),
            b"others" => self.others(value),
            b"others-line" => self.others(&[value, b"\n"].concat()),
            b"cut" => self.touch(|content| content.truncate(number(value))),
            b"change" => self.touch(|content| {
                if let Some(byte) = content.get_mut(number(value)) {
                    *byte ^= 1;
                }
            }),
            b"replace" => self.touch(|content| *content = value.to_vec()),
            b"remove" => {
                self.is_touched |= std::fs::remove_file(&self.path).is_ok();
            }
            _ => {}
        }
    }

    fn content(&self) -> Option<Vec<u8>> {
        std::fs::read(&self.path).ok()
    }

    fn open(&mut self, existing: Existing) {
        let mark = self.stored.as_ref().map(Cursor::mark);
        let open = || ResultFile::open(&self.path, mark.as_ref(), existing);
        if self.file.is_some() {
            // If another program removed the name, another file is opened.
            let result = open();
            assert!(
                self.is_touched || matches!(result, Err(SinkError::Locked { .. })),
                "{result:?}"
            );
            return;
        }
        let before = self.content().unwrap_or_default();
        let result = open().map(|(_, found)| found);
        let after = self.content().unwrap_or_default();
        self.kinds.push(digest(&(
            format!("{existing:?}"),
            result.as_ref().ok().map(std::mem::discriminant),
            (
                before.len().cmp(&after.len()),
                self.is_touched,
                self.stored.is_some(),
            ),
        )));
        self.judge(existing, &result, &before, &after);
        let Ok(found) = result else { return };
        match open() {
            Ok((file, again)) => {
                // An empty file always has no lines of ours; a line end may make a foreign file match the mark.
                let may_differ = after.is_empty() || existing == Existing::Append;
                assert!(may_differ || again == found, "{again:?} after {found:?}");
                self.file = Some(file);
            }
            Err(error) => panic!("a second start fails: {error}"),
        }
        assert_eq!(
            self.content(),
            Some(after.clone()),
            "a second start changes the file"
        );
        self.is_unsaved = matches!(found, FileState::Nothing { .. });
        self.is_touched = false;
        // A change before the tail is not noticed: it is accepted, now and at the next start.
        match (found, &mut self.stored) {
            (FileState::AsMarked, Some(stored)) => stored.certain.clone_from(&after),
            (FileState::Replaced, Some(stored)) => stored.replacement = Some(after.clone()),
            _ => {}
        }
        self.cursor = Cursor {
            base: match (found, &self.stored) {
                (FileState::AsMarked | FileState::Replaced, Some(stored)) => stored.base,
                _ => after.len(),
            },
            certain: after,
            ..Cursor::default()
        };
    }

    /// Checks the file after an open, for each result.
    fn judge(&self, existing: Existing, result: &Result<FileState, SinkError>, before: &[u8], after: &[u8]) {
        let is_ours = self.stored.is_some() && !self.is_touched && !self.is_unsaved;
        match result {
            Ok(FileState::AsMarked) => {
                let Some(stored) = &self.stored else {
                    panic!("a mark that was never made")
                };
                let settled = stored.certain.len();
                assert_eq!(Some(after), before.get(..settled), "settled bytes are gone");
                let tail = settled.saturating_sub(TAIL);
                assert_eq!(
                    after[tail..],
                    stored.certain[tail..],
                    "a foreign file is taken for ours"
                );
                let removed = &before[settled..];
                let written = removed.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
                assert!(removed.len() <= stored.announced.len());
                assert!(
                    stored.is_stale || stored.announced.starts_with(&removed[..written]),
                    "bytes of somebody else are removed: {:?}",
                    String::from_utf8_lossy(removed)
                );
                assert!(!is_ours || after == stored.certain);
            }
            Ok(FileState::Replaced) => {
                assert_eq!(before, after);
                let content = self
                    .stored
                    .as_ref()
                    .and_then(|stored| stored.replacement.as_ref());
                assert_eq!(content.map(Vec::len), Some(after.len()));
                assert!(!is_ours || content.is_some_and(|content| content == after));
            }
            Ok(FileState::Nothing { base }) => {
                assert_eq!(*base, after.len() as u64);
                match existing {
                    _ if before.is_empty() => assert_eq!(after, b""),
                    Existing::Refuse => panic!("a foreign file is accepted"),
                    Existing::Overwrite => assert_eq!(after, b""),
                    Existing::Append => {
                        let end: &[u8] = if before.ends_with(b"\n") { b"" } else { b"\n" };
                        assert_eq!(after, [before, end].concat());
                    }
                }
            }
            Err(SinkError::Foreign { .. }) => {
                assert_eq!((before, existing), (after, Existing::Refuse));
                assert!(!is_ours, "our own file is refused: {result:?}");
            }
            Err(error) => panic!("{error}"),
        }
        if is_ours {
            assert!(after.is_empty() || after.ends_with(b"\n"), "a torn line is left");
        }
    }

    fn write(&self, bytes: &[u8]) {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .append(true)
            .create(true)
            .open(&self.path)
            .expect("the file");
        file.write_all(bytes).expect("bytes are written");
    }

    fn others(&mut self, bytes: &[u8]) {
        self.write(bytes);
        self.is_touched |= !bytes.is_empty();
    }

    /// Another program changes the file in place.
    fn touch(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let Some(before) = self.content() else { return };
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return;
        }
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).open(&self.path).expect("the file");
        file.write_all_at(&after, 0).expect("bytes are written");
        file.set_len(after.len() as u64).expect("the file is cut");
        self.is_touched = true;
    }
}

/// The first number of a text.
fn number(text: &[u8]) -> usize {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).take(6);
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}
