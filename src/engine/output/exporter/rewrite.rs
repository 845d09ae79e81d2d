//! Writes a result file anew: as a new file that replaces it, or in place if it cannot be replaced.

use std::time::Duration;

use tokio::time::Instant;

use super::{Exporter, blocking};
use crate::engine::RunError;
use crate::engine::output::cursors::replaced;
use crate::engine::output::pages::beginning;
use crate::store::{Cursor, Rewrite};

/// Rewriting takes at most one part in this many of the time. Lines that are replaced meanwhile share the next rewrite.
const REWRITE_SHARE: u32 = 10;

/// The least time between two rewrites in place, except at the end of the run. During each of them a reader of the file
/// finds it incomplete.
const IN_PLACE: Duration = Duration::from_secs(10);

impl Exporter {
    /// Writes the file anew with every line that is true now.
    pub(super) async fn rewrite(&mut self, epoch: i64) -> Result<(), RunError> {
        let begun = Instant::now();
        let base = self.cursor.base;
        let (file, new) = self
            .with_file(move |mut file| file.replacement(base).map(|new| (file, new)))
            .await?;
        self.file = Some(file);
        let Some(mut new) = new else {
            return self.rewrite_in_place(epoch).await;
        };
        let mut after = beginning(self.cursor.order);
        let mut read = Vec::new();
        loop {
            let page = self.page(after).await?;
            if page.rows == 0 {
                break;
            }
            after = page.after;
            read.extend(page.newest);
            let lines = page.lines;
            new = blocking(move || new.write(&lines).map(|()| new).map_err(RunError::from)).await?;
        }
        let (new, length, tail) = blocking(move || {
            let (length, tail) = new.complete()?;
            Ok((new, length, tail))
        })
        .await?;
        let rewrite = Rewrite {
            length,
            tail,
            after,
            epoch,
        };
        // The pages were read one after the other. The store may have gone back in time between two of them.
        let newest = read.iter().max_by_key(|row| row.number).copied();
        let are_there = self.ports.store.has_rows(self.run, self.cursor.feed, read);
        let are_there = are_there.await?;
        self.cursor.rewrite = Some(rewrite);
        if !are_there || !self.put(newest).await? {
            self.cursor.rewrite = None;
            return Ok(());
        }
        let (file, placed) = self.with_file(move |old| new.take_place(old)).await?;
        self.file = Some(file);
        if !placed {
            return self.rewrite_in_place(epoch).await;
        }
        self.cursor = replaced(self.cursor, base, rewrite);
        self.saved = false;
        self.save().await?;
        tracing::info!(
            file.path = self.key.path,
            file.bytes = length,
            "the result file was written anew"
        );
        self.next_rewrite = Instant::now() + begun.elapsed().max(Duration::from_millis(100)) * REWRITE_SHARE;
        Ok(())
    }

    /// Empties a file that cannot be replaced; the next steps write every line.
    ///
    /// Before that the cursor announces the old content as the replacement of an empty file. After a kill the file is
    /// either empty or unchanged, and the cursor describes both.
    async fn rewrite_in_place(&mut self, epoch: i64) -> Result<(), RunError> {
        let base = self.cursor.base;
        let (file, tail) = self
            .with_file(move |mut file| {
                file.check()?;
                file.tail_at(base).map(|tail| (file, tail))
            })
            .await?;
        let old = Rewrite {
            length: file.length(),
            tail: file.tail(),
            after: self.cursor.after,
            epoch: self.cursor.epoch,
        };
        self.file = Some(file);
        let before = self.cursor;
        self.cursor = replaced(
            before,
            base,
            Rewrite {
                length: base,
                tail,
                after: beginning(self.cursor.order),
                epoch,
            },
        );
        self.cursor.rewrite = Some(old);
        if !self.put(None).await? {
            self.cursor = Cursor { epoch: -1, ..before };
            return Ok(());
        }
        let file = self
            .with_file(move |mut file| file.empty(base).map(|()| file))
            .await?;
        self.file = Some(file);
        self.cursor.rewrite = None;
        self.saved = false;
        tracing::info!(
            file.path = self.key.path,
            "the result file is written anew where it stands"
        );
        self.next_rewrite = Instant::now() + IN_PLACE;
        Ok(())
    }
}
