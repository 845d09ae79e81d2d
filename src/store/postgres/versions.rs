//! The versions of a request: looking them up, seeing one again, replacing one by another.

use serde_json::value::RawValue;
use tokio_postgres::Row;

use super::fault::JobFault;
use super::ingest::Reading;
use super::rows::int;
use crate::domain::ids::SessionId;
use crate::domain::request::Stops;
use crate::domain::state::{QueueEvent, QueueState, Status};
use crate::postgres::{Connection, Param, PgText};
use crate::store::versions::{Good, TasksNow, Version};
use crate::store::{AddOutcome, Epoch, NewLine, RunId};

impl Version {
    /// The version of a row that is about to be written.
    pub(super) fn new(queue_id: i64, seq: i64, ingest: i64, good: &Good<'_>) -> Self {
        Self {
            queue_id,
            seq,
            content: good.content.as_bytes().to_vec(),
            state: QueueState::Blocked,
            user: good.request.user.as_str().to_owned(),
            session: good
                .request
                .session
                .as_ref()
                .map(|session| SessionId::as_str(session).to_owned()),
            ingest,
            notes: Some(good.notes.as_bytes().to_vec()),
            status: None,
            line_index: int(good.line.index),
            line: int(good.line.line),
            finished: false,
            is_held: false,
            given_tasks: good.given_tasks(),
            other_tasks: false,
            custom_id: good.request.custom_id.clone(),
        }
    }
}

/// Returns all versions under these keys.
pub(super) async fn of_keys(
    c: &mut Connection,
    run: RunId,
    keys: &[String],
) -> Result<Vec<(String, Version)>, JobFault> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows = c
        .rows(
            // `OFFSET 0` makes the planner look up each row separately, even when it expects few rows.
            "SELECT d.queue_key, q.queue_id, q.seq, d.content_digest, q.state, q.user_id, q.session_id, q.ingest,
               q.notes_digest, q.status, d.line_index, d.line, q.finish_no IS NOT NULL,
               q.given_tasks, q.other_tasks, q.custom_id, q.leased + q.submitted > 0
             FROM (SELECT DISTINCT i.key FROM unnest($2) i(key)) i
             CROSS JOIN LATERAL (
               SELECT d.* FROM nova3_requests d WHERE d.run_id = $1 AND d.queue_key = i.key OFFSET 0) d
             CROSS JOIN LATERAL (
               SELECT q.* FROM nova3_queues q WHERE q.queue_id = d.queue_id OFFSET 0) q",
            &[run.0.sent(), keys.to_vec().sent()],
        )
        .await?;
    rows.iter().map(|row| Ok((row.get(0), read(row)?))).collect()
}

fn read(row: &Row) -> Result<Version, JobFault> {
    let status: Option<&str> = row.get(9);
    Ok(Version {
        queue_id: row.get(1),
        seq: row.get(2),
        content: row.get(3),
        state: state(row.get(4))?,
        user: row.get(5),
        session: row.get(6),
        ingest: row.get(7),
        notes: row.get(8),
        status: status.and_then(Status::parse),
        line_index: row.get(10),
        line: row.get(11),
        finished: row.get(12),
        given_tasks: row.get(13),
        other_tasks: row.get(14),
        custom_id: row.get::<_, Option<PgText>>(15).map(|id| id.0),
        is_held: row.get(16),
    })
}

fn state(name: &str) -> Result<QueueState, JobFault> {
    QueueState::parse(name).ok_or_else(|| JobFault::Row(format!("a queue is `{name}`")))
}

/// Lines that were seen again, column by column.
#[derive(Default)]
pub(super) struct SeenLines {
    queue: Vec<i64>,
    line: Vec<i64>,
    index: Vec<i64>,
    /// Whether the result line changed.
    changed: Vec<bool>,
}

