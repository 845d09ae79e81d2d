//! The result of a settled task in its row.

use rusqlite::{Connection, params};

use super::fault::JobFault;
use super::sessions::{self, ItemOwner};
use super::settle::LeasedTask;
use crate::domain::outcome::Product;
use crate::domain::state::TaskStatus;
use crate::domain::task::TaskNo;
use crate::failpoint::sql;
use crate::store::{Settlement, SettlementEnd};

/// Writes the row of a settled planned task, and the numbers of its items.
pub(super) fn store_planned(
    c: &Connection,
    settlement: &Settlement,
    held: &LeasedTask,
    status: TaskStatus,
    product: Option<&Product>,
    now: i64,
) -> Result<(), JobFault> {
    let place = ItemOwner {
        user: &held.user,
        session: held.session.as_deref(),
        queue_id: settlement.lease.queue_id,
        task: settlement.task,
        version: held.version,
        is_only_task: held.is_last && settlement.task == TaskNo::planned(0),
        now,
    };
    let numbered;
    let result = match product {
        Some(Product::Items(items)) => {
            numbered = sessions::number(c, &place, items)?;
            Some(numbered.as_str())
        }
        Some(Product::Response(raw)) => Some(raw.get()),
        Some(Product::Search(_)) => {
            return Err(JobFault::Row(
                "a planned task has no search as its result".to_owned(),
            ));
        }
        None => None,
    };
    store_row(c, settlement, held, status, result, now)
}

/// Writes the row of a settled task.
pub(super) fn store_row(
    c: &Connection,
    settlement: &Settlement,
    held: &LeasedTask,
    status: TaskStatus,
    result: Option<&str>,
    now: i64,
) -> Result<(), JobFault> {
    let (queue_id, task) = (settlement.lease.queue_id, settlement.task);
    let making = match &held.making {
        Some(earlier) => settlement.making.after(&serde_json::from_str(earlier)?),
        None => settlement.making.clone(),
    };
    let error = match &settlement.end {
        SettlementEnd::Failed(failure, _) => Some(serde_json::to_string(failure)?),
        SettlementEnd::Completed(..)
        | SettlementEnd::FannedOut(_)
        | SettlementEnd::Searches
        | SettlementEnd::Skipped => None,
    };
    let stored = c
        .prepare_cached(&sql(
            "UPDATE nova3_tasks SET status=?3, result=?4, making=?5, completed_at=?6, error=?7, lease_owner=NULL,
               lease_until=NULL, handle=NULL, crashes=0, working=0, quarantine=0, lease_group=0, lone_crashes=0,
               crash_owner=NULL, panics=0
             WHERE queue_id=?1 AND task_index=?2
               AND status=?8",
        ))?
        .execute(params![
            queue_id,
            task.0,
            status.as_str(),
            result,
            serde_json::to_string(&making)?,
            now,
            error,
            held.status.as_str(),
        ])?;
    if stored != 1 {
        return Err(JobFault::Row(format!(
            "{task} of queue {queue_id} is not `{}`",
            held.status
        )));
    }
    Ok(())
}
