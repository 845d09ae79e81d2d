//! New rows on their way into the database, column by column, as `unnest` takes them.

use serde_json::value::RawValue;

use super::fault::JobFault;
use crate::domain::ids::SessionId;
use crate::domain::task::TaskNo;
use crate::postgres::{Connection, Param, text};
use crate::store::keys::COMPLETION;
use crate::store::versions::{Bad, Good};
use crate::store::{Epoch, Planned, RunId};

/// New requests, column by column.
#[derive(Default)]
pub(super) struct Rows {
    queue: Vec<i64>,
    seq: Vec<i64>,
    index: Vec<i64>,
    line: Vec<i64>,
    key: Vec<String>,
    content: Vec<Vec<u8>>,
    notes: Vec<Vec<u8>>,
    custom_id: Vec<Option<String>>,
    user: Vec<String>,
    session: Vec<Option<String>>,
    priority: Vec<i64>,
    task_count: Vec<Option<i32>>,
    given_tasks: Vec<Option<i64>>,
    ready: Vec<i32>,
    request: Vec<String>,
    metadata: Vec<Option<String>>,
    tasks: TaskColumns,
}

/// The tasks of new requests.
#[derive(Default)]
struct TaskColumns {
    /// Queues that need planning.
    unplanned: Vec<i64>,
    queue: Vec<i64>,
    index: Vec<i32>,
    task_id: Vec<String>,
    action: Vec<String>,
    description: Vec<String>,
    input: Vec<String>,
    /// The numbers of the tasks that each needs, as the literal of an array.
    needs: Vec<String>,
}

impl Rows {
    pub(super) fn add(&mut self, queue: i64, seq: i64, good: &Good<'_>, key: &str) {
        let request = good.request;
        self.queue.push(queue);
        self.seq.push(seq);
        self.index.push(int(good.line.index));
        self.line.push(int(good.line.line));
        self.key.push(key.to_owned());
        self.content.push(good.content.as_bytes().to_vec());
        self.notes.push(good.notes.as_bytes().to_vec());
        self.custom_id.push(request.custom_id.as_deref().map(text));
        self.user.push(request.user.as_str().to_owned());
        let session = request.session.as_ref().map(SessionId::as_str);
        self.session.push(session.map(str::to_owned));
        self.priority.push(i64::from(request.priority));
        let count = Some(good.plan.len()).filter(|tasks| *tasks > 0);
        self.task_count.push(count.map(small));
        self.request.push(request.to_stored());
        let metadata = request.metadata.as_deref().map(RawValue::get);
        self.metadata.push(metadata.map(str::to_owned));
        self.given_tasks.push(good.given_tasks());
        self.ready.push(small(good.ready_at_first()));
        self.tasks.add(queue, good.plan);
    }

    pub(super) async fn write(&self, c: &mut Connection, run: RunId, epoch: Epoch) -> Result<(), JobFault> {
        if self.queue.is_empty() {
            return Ok(());
        }
        // Queues of a session begin as `blocked`. The session's order then opens one of them.
        c.execute(
            "INSERT INTO nova3_queues (run_id, queue_id, seq, ingest, notes_digest, custom_id, user_id, session_id, state,
               priority, task_count, given_tasks, created_at, last_accessed, ready)
             SELECT $1, i.queue, i.seq, $2, i.notes, i.custom_id, i.owner, i.session,
               CASE WHEN i.session IS NULL THEN 'open' ELSE 'blocked' END, i.priority, i.tasks, i.given, now.now, now.now, i.ready
             FROM unnest($3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                 i(queue, seq, notes, custom_id, owner, session, priority, tasks, given, ready),
               (SELECT nova3_now() AS now) now",
            &[
                run.0.sent(),
                epoch.0.sent(),
                self.queue.sent(),
                self.seq.sent(),
                self.notes.sent(),
                self.custom_id.sent(),
                self.user.sent(),
                self.session.sent(),
                self.priority.sent(),
                self.task_count.sent(),
                self.given_tasks.sent(),
                self.ready.sent(),
            ],
        )
        .await?;
        c.execute(
            "INSERT INTO nova3_requests (run_id, queue_id, queue_key, content_digest, line_index, line, request, metadata)
             SELECT $1, i.* FROM unnest($2, $3, $4, $5, $6, $7, $8) i",
            &[
                run.0.sent(),
                self.queue.sent(),
                self.key.sent(),
                self.content.sent(),
                self.index.sent(),
                self.line.sent(),
                self.request.sent(),
                self.metadata.sent(),
            ],
        )
        .await?;
        self.tasks.write(c, run).await
    }
}

/// Known queues whose line or flags give other tasks than before, column by column.
#[derive(Default)]
pub(super) struct Replaced {
    queue: Vec<i64>,
    given: Vec<Option<i64>>,
    tasks: TaskColumns,
    /// Queues of which only the mark `other_tasks` changes.
    marked: Vec<i64>,
    others: Vec<bool>,
}

impl Replaced {
    pub(super) fn add(&mut self, queue: i64, good: &Good<'_>) {
        self.queue.push(queue);
        self.given.push(good.given_tasks());
        self.tasks.add(queue, good.plan);
    }

    /// Notes whether line and flags now give other tasks than those that the queue has and keeps.
    pub(super) fn mark(&mut self, queue: i64, others: bool) {
        self.marked.push(queue);
        self.others.push(others);
    }