impl SeenLines {
    /// Writes them. Returns whether a line that may be in a result file is no longer true.
    pub(super) async fn write(&self, c: &mut Connection, epoch: Epoch) -> Result<bool, JobFault> {
        if self.queue.is_empty() {
            return Ok(false);
        }
        // The rows are locked in the common order. The query also finds queues that finished since the look-up.
        let locked = c
            .rows(
                "SELECT q.finished AND i.changed FROM (
                   SELECT i.* FROM unnest($1, $2) i(queue, changed) ORDER BY i.queue) i
                 CROSS JOIN LATERAL (SELECT q.finish_no IS NOT NULL AS finished FROM nova3_queues q
                   WHERE q.queue_id = i.queue FOR UPDATE) q",
                &[self.queue.sent(), self.changed.sent()],
            )
            .await?;
        c.execute(
            "UPDATE nova3_queues q SET ingest = greatest(q.ingest, $1) FROM unnest($2) i(queue)
             WHERE q.queue_id = i.queue",
            &[epoch.0.sent(), self.queue.sent()],
        )
        .await?;
        c.execute(
            "UPDATE nova3_requests d SET line = i.line, line_index = i.index FROM unnest($1, $2, $3) i(queue, line, index)
             WHERE d.queue_id = i.queue AND (d.line, d.line_index) IS DISTINCT FROM (i.line, i.index)",
            &[
                self.queue.sent(),
                self.line.sent(),
                self.index.sent(),
            ],
        )
        .await?;
        Ok(locked.iter().any(|row| row.get(0)))
    }
}

