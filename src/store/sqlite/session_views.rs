//! Views of a session, and clearing it.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::context;
use super::fault::JobFault;
use super::{plan, tasks};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::request::{Digest, Identity};
use crate::domain::state::TaskStatus;
use crate::domain::task::TaskNo;
use crate::store::rounds::RoundRow;
use crate::store::{
    Cleared, KnownQueue, Material, PendingTask, RunId, SessionCounts, SessionEntry, SessionRecord, Sessions,
    StoreError, StoredItem, Wanted, keys,
};

#[async_trait]
impl Sessions for SqliteStore {
    async fn context(&self, wanted: &Wanted) -> Result<Material, StoreError> {
        let wanted = wanted.clone();
        let (material, rounds) = self.read(move |c| super::context::context(c, &wanted)).await?;
        Ok(crate::store::rounds::with_rounds(material, rounds))
    }

    async fn list_sessions(&self, limit: usize) -> Result<Vec<SessionEntry>, StoreError> {
        self.read(move |c| list(c, limit)).await
    }

    async fn session(&self, user: &UserId, session: &SessionId) -> Result<Option<SessionRecord>, StoreError> {
        let (user, session) = (user.clone(), session.clone());
        let found = self
            .read(move |c| one(c, user.as_str(), session.as_str()))
            .await?;
        Ok(found.map(|row| SessionRecord {
            rounds: row
                .rounds
                .into_iter()
                .map(crate::store::rounds::RoundRow::parsed)
                .collect(),
            items: row.items,
            queue: row.queue,
            pending: row.pending,
        }))
    }

    async fn clear_session(&self, user: &UserId, session: &SessionId) -> Result<Cleared, StoreError> {
        let (user, session) = (user.clone(), session.clone());
        self.write(move |c| clear(c, user.as_str(), session.as_str()))
            .await
    }

    async fn sessions(&self, run: RunId, limit: usize) -> Result<Vec<SessionCounts>, StoreError> {
        self.read(move |c| super::runs::sessions(c, run, limit)).await
    }

    async fn planned(
        &self,
        run: RunId,
        identity: &Identity,
        occurrence: u64,
        content: Digest,
    ) -> Result<Option<KnownQueue>, StoreError> {
        let identity = identity.clone();
        self.read(move |c| planned(c, run, &identity, occurrence, content))
            .await
    }
}

