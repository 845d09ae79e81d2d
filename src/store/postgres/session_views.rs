//! Views of a session, and clearing it.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tokio_postgres::Row;

use super::fault::JobFault;
use super::rows::int;
use super::{PostgresStore, context};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::request::{Digest, Identity};
use crate::domain::state::TaskStatus;
use crate::domain::task::TaskNo;
use crate::postgres::{Connection, Param, PgText, text};
use crate::store::rounds::{self, RoundRow};
use crate::store::{
    Cleared, KnownQueue, Material, PendingTask, RunId, SessionCounts, SessionEntry, SessionRecord, Sessions,
    StoreError, StoredItem, Wanted, keys,
};

#[async_trait]
impl Sessions for PostgresStore {
    async fn context(&self, wanted: &Wanted) -> Result<Material, StoreError> {
        let (material, rows) = job!(self, |c| context::context(c, wanted))?;
        Ok(rounds::with_rounds(material, rows))
    }

    async fn list_sessions(&self, limit: usize) -> Result<Vec<SessionEntry>, StoreError> {
        job!(self, |c| list(c, limit))
    }

    async fn session(&self, user: &UserId, session: &SessionId) -> Result<Option<SessionRecord>, StoreError> {
        job!(self, |c| one(c, user.as_str(), session.as_str()))
    }

    async fn clear_session(&self, user: &UserId, session: &SessionId) -> Result<Cleared, StoreError> {
        let told = &Mutex::new(Cleared::default());
        job!(self, |c| clear(c, user.as_str(), session.as_str(), told))
    }

    async fn sessions(&self, run: RunId, limit: usize) -> Result<Vec<SessionCounts>, StoreError> {
        job!(self, |c| super::runs::sessions(c, run, limit))
    }

    async fn planned(
        &self,
        run: RunId,
        identity: &Identity,
        occurrence: u64,
        content: Digest,
    ) -> Result<Option<KnownQueue>, StoreError> {
        job!(self, |c| planned(c, run, identity, occurrence, content))
    }
}

pub(super) async fn list(c: &mut Connection, limit: usize) -> Result<Vec<SessionEntry>, JobFault> {
    let rows = c
        .rows(
            "SELECT s.user_id, s.session_id, s.last_accessed,
               (SELECT count(*) FROM nova3_rounds r JOIN nova3_queues q ON q.queue_id = r.queue_id
                 JOIN nova3_runs n ON n.run_id = q.run_id WHERE r.user_id = s.user_id AND r.session_id = s.session_id
                 AND q.state <> 'superseded'),
               (SELECT count(*) FROM nova3_items i WHERE i.user_id = s.user_id AND i.session_id = s.session_id)
             FROM nova3_sessions s ORDER BY s.last_accessed DESC, s.user_id, s.session_id LIMIT $1",
            &[int(limit).sent()],
        )
        .await?;
    let read = |row: &Row| SessionEntry {
        user_id: row.get(0),
        session_id: row.get(1),
        last_accessed: row.get(2),
        rounds: row.get::<_, i64>(3).unsigned_abs(),
        items: row.get::<_, i64>(4).unsigned_abs(),
    };
    Ok(rows.iter().map(read).collect())
}

pub(super) async fn one(
    c: &mut Connection,
    user: &str,
    session: &str,
) -> Result<Option<SessionRecord>, JobFault> {
    c.begin_reading().await?;
    let rounds = context::rounds(c, user, session, (&[], None), usize::from(u16::MAX)).await?;
    let pending = context::pending(c, user, session).await?;
    let found = SessionRecord {
        rounds: rounds.into_iter().map(RoundRow::parsed).collect(),
        items: items(c, user, session).await?,
        queue: latest(c, user, session).await?,
        pending: pending.map_or_else(Vec::new, |(_, tasks)| tasks),
    };
    c.commit().await?;
    let empty = found.rounds.is_empty() && found.items.is_empty() && found.queue.is_none();
    Ok((!empty).then_some(found))
}

async fn items(c: &mut Connection, user: &str, session: &str) -> Result<Vec<StoredItem>, JobFault> {
    let rows = c
        .rows(
            "SELECT kind || number, body FROM nova3_items WHERE user_id = $1 AND session_id = $2
             ORDER BY kind COLLATE \"C\", number",
            &[user.sent(), session.sent()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(StoredItem {
                id: row.get(0),
                body: serde_json::from_str(row.get(1))?,
            })
        })
        .collect()
}