impl Reading<'_> {
    /// Handles a known line: it is part of the input again, or still.
    pub(super) async fn recognise(
        &mut self,
        good: &Good<'_>,
        version: &Version,
    ) -> Result<AddOutcome, JobFault> {
        self.see(good.line, Some(good), version).await?;
        match good.tasks_of(version) {
            TasksNow::Same => {}
            TasksNow::SameAgain => self.replaced.mark(version.queue_id, false),
            TasksNow::Others => self.replaced.mark(version.queue_id, true),
            TasksNow::OthersUnlessBegun => self.replaced.add(version.queue_id, good),
        }
        if version.state == QueueState::Paused
            && !self.still_pauses(version, good.stops).await?
            && self.go_on(version).await?
        {
            return Ok(AddOutcome::Waiting(version.queue_id));
        }
        if version.state == QueueState::Blocked {
            self.unblock(version).await?;
        }
        Ok(if version.has_result() {
            AddOutcome::Finished(version.queue_id)
        } else {
            AddOutcome::Waiting(version.queue_id)
        })
    }

    /// Whether the queue would pause behind the same task again.
    async fn still_pauses(&mut self, version: &Version, stops: &Stops) -> Result<bool, JobFault> {
        let actions = self
            .c
            .rows(
                "SELECT t.action FROM nova3_tasks t WHERE t.queue_id = $1 AND t.status = 'completed' AND EXISTS (
                   SELECT 1 FROM nova3_tasks n WHERE n.queue_id = $1 AND n.status IN ('pending','ready')
                     AND n.needs @> ARRAY[t.task_index])",
                &[version.queue_id.sent()],
            )
            .await?;
        Ok(actions.iter().any(|row| stops.after(row.get(0))))
    }

    /// Continues a paused queue at its current task; its old result line will be replaced. Returns `false` if another
    /// request has continued the queue in the meantime.
    async fn go_on(&mut self, version: &Version) -> Result<bool, JobFault> {
        let state = super::legal(version.state.after(QueueEvent::Retried))?;
        let queue = version.queue_id.sent();
        let gone_on = self
            .c
            .execute(
                "UPDATE nova3_queues SET state = $2, status = NULL, finish_no = NULL, completed_at = NULL
                 WHERE queue_id = $1 AND state = 'paused'",
                &[queue.clone(), state.as_str().sent()],
            )
            .await?;
        if gone_on == 0 {
            return Ok(false);
        }
        self.c
            .execute("DELETE FROM nova3_rounds WHERE queue_id = $1", &[queue])
            .await?;
        self.stale = true;
        self.unblock(version).await?;
        Ok(true)
    }

    /// Restores the old version after an edit was undone, with its answer if it has one. A paused version is paused
    /// again unless another request has continued it.
    pub(super) async fn revive(
        &mut self,
        good: &Good<'_>,
        version: &Version,
    ) -> Result<AddOutcome, JobFault> {
        let event = match version.status {
            Some(Status::Paused | Status::Continued) if version.finished => {
                QueueEvent::Revived(if self.is_taken(version).await? {
                    Status::Continued
                } else {
                    Status::Paused
                })
            }
            Some(status) if version.finished => QueueEvent::Revived(status),
            _ => QueueEvent::Retried,
        };
        let state = super::legal(version.state.after(event))?;
        self.set_state(version.queue_id, state).await?;
        self.c
            .rows(
                "SELECT nova3_take_again($1, $2)",
                &[self.run.0.sent(), version.queue_id.sent()],
            )
            .await?;
        self.stale |= version.finished;
        let version = Version {
            state,
            ..version.clone()
        };
        self.recognise(good, &version).await
    }

    async fn is_taken(&mut self, version: &Version) -> Result<bool, JobFault> {
        let row = self
            .c
            .row("SELECT nova3_is_taken($1, NULL)", &[version.queue_id.sent()])
            .await?;
        Ok(row.get(0))
    }

    async fn unblock(&mut self, version: &Version) -> Result<(), JobFault> {
        if version.session.is_none() {
            return self.set_state(version.queue_id, QueueState::Open).await;
        }
        // The end of the chunk promotes the first queue of each session.
        Ok(())
    }

    async fn set_state(&mut self, queue: i64, state: QueueState) -> Result<(), JobFault> {
        self.c
            .execute(
                "UPDATE nova3_queues SET state = $2, status = CASE WHEN $2 IN ('paused','continued') THEN $2 ELSE status END
                 WHERE queue_id = $1",
                &[queue.sent(), state.as_str().sent()],
            )
            .await?;
        Ok(())
    }

    /// Stores the line's present place, and changes that do not affect its result.
    pub(super) async fn see(
        &mut self,
        line: &NewLine,
        good: Option<&Good<'_>>,
        version: &Version,
    ) -> Result<(), JobFault> {
        let (index, number) = (int(line.index), int(line.line));
        let moved = index != version.line_index;
        // The result of a bad line includes its line number.
        let renumbered = good.is_none() && number != version.line;
        let came_back = version.ingest < self.complete;
        let renoted = good.filter(|good| Some(&good.notes.as_bytes()[..]) != version.notes.as_deref());
        let changed = renoted.is_some() || moved || renumbered || came_back;
        if let Some(good) = renoted {
            self.rewrite(version.queue_id, good).await?;
        }
        self.seen.queue.push(version.queue_id);
        self.seen.line.push(number);
        self.seen.index.push(index);
        self.seen.changed.push(changed);
        Ok(())
    }

    async fn rewrite(&mut self, queue: i64, good: &Good<'_>) -> Result<(), JobFault> {
        let queue = queue.sent();
        self.c
            .execute(
                "UPDATE nova3_queues SET notes_digest = $2, priority = $3 WHERE queue_id = $1",
                &[
                    queue.clone(),
                    good.notes.as_bytes().to_vec().sent(),
                    good.request.priority.sent(),
                ],
            )
            .await?;
        self.c
            .execute(
                "UPDATE nova3_requests SET request = $2, metadata = $3 WHERE queue_id = $1",
                &[
                    queue,
                    good.request.to_stored().sent(),
                    good.request.metadata.as_deref().map(RawValue::get).sent(),
                ],
            )
            .await?;
        Ok(())
    }

    /// Supersedes the old version: it is not run and not shown any more, and its cost is kept.
    pub(super) async fn supersede(&mut self, old: &Version) -> Result<(), JobFault> {
        let queue = old.queue_id.sent();
        self.c
            .rows("SELECT nova3_cancel_redo($1)", std::slice::from_ref(&queue))
            .await?;
        let out = self
            .c
            .row(
                "UPDATE nova3_queues SET state = 'superseded' WHERE queue_id = $1 RETURNING finish_no IS NOT NULL",
                std::slice::from_ref(&queue),
            )
            .await?;
        // It may have finished since the look-up.
        self.stale |= out.get::<_, bool>(0);
        let params = [queue.clone()];
        self.c.rows("SELECT nova3_void($1)", &params).await?;
        let params = [self.run.0.sent(), queue];
        self.c.rows("SELECT nova3_give_back($1, $2)", &params).await?;
        Ok(())
    }
}
