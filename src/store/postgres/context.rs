//! The context of a task: earlier results, items of the session, its last rounds.

use tokio_postgres::Row;

use super::fault::JobFault;
use super::rows::int;
use crate::domain::failure::Failure;
use crate::domain::references::ItemId;
use crate::domain::task::TaskNo;
use crate::domain::task_search::TaskSearch;
use crate::postgres::{Connection, Param, PgText};
use crate::store::items::{items, outcome, own, search_outcome};
use crate::store::keys::COMPLETION;
use crate::store::rounds::{CHAIN, RoundRow};
use crate::store::{Earlier, Material, Part, PartOutcome, PendingTask, StoredItem, Wanted};

/// Returns the material without its rounds, and the rounds as rows.
pub(super) async fn context(
    c: &mut Connection,
    wanted: &Wanted,
) -> Result<(Material, Vec<RoundRow>), JobFault> {
    c.begin_reading().await?;
    let chain = match wanted.queue_id {
        Some(queue) => chain(c, queue).await?,
        None => Vec::new(),
    };
    let mut material = Material {
        earlier: earlier(c, &chain, wanted.queue_id).await?,
        ..Material::default()
    };
    let rounds = if let Some(session) = &wanted.session {
        let (user, session) = (wanted.user.as_str(), session.as_str());
        (material.items, material.replaced) = chosen(c, user, session, &wanted.items).await?;
        rounds(c, user, session, (&chain, wanted.queue_id), wanted.rounds).await?
    } else {
        material.items = own(&material.earlier, &wanted.items);
        Vec::new()
    };
    c.commit().await?;
    Ok((material, rounds))
}

/// Returns the queue and the queues whose pending tasks it took over, the nearest first.
async fn chain(c: &mut Connection, queue: i64) -> Result<Vec<i64>, JobFault> {
    let rows = c
        .rows(
            "WITH RECURSIVE chain(queue_id, depth) AS (
               SELECT $1, 1
               UNION SELECT p.continues, chain.depth + 1 FROM chain
                 JOIN nova3_plans p ON p.queue_id = chain.queue_id
                 WHERE p.continues IS NOT NULL AND chain.depth < $2)
             SELECT queue_id FROM chain GROUP BY queue_id ORDER BY min(depth)",
            &[queue.sent(), i32::try_from(CHAIN).unwrap_or(i32::MAX).sent()],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn earlier(c: &mut Connection, chain: &[i64], own: Option<i64>) -> Result<Vec<Earlier>, JobFault> {
    let rows = c
        .rows(
            "SELECT t.queue_id, t.task_id, t.action, t.result FROM unnest($1) WITH ORDINALITY i(queue_id, place)
             CROSS JOIN LATERAL (
               SELECT t.* FROM nova3_tasks t WHERE t.queue_id = i.queue_id OFFSET 0) t
             WHERE t.status = 'completed' AND t.task_index >= 0 AND t.task_index < $2 ORDER BY i.place DESC, t.task_index",
            &[chain.to_vec().sent(), TaskNo::PLANNED_END.sent()],
        )
        .await?;
    let read = |row: &Row| Earlier {
        task_id: row.get(1),
        action: row.get::<_, PgText>(2).0,
        items: items(row.get::<_, Option<&str>>(3).unwrap_or("[]")),
        own: Some(row.get(0)) == own,
    };
    Ok(rows.iter().map(read).collect())
}

/// Returns the wanted items that the session has, in the order of `wanted`, and the ids of those that a redo replaced.
async fn chosen(
    c: &mut Connection,
    user: &str,
    session: &str,
    wanted: &[String],
) -> Result<(Vec<StoredItem>, Vec<String>), JobFault> {
    let parsed: Vec<(&String, ItemId)> = wanted
        .iter()
        .filter_map(|id| Some((id, ItemId::parse(id)?)))
        .collect();
    if parsed.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let ids: Vec<String> = parsed.iter().map(|(id, _)| (*id).clone()).collect();
    let kinds: Vec<String> = parsed.iter().map(|(_, id)| id.kind.clone()).collect();
    let numbers: Vec<i64> = parsed.iter().map(|(_, id)| int(id.number)).collect();
    let rows = c
        .rows(
            "SELECT w.id, i.body, EXISTS (SELECT 1 FROM nova3_tasks t WHERE t.queue_id = i.queue_id AND t.task_index = i.task_index
               AND t.version <> i.version AND t.status = 'completed') FROM unnest($3, $4, $5) WITH ORDINALITY w(id, kind, number, place)
             JOIN nova3_items i ON i.user_id = $1 AND i.session_id = $2 AND i.kind = w.kind AND i.number = w.number
             ORDER BY w.place",
            &[user.sent(), session.sent(), ids.sent(), kinds.sent(), numbers.sent()],
        )
        .await?;
    let replaced = rows.iter().filter(|row| row.get(2)).map(|row| row.get(0));
    let items = rows.iter().map(|row| {
        Ok(StoredItem {
            id: row.get(0),
            body: serde_json::from_str(row.get(1))?,
        })
    });
    Ok((items.collect::<Result<_, JobFault>>()?, replaced.collect()))
}

