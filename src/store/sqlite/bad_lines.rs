//! Bad lines: input lines that are no valid requests. They are stored as failed and found again by their bytes.

use rusqlite::params;

use super::events::{self, Settling};
use super::fault::JobFault;
use super::ingest::Reading;
use super::{ledger, tasks};
use crate::domain::request::{Claim, Identity};
use crate::domain::state::Status;
use crate::store::keys;
use crate::store::versions::{Bad, Version};

impl Reading<'_> {
    /// Stores the line, or marks it as seen again.
    pub(super) fn bad(&mut self, bad: &Bad<'_>) -> Result<i64, JobFault> {
        let line = bad.line;
        let name = self.free_name(bad.claim)?;
        let key = self.free_key(&keys::bad_stem(bad.digest))?;
        if let Some(version) = self.versions(&key)?.into_iter().next() {
            self.see(line, None, &version)?;
            self.rename(&version, name)?;
            return Ok(version.queue_id);
        }
        let given = ledger::next(self.c, self.run.0)?;
        self.c
            .prepare_cached(
                "INSERT INTO nova3_queues(run_id, seq, ingest, line_index, line, queue_key, content_digest, user_id,
                   state, status, task_count, finish_no, error, error_class, created_at, last_accessed, completed_at,
                   custom_id)
                 VALUES(?1,?2,?3,?4,?5,?6,?7,'default','failed','failed',0,?8,?9,?10,?11,?11,?11,?12)",
            )?
            .execute(params![
                self.run.0,
                self.next_seq,
                self.epoch.0,
                line.index,
                line.line,
                key,
                &bad.digest.as_bytes()[..],
                given.finish_no,
                serde_json::to_string(bad.failure)?,
                bad.failure.class.as_str(),
                self.now,
                name,
            ])?;
        self.next_seq += 1;
        let queue_id = self.c.last_insert_rowid();
        if bad.claim.is_batch {
            tasks::write_failed_completion(self.c, queue_id, self.now)?;
        }
        let settling = Settling {
            queue_id,
            task: None,
            planned: false,
            steps: None,
            failure: Some(bad.failure),
            status: Some(Status::Failed),
            now: self.now,
        };
        events::note(self.c, self.run.0, given.event_no, &settling)?;
        Ok(queue_id)
    }

    /// Returns the `custom_id` of a bad line, unless another line of this reading has it.
    fn free_name<'n>(&self, claim: &'n Claim) -> Result<Option<&'n str>, JobFault> {
        let Some(name) = claim.custom_id.as_deref() else {
            return Ok(None);
        };
        let key = keys::key(&Identity::Custom(name.to_owned()), 1);
        let of_request = self
            .versions(&key)?
            .iter()
            .any(|known| known.ingest == self.epoch.0);
        let of_bad_line: bool = self
            .c
            .prepare_cached(
                "SELECT EXISTS(SELECT 1 FROM nova3_queues WHERE run_id=?1 AND custom_id=?2 AND ingest=?3
                   AND notes_digest IS NULL AND custom_id IS NOT NULL)",
            )?
            .query_row(params![self.run.0, name, self.epoch.0], |row| row.get(0))?;
        Ok(Some(name).filter(|_| !of_request && !of_bad_line))
    }

    /// Takes the `custom_id` of a request away from a bad line.
    pub(super) fn take_name(&mut self, name: Option<&str>) -> Result<(), JobFault> {
        let Some(name) = name else { return Ok(()) };
        let taken = self
            .c
            .prepare_cached(
                "UPDATE nova3_queues SET custom_id=NULL WHERE run_id=?1 AND custom_id=?2 AND ingest=?3
                   AND notes_digest IS NULL AND custom_id IS NOT NULL",
            )?
            .execute(params![self.run.0, name, self.epoch.0])?;
        self.stale |= taken > 0;
        Ok(())
    }

    /// Sets the `custom_id` in the result of a known bad line.
    fn rename(&mut self, version: &Version, name: Option<&str>) -> Result<(), JobFault> {
        if version.custom_id.as_deref() != name {
            self.c
                .prepare_cached("UPDATE nova3_queues SET custom_id=?2 WHERE queue_id=?1")?
                .execute(params![version.queue_id, name])?;
            self.stale = true;
        }
        Ok(())
    }
}
