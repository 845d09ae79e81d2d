//! Failed requests by error class.

use rusqlite::{Connection, params};

use super::fault::JobFault;
use super::results::complete_ingest;
use crate::domain::tally::FailedClass;
use crate::store::RunId;
use crate::store::failed_rows::{FailedRows, failed_class};

pub(super) fn of(c: &Connection, run: RunId) -> Result<Vec<FailedClass>, JobFault> {
    let since = complete_ingest(c, run)?;
    let mut classes: Vec<FailedRows> = Vec::new();
    // Each kind has an index of its own. One statement for both would read all requests of the run.
    for kind in ["state='failed'", "status='partial'"] {
        let sql = format!(
            "SELECT error_class, count(*), min(queue_id) FROM nova3_queues WHERE run_id=?1 AND ingest>=?2 AND {kind}
             GROUP BY error_class"
        );
        let mut query = c.prepare_cached(&sql)?;
        let found = query.query_map(params![run.0, since], |row| {
            Ok(FailedRows {
                class: row.get(0)?,
                requests: row.get(1)?,
                first: row.get(2)?,
            })
        })?;
        for rows in found {
            let rows = rows?;
            match classes.iter_mut().find(|known| known.class == rows.class) {
                Some(known) => {
                    known.requests += rows.requests;
                    known.first = known.first.min(rows.first);
                }
                None => classes.push(rows),
            }
        }
    }
    classes.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.first.cmp(&b.first)));
    let mut example =
        c.prepare_cached("SELECT custom_id, error FROM nova3_queues WHERE run_id=?1 AND queue_id=?2")?;
    let examples = classes.iter().map(|rows| {
        let (custom_id, error): (_, Option<String>) =
            example.query_row(params![run.0, rows.first], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(failed_class(rows, custom_id, error.as_deref()))
    });
    examples.collect()
}
