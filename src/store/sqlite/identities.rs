//! The names seen in an input, for finding duplicates. They are in a scratch table that moves to disk when it grows, so
//! that checking ten million lines takes no more memory than checking a thousand.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::JobFault;
use crate::domain::request::Digest;
use crate::store::StoreError;

/// A set of names, each with its line.
#[derive(Debug)]
pub struct Identities(Connection);

impl Identities {
    /// Makes an empty set. SQLite removes its file itself, also after a crash.
    pub fn new() -> Result<Self, StoreError> {
        Self::open().map_err(|fault| fault.at(Path::new("a temporary file")))
    }

    fn open() -> Result<Self, JobFault> {
        let connection = Connection::open("")?;
        connection.execute_batch(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-32768; PRAGMA locking_mode=EXCLUSIVE;
             CREATE TABLE seen(name BLOB PRIMARY KEY, line INTEGER NOT NULL) WITHOUT ROWID; BEGIN;",
        )?;
        Ok(Self(connection))
    }

    /// Returns the line on which `name` was seen before. If there is none, stores `line` for it.
    pub fn first_line(&mut self, name: &str, line: u64) -> Result<Option<u64>, StoreError> {
        self.look(name, line)
            .map_err(|fault| fault.at(Path::new("a temporary file")))
    }

    /// Counts one more line of this name. Returns how many there are.
    pub fn count(&mut self, name: &[u8]) -> Result<u64, StoreError> {
        self.count_one(name)
            .map_err(|fault| fault.at(Path::new("a temporary file")))
    }

    fn count_one(&self, name: &[u8]) -> Result<u64, JobFault> {
        Ok(self
            .0
            .prepare_cached("INSERT INTO seen(name, line) VALUES(?1, 1) ON CONFLICT DO UPDATE SET line=line+1 RETURNING line")?
            .query_row([name], |row| row.get(0))?)
    }

    fn look(&self, name: &str, line: u64) -> Result<Option<u64>, JobFault> {
        // Half of a SHA-256 still makes a collision practically impossible, at half the size.
        let digest = Digest::of(name.as_bytes());
        let key = &digest.as_bytes()[..16];
        let added = self
            .0
            .prepare_cached("INSERT OR IGNORE INTO seen(name, line) VALUES(?1, ?2)")?
            .execute(params![key, line])?;
        if added > 0 {
            return Ok(None);
        }
        Ok(self
            .0
            .prepare_cached("SELECT line FROM seen WHERE name=?1")?
            .query_row([key], |row| row.get(0))
            .optional()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_again_with_its_first_line() {
        let mut seen = Identities::new().unwrap();
        assert_eq!(seen.first_line("a", 1).unwrap(), None);
        assert_eq!(seen.first_line("b", 2).unwrap(), None);
        assert_eq!(seen.first_line("a", 3).unwrap(), Some(1));
        assert_eq!(seen.first_line("a", 4).unwrap(), Some(1));
    }

    #[test]
    fn equal_names_are_counted() {
        let mut seen = Identities::new().unwrap();
        let counts = [b"a", b"b", b"a", b"a"].map(|name| seen.count(name).unwrap());
        assert_eq!(counts, [1, 1, 2, 3]);
    }
}
