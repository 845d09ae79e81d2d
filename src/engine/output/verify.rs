//! Verifies that a result file holds the latest line of each finished request exactly once.
//!
//! The lines are rendered from the store and compared with the file byte by byte, in the order in which they were
//! written. A missing, repeated, torn or foreign line is reported.
//!
//! While a process writes the file, only the settled bytes are compared. The cursor may change during the comparison. A
//! difference then counts only if a new comparison finds it too.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::clock;
use crate::domain::outcome::Finished;
use crate::domain::result_line;
use crate::domain::state::Status;
use crate::engine::RunError;
use crate::engine::output::pages::{beginning, page, unwritable};
use crate::store::{Cursor, Feed, FileKey, Run, Store};

/// Lines compared at a time.
const ROWS: usize = 512;

/// How often the comparison is repeated while another process changes the file.
const LOOKS: u32 = 20;

/// The outcome of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileProof {
    /// The file holds every line, and no others.
    Proven(FileContent),
    /// A process is writing the file, and its settled lines are right.
    BeingWritten {
        /// The process id on this host.
        process: u32,
        /// How many lines the file holds so far; `None` while lines are being replaced.
        lines: Option<u64>,
    },
    /// The file differs from the store in this way.
    Wrong(String),
}

/// The content of a proven file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileContent {
    /// The number of lines.
    pub lines: u64,
    /// How many of these lines changed between paused and continued since they were written. The next invocation of the
    /// run writes them anew.
    pub newer: u64,
}

/// Compares the file with the store.
pub async fn verify(store: &dyn Store, run: &Run, key: &FileKey) -> Result<FileProof, RunError> {
    let mut looks = 0;
    loop {
        looks += 1;
        let Some(cursor) = store.cursor(run.id, key).await? else {
            return Ok(FileProof::Wrong("the store knows nothing of it".to_owned()));
        };
        let writer = cursor.writer.filter(|process| is_alive(*process));
        let proof = match writer {
            Some(process) => so_far(store, run, key, &cursor, process).await?,
            None => whole(store, run, key, &cursor).await?,
        };
        let FileProof::Wrong(_) = &proof else {
            return Ok(proof);
        };
        let now = store.cursor(run.id, key).await?;
        let same = now.map(|cursor| cursor.stamp) == Some(cursor.stamp);
        let stays = same && (writer.is_none() || !is_stale(store, run, &cursor).await?);
        if stays || looks == LOOKS {
            return Ok(proof);
        }
    }
}

fn is_alive(process: u32) -> bool {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| matches!(test_kill_process(pid), Ok(()) | Err(Errno::PERM)))
}

async fn so_far(
    store: &dyn Store,
    run: &Run,
    key: &FileKey,
    cursor: &Cursor,
    process: u32,
) -> Result<FileProof, RunError> {
    let replaced = FileProof::BeingWritten { process, lines: None };
    if cursor.rewrite.is_some() {
        return Ok(replaced);
    }
    Ok(
        match compare(store, run, key, cursor, Some(cursor.settled)).await? {
            Ok(held) => FileProof::BeingWritten {
                process,
                lines: Some(held.lines),
            },
            Err(_) if is_stale(store, run, cursor).await? => replaced,
            Err(problem) => FileProof::Wrong(problem),
        },
    )
}

async fn whole(store: &dyn Store, run: &Run, key: &FileKey, cursor: &Cursor) -> Result<FileProof, RunError> {
    if cursor.announced > 0 || cursor.rewrite.is_some() {
        let cut = "its last writing was cut short (run the same command again to mend it)";
        return Ok(FileProof::Wrong(cut.to_owned()));
    }
    let stale = is_stale(store, run, cursor).await?;
    Ok(match compare(store, run, key, cursor, None).await? {
        Ok(held) => FileProof::Proven(held),
        Err(_) if stale => FileProof::Wrong(
            "requests were changed or put back since it was written (run the same command again)".to_owned(),
        ),
        Err(problem) => FileProof::Wrong(problem),
    })
}

/// Whether written lines have changed in the store since the file was written.
async fn is_stale(store: &dyn Store, run: &Run, cursor: &Cursor) -> Result<bool, RunError> {
    Ok(cursor.feed == Feed::Results && store.lines_epoch(run.id).await? != cursor.epoch)
}

/// Compares the first `settled` bytes of the run's lines with the store. `None`: compares all lines, and nothing may
/// follow them.
async fn compare(
    store: &dyn Store,
    run: &Run,
    key: &FileKey,
    cursor: &Cursor,
    settled: Option<u64>,
) -> Result<Result<FileContent, String>, RunError> {
    let opened = File::open(&key.path).and_then(|mut file| {
        file.seek(SeekFrom::Start(cursor.base))?;
        Ok(BufReader::with_capacity(1 << 20, file))
    });
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut proof = FileContent { lines: 0, newer: 0 };
    let mut left = settled.unwrap_or(u64::MAX);
    let mut after = beginning(cursor.order);
    while left > 0 {
        let page = lines(store, run, cursor, after).await?;
        if page.lines.is_empty() {
            break;
        }
        after = page.after;
        for line in page.lines {
            if left == 0 {
                break;
            }
            let mut found = Vec::with_capacity(line.now.len());
            let before = line.before.as_deref().unwrap_or_default();
            let most = line.now.len().max(before.len()) as u64;
            if let Err(error) = Read::by_ref(&mut file).take(most).read_until(b'\n', &mut found) {
                return Ok(Err(error.to_string()));
            }
            left = left.saturating_sub(found.len() as u64);
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
    if settled.is_some() {
        let more = format!(
            "more was written than the {} lines that the store holds",
            proof.lines
        );
        return Ok(if left == 0 { Ok(proof) } else { Err(more) });
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

/// A line as the store renders it.
struct RenderedLine {
    now: Vec<u8>,
    /// The line before another request took over its pending tasks, or gave them back.
    before: Option<Vec<u8>>,
}

/// A page of lines, and the position of the next page.
struct LinePage {
    lines: Vec<RenderedLine>,
    after: i64,
}

async fn lines(store: &dyn Store, run: &Run, cursor: &Cursor, after: i64) -> Result<LinePage, RunError> {
    if cursor.feed == Feed::Events {
        let page = page(store, run.id, &run.name, cursor, after, ROWS).await?;
        let lines = page
            .lines
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| RenderedLine {
                now: line.to_vec(),
                before: None,
            });
        return Ok(LinePage {
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
                return Ok(RenderedLine { now, before: None });
            }
        };
        row.status = before;
        Ok(RenderedLine {
            now,
            before: Some(render(&row)?),
        })
    };
    Ok(LinePage {
        lines: page.rows.into_iter().map(line).collect::<Result<_, RunError>>()?,
        after: page.after,
    })
}
