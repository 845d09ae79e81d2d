//! The writes of a run to its file, up to a kill.

#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "a target fails the way a test does"
)]

use std::path::PathBuf;

use nova3::sink::{SinkError, tail_digest};

use super::{Cursor, TAIL, World};

impl World {
    /// Writes some rows as lines, of lengths from a few bytes to more than a tail.
    fn lines(&mut self, rows: usize) -> Vec<u8> {
        let mut lines = Vec::new();
        for _ in 0..=rows % 8 {
            self.rows += 1;
            let (row, room) = (self.rows, rows * 97 % 5000);
            lines.extend_from_slice(format!("{{\"row\":{row},\"text\":\"{:room$}\"}}\n", "").as_bytes());
        }
        lines
    }

    fn announce(&mut self, rows: usize) -> Vec<u8> {
        let lines = self.lines(rows);
        self.cursor.announced.clone_from(&lines);
        self.stored = Some(self.cursor.clone());
        self.is_unsaved = false;
        lines
    }

    pub(super) fn append(&mut self, rows: usize) {
        let Some(mut file) = self.file.take() else { return };
        let lines = self.announce(rows);
        let before = self.content();
        if self.went_on(before, file.append(&lines)) {
            self.cursor.certain.extend_from_slice(&lines);
            self.cursor.announced.clear();
            assert_eq!(self.content().as_ref(), Some(&self.cursor.certain));
            assert_eq!(file.length(), self.cursor.certain.len() as u64);
            assert_eq!(file.tail(), tail_digest(&self.cursor.certain));
            self.file = Some(file);
        }
    }

    /// Whether a write succeeded. If not, another program had changed the file, and the file is unchanged.
    fn went_on<T>(&mut self, before: Option<Vec<u8>>, result: Result<T, SinkError>) -> bool {
        match result {
            Ok(_) if !self.is_touched => true,
            Ok(_) => {
                let before = before.unwrap_or_default();
                let tail = self.cursor.certain.len().saturating_sub(TAIL);
                assert_eq!(
                    before.get(tail..),
                    Some(&self.cursor.certain[tail..]),
                    "a change went unnoticed"
                );
                // The change is before the tail, so it is not noticed now or at the next start.
                if let Some(stored) = &mut self.stored {
                    let length = stored.certain.len();
                    stored.certain.copy_from_slice(&before[..length]);
                }
                self.cursor.certain = before;
                self.is_touched = false;
                true
            }
            Err(SinkError::Changed { .. }) => {
                assert!(self.is_touched, "our own file is taken for changed");
                assert_eq!(self.content(), before, "a foreign file was written to");
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Kills the process in the middle of an append.
    pub(super) fn tear(&mut self, at: usize) {
        if self.file.take().is_none() {
            return;
        }
        let lines = self.announce(at);
        if !self.is_touched {
            self.write(&lines[..at % (lines.len() + 1)]);
        }
    }

    pub(super) fn save(&mut self) {
        if self.file.is_some() {
            self.cursor.announced.clear();
            self.cursor.replacement = None;
            self.stored = Some(self.cursor.clone());
            self.is_unsaved = false;
        }
    }

    /// Writes the file anew beside itself. The first bits of the number choose the moment of a kill: before the store
    /// knows, before the new file has the name, before it is settled, or none.
    pub(super) fn rewrite(&mut self, number: usize) {
        let Some(mut file) = self.file.take() else { return };
        let base = self.cursor.base;
        let Ok(Some(mut new)) = file.replacement(base as u64) else {
            panic!("the folder can be written")
        };
        let lines = self.lines(number / 4);
        let Ok((length, tail)) = new.write(&lines).and_then(|()| new.complete()) else {
            panic!("the new file can be written")
        };
        let beside = self.beside();
        let content = std::fs::read(&beside).unwrap_or_default();
        assert_eq!((length, tail), (content.len() as u64, tail_digest(&content)));
        assert!(content.ends_with(&lines));
        assert!(self.is_touched || content.len() == base + lines.len());
        if !number.is_multiple_of(4) {
            self.cursor.announced.clear();
            self.cursor.replacement = Some(content.clone());
            self.stored = Some(self.cursor.clone());
            self.is_unsaved = false;
        }
        if number % 4 < 2 {
            // A killed process leaves the new file behind.
            drop(new);
            assert!(std::fs::write(beside, content).is_ok());
            return;
        }
        let before = self.content();
        match new.take_place(file) {
            Ok((file, placed)) => {
                assert!(placed && self.went_on(before, Ok(())));
                assert_eq!(self.content().as_ref(), Some(&content));
                if number % 4 == 3 {
                    self.cursor.certain = content;
                    self.file = Some(file);
                    self.save();
                }
            }
            Err(error) => drop(self.went_on::<()>(before, Err(error))),
        }
    }

    /// Returns the new file beside the result file.
    fn beside(&self) -> PathBuf {
        let folder = self.path.parent().map(std::fs::read_dir);
        let mut files = folder
            .into_iter()
            .flatten()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        files
            .find(|path| *path != self.path)
            .expect("a new file beside the old one")
    }

    /// Writes the file anew in place. The kill comes before it is emptied, after that, or not at all.
    pub(super) fn empty(&mut self, number: usize) {
        let Some(mut file) = self.file.take() else { return };
        let old = std::mem::take(&mut self.cursor.certain);
        let base = self.cursor.base;
        self.stored = Some(Cursor {
            base,
            certain: old[..base].to_vec(),
            replacement: Some(old.clone()),
            ..Cursor::default()
        });
        self.is_unsaved = false;
        self.cursor.certain = old;
        if number.is_multiple_of(3) {
            return;
        }
        let before = self.content();
        if self.went_on(before, file.empty(base as u64)) {
            self.cursor.certain.truncate(base);
            assert_eq!(self.content().as_ref(), Some(&self.cursor.certain));
            if number % 3 == 2 {
                self.file = Some(file);
            }
        }
    }
}