pub(super) fn list(c: &Connection, limit: usize) -> Result<Vec<SessionEntry>, JobFault> {
    let mut query = c.prepare_cached(
        "SELECT user_id, session_id, last_accessed,
           (SELECT count(*) FROM nova3_queues q WHERE q.user_id=s.user_id AND q.session_id=s.session_id
             AND q.round IS NOT NULL AND q.state<>'superseded'),
           (SELECT count(*) FROM nova3_items i WHERE i.user_id=s.user_id AND i.session_id=s.session_id)
         FROM nova3_sessions s ORDER BY last_accessed DESC, user_id, session_id LIMIT ?1",
    )?;
    let rows = query.query_map([limit], |row| {
        Ok(SessionEntry {
            user_id: row.get(0)?,
            session_id: row.get(1)?,
            last_accessed: row.get(2)?,
            rounds: row.get(3)?,
            items: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A session as it is stored.
pub(super) struct SessionRow {
    pub(super) rounds: Vec<RoundRow>,
    pub(super) items: Vec<StoredItem>,
    pub(super) queue: Option<KnownQueue>,
    pub(super) pending: Vec<PendingTask>,
}

pub(super) fn one(c: &Connection, user: &str, session: &str) -> Result<Option<SessionRow>, JobFault> {
    let found = SessionRow {
        rounds: context::rounds(c, user, session, (&[], None), usize::from(u16::MAX))?,
        items: items(c, user, session)?,
        queue: latest(c, user, session)?,
        pending: plan::pending(c, user, session)?.map_or_else(Vec::new, |(_, tasks)| tasks),
    };
    let empty = found.rounds.is_empty() && found.items.is_empty() && found.queue.is_none();
    Ok((!empty).then_some(found))
}

fn items(c: &Connection, user: &str, session: &str) -> Result<Vec<StoredItem>, JobFault> {
    let mut query = c.prepare_cached(
        "SELECT kind, number, body FROM nova3_items WHERE user_id=?1 AND session_id=?2 ORDER BY kind, number",
    )?;
    let mut rows = query.query(params![user, session])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let (kind, number, body): (String, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        items.push(StoredItem {
            id: format!("{kind}{number}"),
            body: serde_json::from_str(&body)?,
        });
    }
    Ok(items)
}

/// Returns the session's queue that is under way, else the paused one, else the last.
fn latest(c: &Connection, user: &str, session: &str) -> Result<Option<KnownQueue>, JobFault> {
    let queue: Option<i64> = c
        .prepare_cached(
            "SELECT queue_id FROM nova3_queues WHERE user_id=?1 AND session_id=?2 AND state<>'superseded'
             ORDER BY CASE state WHEN 'open' THEN leased=0 WHEN 'paused' THEN 2 ELSE 3 END, queue_id DESC
             LIMIT 1",
        )?
        .query_row(params![user, session], |row| row.get(0))
        .optional()?;
    queue.map(|queue| known(c, queue)).transpose()
}

/// Returns the queue of a known request.
pub(super) fn planned(
    c: &Connection,
    run: RunId,
    identity: &Identity,
    occurrence: u64,
    content: Digest,
) -> Result<Option<KnownQueue>, JobFault> {
    let key = keys::key(identity, occurrence);
    let queue: Option<i64> = c
        .prepare_cached(
            "SELECT queue_id FROM nova3_queues WHERE run_id=?1 AND queue_key=?2 AND content_digest=?3",
        )?
        .query_row(params![run.0, key, &content.as_bytes()[..]], |row| row.get(0))
        .optional()?;
    queue.map(|queue| known(c, queue)).transpose()
}

fn known(c: &Connection, queue_id: i64) -> Result<KnownQueue, JobFault> {
    let mut queue = c
        .prepare_cached(
            "SELECT n.name, q.custom_id, q.state, q.task_count IS NOT NULL, q.current_task_index FROM nova3_queues q
             JOIN nova3_runs n USING(run_id) WHERE q.queue_id=?1",
        )?
        .query_row([queue_id], |row| {
            Ok(KnownQueue {
                run: row.get(0)?,
                custom_id: row.get(1)?,
                state: row.get(2)?,
                planned: row.get(3)?,
                queue_id,
                current_task: row.get(4)?,
                tasks: Vec::new(),
            })
        })?;
    let mut statuses =
        c.prepare_cached("SELECT status FROM nova3_tasks WHERE queue_id=?1 AND task_index>=0 AND task_index<?2 ORDER BY task_index")?;
    let statuses: Vec<String> = statuses
        .query_map(params![queue_id, TaskNo::PLANNED_END], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for (task, status) in tasks::planned(c, queue_id)?.into_iter().zip(statuses) {
        let status = TaskStatus::parse(&status)
            .ok_or_else(|| JobFault::Row(format!("a task of queue {queue_id} has status `{status}`")))?;
        queue.tasks.push((task, status));
    }
    Ok(queue)
}

pub(super) fn clear(c: &Connection, user: &str, session: &str) -> Result<Cleared, JobFault> {
    let (mut pending, mut rounds) = (0, 0);
    // Clearing the round of a paused queue removes its tasks from the pending ones. The queue's line stays as it is.
    while let Some((queue, tasks)) = plan::pending(c, user, session)? {
        pending += tasks.len() as u64;
        rounds += c
            .prepare_cached("UPDATE nova3_queues SET round=NULL WHERE queue_id=?1")?
            .execute([queue])?;
    }
    rounds += c
        .prepare_cached(
            "UPDATE nova3_queues SET round=NULL WHERE user_id=?1 AND session_id=?2 AND round IS NOT NULL",
        )?
        .execute(params![user, session])?;
    let items = c
        .prepare_cached("DELETE FROM nova3_items WHERE user_id=?1 AND session_id=?2")?
        .execute(params![user, session])?;
    Ok(Cleared {
        rounds: rounds as u64,
        items: items as u64,
        pending,
    })
}
