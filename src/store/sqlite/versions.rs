//! The versions of a request: looking them up, seeing one again, replacing one by another.

use rusqlite::params;
use serde_json::value::RawValue;

use super::fault::JobFault;
use super::ingest::Reading;
use super::{plan, redo, sessions, tasks};
use crate::domain::request::Stops;
use crate::domain::state::{QueueEvent, QueueState, Status};
use crate::store::versions::{Good, TasksNow, Version};
use crate::store::{AddOutcome, NewLine};

impl Reading<'_> {
    /// Returns all versions under that key; at most one of them is not superseded.
    pub(super) fn versions(&self, key: &str) -> Result<Vec<Version>, JobFault> {
        let mut query = self.c.prepare_cached(
            "SELECT queue_id, seq, content_digest, state, user_id, session_id, ingest, notes_digest, status,
               line_index, line, finish_no IS NOT NULL, given_tasks, other_tasks, custom_id, leased+submitted>0 FROM nova3_queues WHERE run_id=?1 AND queue_key=?2",
        )?;
        let mut rows = query.query(params![self.run.0, key])?;
        let mut versions = Vec::new();
        while let Some(row) = rows.next()? {
            let status: Option<String> = row.get(8)?;
            versions.push(Version {
                queue_id: row.get(0)?,
                seq: row.get(1)?,
                content: row.get(2)?,
                state: super::state_of(row.get_ref(3)?)?,
                user: row.get(4)?,
                session: row.get(5)?,
                ingest: row.get(6)?,
                notes: row.get(7)?,
                status: status.as_deref().and_then(Status::parse),
                line_index: row.get(9)?,
                line: row.get(10)?,
                finished: row.get(11)?,
                given_tasks: row.get(12)?,
                other_tasks: row.get(13)?,
                custom_id: row.get(14)?,
                is_held: row.get(15)?,
            });
        }
        Ok(versions)
    }

    /// Handles a known line: it is part of the input again, or still.
    pub(super) fn recognise(&mut self, good: &Good<'_>, version: &Version) -> Result<AddOutcome, JobFault> {
        self.see(good.line, Some(good), version)?;
        self.follow_tasks(good, version)?;
        if version.state == QueueState::Paused && !self.still_pauses(version, good.stops)? {
            self.go_on(version)?;
            return Ok(AddOutcome::Waiting(version.queue_id));
        }
        if version.state == QueueState::Blocked {
            self.unblock(version)?;
        }
        Ok(if version.has_result() {
            AddOutcome::Finished(version.queue_id)
        } else {
            AddOutcome::Waiting(version.queue_id)
        })
    }

    /// Gives the queue the tasks that line and flags give now, or marks it if it was begun.
    fn follow_tasks(&self, good: &Good<'_>, version: &Version) -> Result<(), JobFault> {
        let queue_id = version.queue_id;
        let others = match good.tasks_of(version) {
            TasksNow::Same => return Ok(()),
            TasksNow::SameAgain => false,
            TasksNow::Others => true,
            TasksNow::OthersUnlessBegun => tasks::is_begun(self.c, self.run.0, queue_id)?,
        };
        if others || good.given_tasks() == version.given_tasks {
            self.c
                .prepare_cached("UPDATE nova3_queues SET other_tasks=?2 WHERE queue_id=?1")?
                .execute(params![queue_id, others])?;
            return Ok(());
        }
        plan::replace(self.c, queue_id, good.given_tasks(), good.plan, self.now)
    }

    /// Whether the queue would pause behind the same task again.
    fn still_pauses(&self, version: &Version, stops: &Stops) -> Result<bool, JobFault> {
        let mut query = self.c.prepare_cached(
            "SELECT action FROM nova3_tasks t WHERE queue_id=?1 AND status='completed' AND EXISTS(
               SELECT 1 FROM nova3_tasks n, json_each(n.needs) WHERE n.queue_id=?1 AND n.status IN('pending','ready')
                 AND json_each.value=t.task_index)",
        )?;
        let actions = query.query_map([version.queue_id], |row| row.get(0))?;
        let actions = actions.collect::<Result<Vec<String>, _>>()?;
        Ok(actions.iter().any(|action| stops.after(action)))
    }

    /// Continues a paused queue at its current task. Its old result line will be replaced.
    fn go_on(&mut self, version: &Version) -> Result<(), JobFault> {
        let state = super::legal(version.state.after(QueueEvent::Retried))?;
        self.c
            .prepare_cached(
                "UPDATE nova3_queues SET state=?2, status=NULL, finish_no=NULL, round=NULL, completed_at=NULL WHERE queue_id=?1",
            )?
            .execute(params![version.queue_id, state.as_str()])?;
        self.stale = true;
        self.unblock(version)
    }

    /// Restores the old version after an edit was undone, with its answer if it has one. A paused version is paused
    /// again unless another request has continued it.
    pub(super) fn revive(&mut self, good: &Good<'_>, version: &Version) -> Result<AddOutcome, JobFault> {
        let event = match version.status {
            Some(Status::Paused | Status::Continued) if version.finished => {
                QueueEvent::Revived(if plan::is_taken(self.c, version.queue_id)? {
                    Status::Continued
                } else {
                    Status::Paused
                })
            }
            Some(status) if version.finished => QueueEvent::Revived(status),
            _ => QueueEvent::Retried,
        };
        let state = super::legal(version.state.after(event))?;
        self.set_state(version.queue_id, state)?;
        plan::take_again(self.c, version.queue_id)?;
        self.stale |= version.finished;
        let version = Version {
            state,
            ..version.clone()
        };
        self.recognise(good, &version)
    }

    fn unblock(&self, version: &Version) -> Result<(), JobFault> {
        if version.session.is_none() {
            return self.set_state(version.queue_id, QueueState::Open);
        }
        self.in_order(&version.user, version.session.as_deref())
    }

    fn set_state(&self, queue_id: i64, state: QueueState) -> Result<(), JobFault> {
        self.c
            .prepare_cached(
                "UPDATE nova3_queues SET state=?2, status=CASE WHEN ?2 IN('paused','continued') THEN ?2 ELSE status END
                 WHERE queue_id=?1",
            )?
            .execute(params![queue_id, state.as_str()])?;
        Ok(())
    }

    /// Stores the line's present place, and changes that do not affect its result.
    pub(super) fn see(
        &mut self,
        line: &NewLine,
        good: Option<&Good<'_>>,
        version: &Version,
    ) -> Result<(), JobFault> {
        let index = i64::try_from(line.index).unwrap_or(i64::MAX);
        let number = i64::try_from(line.line).unwrap_or(i64::MAX);
        let moved = index != version.line_index;
        // The result of a bad line includes its line number.
        let renumbered = good.is_none() && number != version.line;
        let came_back = version.ingest < self.complete;
        let renoted = good.filter(|good| Some(&good.notes.as_bytes()[..]) != version.notes.as_deref());
        self.stale |= version.finished && (renoted.is_some() || moved || renumbered || came_back);
        if let Some(good) = renoted {
            self.rewrite(version.queue_id, good)?;
        }
        // SQLite rewrites an index for each column that is set, even to the same value. Most lines have not moved, and
        // their statement leaves `line_index` out.
        let sql = if moved {
            "UPDATE nova3_queues SET ingest=?2, line=?3, line_index=?4 WHERE queue_id=?1"
        } else {
            "UPDATE nova3_queues SET ingest=?2, line=?3 WHERE queue_id=?1 AND line_index=?4"
        };
        self.c
            .prepare_cached(sql)?
            .execute(params![version.queue_id, self.epoch.0, number, index])?;
        Ok(())
    }

    fn rewrite(&self, queue_id: i64, good: &Good<'_>) -> Result<(), JobFault> {
        self.c
            .prepare_cached("UPDATE nova3_queues SET notes_digest=?2, priority=?3 WHERE queue_id=?1")?
            .execute(params![
                queue_id,
                &good.notes.as_bytes()[..],
                good.request.priority
            ])?;
        self.c
            .prepare_cached("UPDATE nova3_requests SET request=?2, metadata=?3 WHERE queue_id=?1")?
            .execute(params![
                queue_id,
                good.request.to_stored(),
                good.request.metadata.as_deref().map(RawValue::get)
            ])?;
        Ok(())
    }

    /// Supersedes the old version: it is not run and not shown any more, and its cost is kept.
    pub(super) fn supersede(&mut self, old: &Version) -> Result<(), JobFault> {
        let state = match redo::cancel(self.c, old.queue_id, old.state)? {
            Some(earlier) => earlier.state(),
            None => old.state,
        };
        let state = super::legal(state.after(QueueEvent::Superseded))?;
        self.stale |= old.finished && !failpoint!("changed-line-stays");
        self.c
            .prepare_cached("UPDATE nova3_queues SET state=?2 WHERE queue_id=?1")?
            .execute(params![old.queue_id, state.as_str()])?;
        if old.is_held {
            // A worker that holds one of its tasks finds the lease lost. The result of an outside job is only booked in
            // the ledger.
            self.c
                .prepare_cached(
                    "UPDATE nova3_tasks SET status='ready', attempt=attempt-1, working=0, lease_group=0, lease_owner=NULL,
                       lease_until=NULL WHERE queue_id=?1 AND status='leased'",
                )?
                .execute([old.queue_id])?;
            super::task_counts::recount(self.c, old.queue_id)?;
        }
        if let Some(session) = &old.session {
            sessions::end_lease(self.c, old.queue_id, &old.user, session)?;
        }
        plan::give_back(self.c, old.queue_id)
    }
}