/// Returns the last rounds of the session, oldest first. Rounds of the queues in `besides` are marked and do not count
/// towards `limit`. A queue that has a round of its own gets only the rounds before it. The response to a Batch line has
/// no items, so it is not read.
pub(super) async fn rounds(
    c: &mut Connection,
    user: &str,
    session: &str,
    (besides, before): (&[i64], Option<i64>),
    limit: usize,
) -> Result<Vec<RoundRow>, JobFault> {
    let rows = c
        .rows(
            "SELECT q.queue_id, r.round, n.name, q.custom_id,
                coalesce(q.status, (SELECT e.status FROM nova3_redos e WHERE e.queue_id = q.queue_id)), d.request, q.completed_at,
                (SELECT CASE WHEN t.action <> $4 THEN t.result END FROM (
                  SELECT t.task_index, t.action, t.result FROM nova3_tasks t WHERE t.queue_id = q.queue_id
                    AND t.status = 'completed' AND t.task_index >= 0 AND t.task_index < $5
                  -- The earlier result of a task that is being redone.
                  UNION ALL SELECT v.task_index, v.action, v.result FROM nova3_task_versions v WHERE v.queue_id = q.queue_id
                    AND v.shown AND v.status = 'completed' AND v.task_index >= 0 AND v.task_index < $5) t
                 ORDER BY t.task_index DESC LIMIT 1)
             FROM nova3_rounds r JOIN nova3_queues q ON q.queue_id = r.queue_id
             JOIN nova3_runs n ON n.run_id = q.run_id
             LEFT JOIN nova3_requests d ON d.queue_id = q.queue_id
             WHERE r.user_id = $1 AND r.session_id = $2 AND q.state <> 'superseded'
               AND r.round < coalesce((SELECT o.round FROM nova3_rounds o WHERE o.queue_id = $6), 9223372036854775807)
             ORDER BY r.round DESC LIMIT $3",
            &[
                user.sent(),
                session.sent(),
                int(limit.saturating_add(besides.len())).sent(),
                COMPLETION.sent(),
                TaskNo::PLANNED_END.sent(),
                before.sent(),
            ],
        )
        .await?;
    let mut told = 0;
    let mut rounds = Vec::new();
    for row in &rows {
        let own = besides.contains(&row.get(0));
        if !own && told >= limit {
            continue;
        }
        told += usize::from(!own);
        rounds.push(RoundRow {
            number: row.get::<_, i64>(1).unsigned_abs(),
            run: row.get::<_, PgText>(2).0,
            custom_id: row.get::<_, Option<PgText>>(3).map(|id| id.0),
            status: row.get::<_, Option<String>>(4).unwrap_or_default(),
            request: row.get(5),
            output: items(row.get::<_, Option<&str>>(7).unwrap_or("[]")),
            completed_at: row.get::<_, Option<i64>>(6).unwrap_or_default(),
            own,
        });
    }
    rounds.reverse();
    Ok(rounds)
}

/// Returns the pending tasks of the session's last paused queue.
pub(super) async fn pending(
    c: &mut Connection,
    user: &str,
    session: &str,
) -> Result<Option<(i64, Vec<PendingTask>)>, JobFault> {
    let row = c
        .row("SELECT nova3_pending($1, $2)", &[user.sent(), session.sent()])
        .await?;
    let Some(queue) = row.get::<_, Option<i64>>(0) else {
        return Ok(None);
    };
    Ok(Some((queue, tasks(c, queue, true).await?)))
}

/// Returns a queue's planned tasks in order: all of them, or with `rest` those that are not settled.
pub(super) async fn tasks(c: &mut Connection, queue: i64, rest: bool) -> Result<Vec<PendingTask>, JobFault> {
    let row = c
        .row(
            "SELECT array_agg(t.task_id ORDER BY t.task_index), array_agg(t.action ORDER BY t.task_index),
               array_agg(t.description ORDER BY t.task_index), array_agg(t.input ORDER BY t.task_index)
             FROM nova3_tasks t
             WHERE t.queue_id = $1 AND t.task_index >= 0 AND (NOT $2 OR t.status IN ('pending','ready')) AND t.task_index < $3",
            &[queue.sent(), rest.sent(), TaskNo::PLANNED_END.sent()],
        )
        .await?;
    Ok(super::claims::pending(&row, 0))
}

/// Returns the outcomes of the settled parts of a planned task, in their order.
pub(super) async fn parts(c: &mut Connection, queue: i64, task: usize) -> Result<Vec<PartOutcome>, JobFault> {
    let (first, last) = TaskNo::parts_of(task);
    let rows = c
        .rows(
            "SELECT task_index, subject, input, result, error FROM nova3_tasks
             WHERE queue_id = $1 AND task_index BETWEEN $2 AND $3 AND status IN ('completed','failed') ORDER BY task_index",
            &[queue.sent(), first.sent(), last.sent()],
        )
        .await?;
    let read = |row: &Row| {
        let part = Part {
            no: TaskNo(row.get(0)),
            subject: row.get::<_, Option<PgText>>(1).map(|subject| subject.0),
            input: row.get::<_, PgText>(2).0,
        };
        Ok(outcome(part, row.get(3), row.get(4))?)
    };
    rows.iter().map(read).collect()
}

/// Returns the result of a planned task's search, or its failure.
pub(super) async fn task_search(
    c: &mut Connection,
    queue: i64,
    task: usize,
) -> Result<Option<Result<TaskSearch, Failure>>, JobFault> {
    let row = c
        .optional(
            "SELECT result, error FROM nova3_tasks
             WHERE queue_id = $1 AND task_index = $2 AND status IN ('completed','failed')",
            &[queue.sent(), TaskNo::search(task).0.sent()],
        )
        .await?;
    let outcome = row.map(|row| search_outcome(row.get(0), row.get(1)));
    Ok(outcome.transpose()?)
}
