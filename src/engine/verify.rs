//! The proof that a result file holds each finished request's latest line exactly once.
//!
//! The lines are rendered anew from the store and compared with the file byte by byte, in the order in
//! which they were written: nothing missing, nothing twice, nothing torn, nothing else.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use super::RunError;
use super::pages::{beginning, page, unwritable};
use crate::clock;
use crate::domain::outcome::Finished;
use crate::domain::result_line;
use crate::domain::state::Status;
use crate::store::{Cursor, Feed, FileKey, Results, Run};

/// Lines compared at a time.
const ROWS: usize = 512;

/// Compares the file with the store; answers what it holds, or the first difference.
pub async fn verify(
    store: &dyn Results,
    run: &Run,
    key: &FileKey,
    cursor: &Cursor,
) -> Result<Result<Proof, String>, RunError> {
    if cursor.announced > 0 || cursor.rewrite.is_some() {
        return Ok(Err(
            "its last writing was cut short (run the same command again to mend it)".to_owned(),
        ));
    }
    let behind = cursor.feed == Feed::Results && store.lines_epoch(run.id).await? != cursor.epoch;
    let proof = compare(store, run, key, cursor).await?;
    Ok(match proof {
        Err(_) if behind => Err(
            "requests were changed or put back since it was written (run the same command again)".to_owned(),
        ),
        proof => proof,
    })
}

/// What a file was proven to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// Its lines.
    pub lines: u64,
    /// Those of them that paused or were continued since they were written: the next invocation of the run writes what
    /// they say now.
    pub newer: u64,
}

async fn compare(
    store: &dyn Results,
    run: &Run,
    key: &FileKey,
    cursor: &Cursor,
) -> Result<Result<Proof, String>, RunError> {
    let opened = File::open(&key.path).and_then(|mut file| {
        file.seek(SeekFrom::Start(cursor.base))?;
        Ok(BufReader::with_capacity(1 << 20, file))
    });
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut proof = Proof { lines: 0, newer: 0 };
    let mut after = beginning(cursor.order);
    loop {
        let page = lines(store, run, cursor, after).await?;
        if page.lines.is_empty() {
            break;
        }
        after = page.after;
        for line in page.lines {
            let mut found = Vec::with_capacity(line.now.len());
            let before = line.before.as_deref().unwrap_or_default();
            let most = line.now.len().max(before.len()) as u64;
            if let Err(error) = Read::by_ref(&mut file).take(most).read_until(b'\n', &mut found) {
                return Ok(Err(error.to_string()));
            }
            proof.lines += 1;
            if found == line.now {
                continue;
            }
            if line.before.as_ref() != Some(&found) {
                return Ok(Err(format!(
                    "line {} of this run differs from what the store holds, or is missing",
                    proof.lines
                )));
            }
            proof.newer += 1;
        }
    }
    let mut rest = [0; 1];
    match file.read(&mut rest) {
        Ok(0) => Ok(Ok(proof)),
        Ok(_) => Ok(Err(format!(
            "something follows line {}, the last one of this run",
            proof.lines
        ))),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// A line as the store says it.
struct Line {
    now: Vec<u8>,
    /// As it was before another request took its pending tasks, or gave them back.
    before: Option<Vec<u8>>,
}

/// Some lines, and where the next ones begin.
struct Lines {
    lines: Vec<Line>,
    after: i64,
}

async fn lines(store: &dyn Results, run: &Run, cursor: &Cursor, after: i64) -> Result<Lines, RunError> {
    if cursor.feed == Feed::Events {
        let page = page(store, run.id, &run.name, cursor, after, ROWS).await?;
        let lines = page
            .lines
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| Line {
                now: line.to_vec(),
                before: None,
            });
        return Ok(Lines {
            lines: lines.collect(),
            after: page.after,
        });
    }
    let page = store
        .finished(run.id, cursor.order, cursor.since, after, ROWS)
        .await?;
    let render = |row: &Finished| {
        let mut line = Vec::new();
        result_line::write(&run.name, row, clock::rfc3339, &mut line)
            .map(|()| line)
            .map_err(|error| unwritable(&error))
    };
    let line = |mut row: Finished| {
        let now = render(&row)?;
        let before = match row.status {
            Status::Paused => Status::Continued,
            Status::Continued => Status::Paused,
            Status::Completed | Status::Partial | Status::Failed => {
                return Ok(Line { now, before: None });
            }
        };
        row.status = before;
        Ok(Line {
            now,
            before: Some(render(&row)?),
        })
    };
    Ok(Lines {
        lines: page.rows.into_iter().map(line).collect::<Result<_, RunError>>()?,
        after: page.after,
    })
}
