//! Failed requests by error class.

use std::collections::HashMap;

use super::fault::JobFault;
use crate::domain::tally::FailedClass;
use crate::postgres::{Connection, Param, PgText};
use crate::store::RunId;
use crate::store::failed_rows::{FailedRows, failed_class};

pub(super) async fn of(c: &mut Connection, run: RunId) -> Result<Vec<FailedClass>, JobFault> {
    let found = c
        .rows(
            "SELECT q.error_class, count(*), min(q.queue_id) FROM nova3_queues q JOIN nova3_runs r ON r.run_id = q.run_id
             WHERE q.run_id = $1 AND q.run_id > 0 AND (q.state = 'failed' OR q.status = 'partial')
               AND q.ingest >= r.complete_ingest
             GROUP BY q.error_class ORDER BY 2 DESC, 3",
            &[run.0.sent()],
        )
        .await?;
    let classes: Vec<FailedRows> = found
        .iter()
        .map(|row| FailedRows {
            class: row.get(0),
            requests: row.get::<_, i64>(1).unsigned_abs(),
            first: row.get(2),
        })
        .collect();
    let first: Vec<i64> = classes.iter().map(|rows| rows.first).collect();
    let examples = c
        .rows(
            "SELECT queue_id, custom_id, error FROM nova3_queues WHERE run_id = $1 AND queue_id = ANY ($2)",
            &[run.0.sent(), first.sent()],
        )
        .await?;
    let mut examples: HashMap<i64, (Option<String>, Option<String>)> = examples
        .iter()
        .map(|row| {
            let custom_id: Option<PgText> = row.get(1);
            (row.get(0), (custom_id.map(|text| text.0), row.get(2)))
        })
        .collect();
    let classes = classes.iter().map(|rows| {
        let (custom_id, error) = examples.remove(&rows.first).unwrap_or_default();
        failed_class(rows, custom_id, error.as_deref())
    });
    Ok(classes.collect())
}
