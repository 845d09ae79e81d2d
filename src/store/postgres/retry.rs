//! Retrying failed requests.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::fault::JobFault;
use super::session_order::SessionKeys;
use super::{LONG, session_order};
use crate::domain::failure::Class;
use crate::postgres::{Connection, Param, text};
use crate::store::{Failures, RunId};

/// Makes matching failed requests ready again. Bad lines have no request and stay failed until the input is edited.
/// `told` is the count of an earlier try whose answer was lost.
pub(super) async fn retry(
    c: &mut Connection,
    run: RunId,
    which: &Failures,
    told: &AtomicU64,
) -> Result<u64, JobFault> {
    let classes: Vec<&str> = which.classes.iter().copied().map(Class::as_str).collect();
    let ids: Vec<String> = which.ids.iter().map(|id| text(id)).collect();
    c.begin_long(LONG).await?;
    let found = c
        .rows(
            "SELECT q.queue_id, q.user_id, q.session_id FROM nova3_queues q JOIN nova3_runs r ON r.run_id = q.run_id
             WHERE q.run_id = $1 AND q.run_id > 0 AND (q.state = 'failed' OR q.status = 'partial')
               AND q.notes_digest IS NOT NULL
               AND q.ingest >= r.complete_ingest AND (cardinality($2) = 0 OR q.error_class = ANY ($2))
               AND (cardinality($3) = 0 OR q.custom_id = ANY ($3))",
            &[run.0.sent(), classes.sent(), ids.sent()],
        )
        .await?;
    let sessions = found.iter().filter_map(|row| {
        let session: Option<String> = row.get(2);
        Some((row.get(1), session?))
    });
    let sessions: SessionKeys = sessions.collect();
    c.rows("SELECT nova3_share_order($1)", &[run.0.sent()]).await?;
    session_order::lock_heads(c, run, &sessions).await?;
    let found: Vec<i64> = found.iter().map(|row| row.get(0)).collect();
    let rows = c
        .rows(
            "UPDATE nova3_queues q SET state = CASE WHEN q.session_id IS NULL THEN 'open' ELSE 'blocked' END, status = NULL,
               finish_no = NULL, error = NULL, error_class = NULL, completed_at = NULL
             FROM nova3_runs r, unnest($2) i(queue_id)
             WHERE r.run_id = $1 AND q.queue_id = i.queue_id AND (q.state = 'failed' OR (q.state = 'done' AND q.status = 'partial')) AND q.ingest >= r.complete_ingest
             RETURNING q.queue_id",
            &[run.0.sent(), found.sent()],
        )
        .await?;
    if rows.is_empty() {
        c.commit().await?;
        return Ok(told.load(Relaxed));
    }
    let queues: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    c.rows("SELECT nova3_retry($1)", &[queues.sent()]).await?;
    session_order::promote(c, run, &sessions).await?;
    c.execute(
        "UPDATE nova3_runs SET lines_epoch = lines_epoch + 1 WHERE run_id = $1",
        &[run.0.sent()],
    )
    .await?;
    let put_back = told
        .fetch_max(queues.len() as u64, Relaxed)
        .max(queues.len() as u64);
    c.commit().await?;
    Ok(put_back)
}