    pub(super) async fn write(&self, c: &mut Connection, run: RunId) -> Result<(), JobFault> {
        if !self.marked.is_empty() {
            c.execute(
                "UPDATE nova3_queues q SET other_tasks = i.others FROM unnest($1, $2) i(queue, others)
                 WHERE q.queue_id = i.queue",
                &[self.marked.sent(), self.others.sent()],
            )
            .await?;
        }
        if self.queue.is_empty() {
            return Ok(());
        }
        c.rows(
            "SELECT nova3_replace_tasks($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &[
                run.0.sent(),
                self.queue.sent(),
                self.given.sent(),
                self.tasks.queue.sent(),
                self.tasks.index.sent(),
                self.tasks.task_id.sent(),
                self.tasks.action.sent(),
                self.tasks.description.sent(),
                self.tasks.input.sent(),
                self.tasks.needs.sent(),
            ],
        )
        .await?;
        Ok(())
    }
}

impl TaskColumns {
    fn add(&mut self, queue: i64, steps: &[Planned]) {
        self.unplanned.extend(steps.is_empty().then_some(queue));
        for (index, step) in (0..).zip(steps) {
            let needs = step.needed(usize::try_from(index).unwrap_or(0));
            let needs: Vec<String> = needs.iter().map(i32::to_string).collect();
            self.needs.push(format!("{{{}}}", needs.join(",")));
            self.queue.push(queue);
            self.index.push(index);
            self.task_id.push(TaskNo(index).to_string());
            self.action.push(text(&step.action));
            self.description.push(text(&step.description));
            self.input.push(text(&step.input));
        }
    }

    async fn write(&self, c: &mut Connection, run: RunId) -> Result<(), JobFault> {
        c.rows(
            "SELECT nova3_add_tasks($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            &[
                run.0.sent(),
                self.unplanned.sent(),
                self.queue.sent(),
                self.index.sent(),
                self.task_id.sent(),
                self.action.sent(),
                self.description.sent(),
                self.input.sent(),
                self.needs.sent(),
            ],
        )
        .await?;
        Ok(())
    }
}

/// New bad lines, column by column. They are finished when they are stored.
#[derive(Default)]
pub(super) struct BadRows {
    queue: Vec<i64>,
    seq: Vec<i64>,
    index: Vec<i64>,
    line: Vec<i64>,
    key: Vec<String>,
    digest: Vec<Vec<u8>>,
    error: Vec<String>,
    class: Vec<&'static str>,
    /// The Batch lines among them.
    batch: Vec<i64>,
}

impl BadRows {
    pub(super) fn add(&mut self, queue: i64, seq: i64, key: String, bad: &Bad<'_>) -> Result<(), JobFault> {
        let (line, failure) = (bad.line, bad.failure);
        self.queue.push(queue);
        self.batch.extend(bad.claim.is_batch.then_some(queue));
        self.seq.push(seq);
        self.index.push(int(line.index));
        self.line.push(int(line.line));
        self.key.push(key);
        self.digest.push(bad.digest.as_bytes().to_vec());
        self.error.push(serde_json::to_string(failure)?);
        self.class.push(failure.class.as_str());
        Ok(())
    }

    pub(super) async fn write(&self, c: &mut Connection, run: RunId, epoch: Epoch) -> Result<(), JobFault> {
        if self.queue.is_empty() {
            return Ok(());
        }
        let given = c
            .row(
                "UPDATE nova3_tallies SET next_finish_no = next_finish_no + $2, next_event_no = next_event_no + $2
                 WHERE run_id = $1 RETURNING next_finish_no - $2, next_event_no - $2",
                &[run.0.sent(), int(self.queue.len()).sent()],
            )
            .await?;
        let (finished, told): (i64, i64) = (given.get(0), given.get(1));
        c.execute(
            "WITH said AS (
               INSERT INTO nova3_requests (run_id, queue_id, queue_key, content_digest, line_index, line)
               SELECT $1, i.* FROM unnest($3, $7, $8, $5, $6) i),
             bad AS (
               INSERT INTO nova3_queues (run_id, queue_id, seq, ingest, user_id, state, status, task_count, finish_no, error,
                 error_class, created_at, last_accessed, completed_at)
               SELECT $1, i.queue, i.seq, $2, 'default', 'failed', 'failed', 0, $11 + i.place, i.error, i.class, now.now,
                 now.now, now.now
               FROM unnest($3, $4, $9, $10) WITH ORDINALITY i(queue, seq, error, class, place),
                 (SELECT nova3_now() AS now) now
               RETURNING queue_id, finish_no, error, created_at)
             INSERT INTO nova3_events (run_id, event_no, queue_id, task_index, planned, body, status, created_at)
             SELECT $1, $12 + bad.finish_no - $11, bad.queue_id, NULL, false, bad.error, 'failed', bad.created_at FROM bad",
            &[
                run.0.sent(),
                epoch.0.sent(),
                self.queue.sent(),
                self.seq.sent(),
                self.index.sent(),
                self.line.sent(),
                self.key.sent(),
                self.digest.sent(),
                self.error.sent(),
                self.class.sent(),
                finished.sent(),
                told.sent(),
            ],
        )
        .await?;
        if self.batch.is_empty() {
            return Ok(());
        }
        // A bad Batch line gets one task, so that its result has the form of a Batch line.
        c.execute(
            "INSERT INTO nova3_tasks (run_id, queue_id, task_index, task_id, action, input, status, created_at)
             SELECT $1, i.queue, 0, 'task001', $3, '', 'failed', nova3_now() FROM unnest($2) i(queue)",
            &[run.0.sent(), self.batch.sent(), COMPLETION.sent()],
        )
        .await?;
        Ok(())
    }
}

/// Whether the number of rows of a run is several times as large as at the last count.
pub(super) fn has_grown(before: i64, now: i64) -> bool {
    let step = |rows: i64| rows.max(1).ilog2() / 2;
    now >= 256 && step(before) != step(now)
}

/// Converts a count to the type of the columns.
pub(super) fn int(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// Converts an index in an array or a queue.
pub(super) fn small(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}