/// Returns the session's queue that is under way, else the paused one, else the last.
async fn latest(c: &mut Connection, user: &str, session: &str) -> Result<Option<KnownQueue>, JobFault> {
    let found = c
        .optional(
            "SELECT q.queue_id FROM nova3_queues q JOIN nova3_runs n ON n.run_id = q.run_id
             WHERE q.user_id || '/' || q.session_id = $1 || '/' || $2 AND q.session_id IS NOT NULL AND q.queue_id > 0
               AND q.state <> 'superseded'
             ORDER BY CASE q.state WHEN 'open' THEN (q.leased = 0)::integer WHEN 'paused' THEN 2 ELSE 3 END,
               q.queue_id DESC LIMIT 1",
            &[user.sent(), session.sent()],
        )
        .await?;
    match found {
        Some(row) => known(c, row.get(0)).await.map(Some),
        None => Ok(None),
    }
}

/// Returns the queue of a known request.
pub(super) async fn planned(
    c: &mut Connection,
    run: RunId,
    identity: &Identity,
    occurrence: u64,
    content: Digest,
) -> Result<Option<KnownQueue>, JobFault> {
    let key = text(&keys::key(identity, occurrence));
    let found = c
        .optional(
            "SELECT queue_id FROM nova3_requests WHERE run_id = $1 AND queue_key = $2 AND content_digest = $3",
            &[run.0.sent(), key.sent(), content.as_bytes().to_vec().sent()],
        )
        .await?;
    match found {
        Some(row) => known(c, row.get(0)).await.map(Some),
        None => Ok(None),
    }
}

async fn known(c: &mut Connection, queue: i64) -> Result<KnownQueue, JobFault> {
    let row = c
        .row(
            "SELECT n.name, q.custom_id, q.state, q.task_count IS NOT NULL, q.current_task_index,
               (SELECT array_agg(t.status ORDER BY t.task_index) FROM nova3_tasks t WHERE t.queue_id = $1
                 AND t.task_index >= 0 AND t.task_index < $2)
             FROM nova3_queues q JOIN nova3_runs n ON n.run_id = q.run_id WHERE q.queue_id = $1",
            &[queue.sent(), TaskNo::PLANNED_END.sent()],
        )
        .await?;
    let statuses: Vec<String> = row.get::<_, Option<Vec<String>>>(5).unwrap_or_default();
    let tasks: Vec<PendingTask> = context::tasks(c, queue, false).await?;
    let statuses = statuses.iter().map(|status| {
        TaskStatus::parse(status)
            .ok_or_else(|| JobFault::Row(format!("a task of queue {queue} has status `{status}`")))
    });
    Ok(KnownQueue {
        run: row.get::<_, PgText>(0).0,
        custom_id: row.get::<_, Option<PgText>>(1).map(|id| id.0),
        state: row.get(2),
        planned: row.get(3),
        queue_id: queue,
        current_task: usize::try_from(row.get::<_, i32>(4)).unwrap_or(0),
        tasks: tasks
            .into_iter()
            .zip(statuses.collect::<Result<Vec<_>, _>>()?)
            .collect(),
    })
}

/// Clears a session. `told` has the counts of earlier tries whose answers were lost; the returned counts include them.
pub(super) async fn clear(
    c: &mut Connection,
    user: &str,
    session: &str,
    told: &Mutex<Cleared>,
) -> Result<Cleared, JobFault> {
    c.begin().await?;
    let (mut pending, mut rounds) = (0, 0);
    // Deleting the round of a paused queue removes its tasks from the pending ones. The queue's line stays as it is.
    while let Some((queue, tasks)) = context::pending(c, user, session).await? {
        pending += tasks.len() as u64;
        rounds += c
            .execute("DELETE FROM nova3_rounds WHERE queue_id = $1", &[queue.sent()])
            .await?;
    }
    let params = [user.sent(), session.sent()];
    rounds += c
        .execute(
            "DELETE FROM nova3_rounds WHERE user_id = $1 AND session_id = $2",
            &params,
        )
        .await?;
    let items = c
        .execute(
            "DELETE FROM nova3_items WHERE user_id = $1 AND session_id = $2",
            &params,
        )
        .await?;
    let cleared = {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        *told = Cleared {
            rounds: told.rounds.max(rounds),
            items: told.items.max(items),
            pending: told.pending.max(pending),
        };
        *told
    };
    c.commit().await?;
    Ok(cleared)
}
