//! The proof that a result file holds each finished request's latest line exactly once.
//!
//! The lines are rendered anew from the store and compared with the file byte by byte, in the order in
//! which they were written: nothing missing, nothing twice, nothing torn, nothing else.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::RunError;
use super::pages::{beginning, page};
use crate::store::{Cursor, Feed, FileKey, Results, Run};

/// Lines compared at a time.
const ROWS: usize = 512;

/// Compares the file with the store; answers the number of lines, or the first difference.
pub async fn verify(
    store: &dyn Results,
    run: &Run,
    key: &FileKey,
    cursor: &Cursor,
) -> Result<Result<u64, String>, RunError> {
    if cursor.announced > 0 || cursor.rewrite.is_some() {
        return Ok(Err(
            "its last writing was cut short (run the same command again to mend it)".to_owned(),
        ));
    }
    if cursor.feed == Feed::Results && store.lines_epoch(run.id).await? != cursor.epoch {
        let cure = "requests were changed or put back since it was written (run the same command again)";
        return Ok(Err(cure.to_owned()));
    }
    let opened = File::open(&key.path).and_then(|mut file| {
        file.seek(SeekFrom::Start(cursor.base))?;
        Ok(BufReader::with_capacity(1 << 20, file))
    });
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut lines = 0;
    let mut after = beginning(cursor.order);
    loop {
        let page = page(store, run.id, &run.name, cursor, after, ROWS).await?;
        if page.rows == 0 {
            break;
        }
        after = page.after;
        let expected = page.lines;
        let mut found = Vec::with_capacity(expected.len());
        if let Err(error) = Read::by_ref(&mut file)
            .take(expected.len() as u64)
            .read_to_end(&mut found)
        {
            return Ok(Err(error.to_string()));
        }
        if found != expected {
            let same = found.iter().zip(&expected).take_while(|(a, b)| a == b).count();
            let line = lines + 1 + expected[..same].iter().filter(|byte| **byte == b'\n').count() as u64;
            return Ok(Err(format!(
                "line {line} of this run differs from what the store holds, or is missing"
            )));
        }
        lines += expected.iter().filter(|byte| **byte == b'\n').count() as u64;
    }
    let mut rest = [0; 1];
    match file.read(&mut rest) {
        Ok(0) => Ok(Ok(lines)),
        Ok(_) => Ok(Err(format!(
            "something follows line {lines}, the last one of this run"
        ))),
        Err(error) => Ok(Err(error.to_string())),
    }
}
