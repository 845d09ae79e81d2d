//! The `custom_id`s of bad lines in a reading. The first bad line that claims one has it, unless a request has it.

use std::collections::HashMap;

use super::fault::JobFault;
use crate::domain::request::Identity;
use crate::postgres::{Connection, Param, PgText, text};
use crate::store::{Epoch, NewLine, NewRequest, RunId, keys};

/// The names of a reading's bad lines that a chunk needs.
#[derive(Default)]
pub(super) struct Names {
    given: HashMap<String, i64>,
    /// The changes to write, column by column. The last entry of a queue counts.
    queue: Vec<i64>,
    name: Vec<Option<String>>,
}

impl Names {
    /// Looks up all names of the chunk at once. Returns the keys of requests that may have one of them.
    pub(super) async fn look_up(
        &mut self,
        c: &mut Connection,
        run: RunId,
        epoch: Epoch,
        lines: &[NewLine],
    ) -> Result<Vec<String>, JobFault> {
        let mut names = Vec::new();
        let mut wanted = Vec::new();
        for line in lines {
            match &line.content {
                NewRequest::Good { request, .. } => names.extend(request.custom_id.as_deref().map(text)),
                NewRequest::Bad { claim, .. } => {
                    if let Some(name) = &claim.custom_id {
                        names.push(text(name));
                        wanted.push(text(&keys::key(&Identity::Custom(name.clone()), 1)));
                    }
                }
            }
        }
        let rows = c
            .rows(
                "SELECT q.custom_id, q.queue_id FROM nova3_queues q WHERE q.run_id = $1 AND q.run_id > 0 AND q.custom_id = ANY ($2)
                   AND q.notes_digest IS NULL AND q.custom_id IS NOT NULL AND q.ingest = $3",
                &[run.0.sent(), names.sent(), epoch.0.sent()],
            )
            .await?;
        let given = rows.iter().map(|row| (row.get::<_, PgText>(0).0, row.get(1)));
        self.given.extend(given);
        Ok(wanted)
    }

    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// Gives the name to a request. Returns whether a bad line had it.
    pub(super) fn take(&mut self, name: Option<&str>) -> bool {
        let Some(queue) = name.and_then(|name| self.given.remove(name)) else {
            return false;
        };
        self.queue.push(queue);
        self.name.push(None);
        true
    }

    /// Sets the name of a bad line, or none. Returns whether its name changed.
    pub(super) fn give(&mut self, queue: i64, name: Option<String>, before: Option<&str>) -> bool {
        let changed = name.as_deref() != before;
        if changed {
            self.queue.push(queue);
            self.name.push(name.as_deref().map(text));
        }
        self.given.extend(name.map(|name| (name, queue)));
        changed
    }

    /// Writes the changes. The bad lines must have been written before.
    pub(super) async fn write(&self, c: &mut Connection) -> Result<(), JobFault> {
        if self.queue.is_empty() {
            return Ok(());
        }
        c.execute(
            "UPDATE nova3_queues q SET custom_id = i.name FROM (
               SELECT DISTINCT ON (n.queue) n.queue, n.name FROM unnest($1, $2) WITH ORDINALITY n(queue, name, place)
               ORDER BY n.queue, n.place DESC) i WHERE q.queue_id = i.queue",
            &[self.queue.sent(), self.name.sent()],
        )
        .await?;
        Ok(())
    }
}
