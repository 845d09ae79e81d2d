//! The log of settled events, read page by page.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::fault::JobFault;
use super::rows::int;
use crate::domain::task::TaskNo;
use crate::postgres::{Connection, Param, PgText};
use crate::store::event_rows::{self, EventRow, EventTask, PAGE_BYTES};
use crate::store::{EventPage, RunId};

/// `octet_length` reads the size of a result without the result itself; `length` would read it.
const COLUMNS: &str = "SELECT e.event_no, e.created_at, CASE WHEN q.notes_digest IS NOT NULL THEN q.custom_id END, q.user_id, q.session_id, \
     CASE WHEN e.planned OR e.task_index IS NOT NULL THEN q.task_count END, e.queue_id, e.task_index, \
     e.planned, e.body, e.status, coalesce( \
     (SELECT octet_length(t.result) FROM nova3_tasks t \
       WHERE t.queue_id = e.queue_id AND t.task_index = e.task_index AND t.version = e.version), \
     (SELECT octet_length(v.result) FROM nova3_task_versions v \
       WHERE v.queue_id = e.queue_id AND v.task_index = e.task_index AND v.version = e.version), 0), e.version";

const SOURCE: &str = "FROM nova3_events e JOIN nova3_queues q ON q.queue_id = e.queue_id";

pub(super) async fn page(
    c: &mut Connection,
    run: RunId,
    present: bool,
    after: i64,
    limit: usize,
) -> Result<EventPage, JobFault> {
    c.begin_reading().await?;
    let sql = format!(
        "{COLUMNS} {SOURCE} WHERE e.run_id = $1 AND e.event_no > $2 AND (NOT $3 OR (q.state <> 'superseded'
           AND q.ingest >= (SELECT r.complete_ingest FROM nova3_runs r WHERE r.run_id = $1)))
         ORDER BY e.event_no LIMIT $4"
    );
    let rows = c
        .rows(
            &sql,
            &[run.0.sent(), after.sent(), present.sent(), int(limit).sent()],
        )
        .await?;
    let mut bytes = 0;
    let fits = |row: &&Row| {
        let before = bytes;
        bytes += size(row);
        before <= PAGE_BYTES
    };
    let rows: Vec<&Row> = rows.iter().take_while(fits).collect();
    let page = told(c, &rows, after).await?;
    c.commit().await?;
    Ok(page)
}

pub(super) async fn of(c: &mut Connection, queues: &[i64], up_to: i64) -> Result<EventPage, JobFault> {
    c.begin_reading().await?;
    let sql = format!(
        "{COLUMNS}, i.place {SOURCE} JOIN unnest($1) WITH ORDINALITY i(queue_id, place) ON i.queue_id = e.queue_id
         WHERE e.event_no <= $2 ORDER BY i.place, e.event_no"
    );
    let rows = c.rows(&sql, &[queues.to_vec().sent(), up_to.sent()]).await?;
    // The events of one queue stay on one page.
    let (mut bytes, mut last) = (0, None);
    let fits = |row: &&Row| {
        let place: i64 = row.get(13);
        if bytes > PAGE_BYTES && last != Some(place) {
            return false;
        }
        bytes += size(row);
        last = Some(place);
        true
    };
    let fitting: Vec<&Row> = rows.iter().take_while(fits).collect();
    let page = told(c, &fitting, 0).await?;
    c.commit().await?;
    let after = match fitting.last() {
        Some(row) if fitting.len() < rows.len() => row.get(13),
        _ => int(queues.len()),
    };
    Ok(EventPage { after, ..page })
}

/// Estimates the bytes of memory that a row takes once its result is read.
fn size(row: &Row) -> usize {
    row.get::<_, Option<i32>>(11).map_or(0, i32::unsigned_abs) as usize * 2 + 512
}

async fn told(c: &mut Connection, rows: &[&Row], after: i64) -> Result<EventPage, JobFault> {
    let tasks = tasks(c, rows).await?;
    let results = results(c, rows).await?;
    let mut page = EventPage {
        rows: Vec::new(),
        after,
    };
    for (row, mut result) in rows.iter().zip(results) {
        let queue: i64 = row.get(6);
        let count = |column: usize| {
            let count: Option<i32> = row.get(column);
            count.and_then(|count| usize::try_from(count).ok())
        };
        let task = count(7);
        page.after = row.get(0);
        let event = EventRow {
            event_no: page.after,
            settled_at: row.get(1),
            custom_id: row.get::<_, Option<PgText>>(2).map(|id| id.0),
            user_id: row.get(3),
            session_id: row.get(4),
            total_tasks: count(5),
            task,
            planned: row.get(8),
            body: row.get(9),
            status: row.get(10),
        };
        let known = tasks.get(&queue).map_or(&[][..], Vec::as_slice);
        let tasks = (0..).zip(known).map(|(index, known)| EventTask {
            task_id: known.get(1),
            action: known.get::<_, PgText>(2).0,
            description: known.get::<_, PgText>(3).0,
            input: known.get::<_, PgText>(4).0,
            result: (Some(index) == task).then(|| result.take()).flatten(),
        });
        event_rows::expand(event, tasks.collect(), &mut page.rows)?;
    }
    Ok(page)
}

/// Returns the planned tasks of all queues of the rows, without results.
async fn tasks(c: &mut Connection, rows: &[&Row]) -> Result<HashMap<i64, Vec<Row>>, JobFault> {
    let queues: Vec<i64> = rows.iter().map(|row| row.get(6)).collect();
    let found = c
        .rows(
            "SELECT t.queue_id, t.task_id, t.action, t.description, t.input
             FROM (SELECT DISTINCT i.queue_id FROM unnest($1) i(queue_id)) i CROSS JOIN LATERAL (
               SELECT t.* FROM nova3_tasks t
               WHERE t.queue_id = i.queue_id AND t.task_index >= 0 AND t.task_index < $2 OFFSET 0) t
             ORDER BY t.queue_id, t.task_index",
            &[queues.sent(), TaskNo::PLANNED_END.sent()],
        )
        .await?;
    let mut tasks: HashMap<i64, Vec<Row>> = HashMap::new();
    for row in found {
        tasks.entry(row.get(0)).or_default().push(row);
    }
    Ok(tasks)
}

/// Returns by row the result of its task, in the version that the row names.
async fn results(c: &mut Connection, rows: &[&Row]) -> Result<Vec<Option<String>>, JobFault> {
    let queues: Vec<i64> = rows.iter().map(|row| row.get(6)).collect();
    let wanted: Vec<Option<i32>> = rows.iter().map(|row| row.get(7)).collect();
    let versions: Vec<Option<i32>> = rows.iter().map(|row| row.get(12)).collect();
    let found = c
        .rows(
            "SELECT CASE WHEN t.version = i.version THEN CASE WHEN t.status = 'completed' THEN t.result END
               ELSE (SELECT v.result FROM nova3_task_versions v WHERE v.queue_id = i.queue_id AND v.task_index = i.task
                 AND v.version = i.version AND v.status = 'completed') END
             FROM unnest($1, $2, $3) WITH ORDINALITY i(queue_id, task, version, place)
             LEFT JOIN LATERAL (SELECT t.version, t.status, t.result FROM nova3_tasks t
               WHERE t.queue_id = i.queue_id AND t.task_index = i.task OFFSET 0) t ON true
             ORDER BY i.place",
            &[queues.sent(), wanted.sent(), versions.sent()],
        )
        .await?;
    Ok(found.iter().map(|row| row.get(0)).collect())
}
