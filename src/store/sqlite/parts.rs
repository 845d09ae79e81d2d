//! The subtasks of a planned task, its search and its parts: making them, settling them, and handing the lease on.

use rusqlite::Connection;

use super::claim::put_back;
use super::fault::JobFault;
use super::graph;
use super::settle::LeasedTask;
use super::task_counts::recount;
use super::task_result::store_row;
use crate::domain::state::TaskTransition;
use crate::store::items::subtask_result;
use crate::store::{NewPart, Settled, Settlement, SettlementEnd};

/// Adds the parts and hands the lease on to the first of them. The task waits for its parts.
pub(super) fn fan_out(
    c: &Connection,
    settlement: &Settlement,
    held: &LeasedTask,
    parts: &[NewPart],
    now: i64,
) -> Result<Settled, JobFault> {
    let queue_id = settlement.lease.queue_id;
    graph::fan_out(c, queue_id, settlement.task, parts, now)?;
    let next = match held.lease(settlement) {
        Some(lease) => graph::hand_on_to_subtask(c, &lease)?,
        None => None,
    };
    recount(c, queue_id)?;
    Ok(next.map_or(Settled::Yielded, Settled::Moved))
}

/// Adds the search and hands the lease on to it. The task waits for it.
pub(super) fn search(
    c: &Connection,
    settlement: &Settlement,
    held: &LeasedTask,
    now: i64,
) -> Result<Settled, JobFault> {
    let queue_id = settlement.lease.queue_id;
    graph::search(c, queue_id, settlement.task, now)?;
    let next = match held.lease(settlement) {
        Some(lease) => graph::hand_on_to_subtask(c, &lease)?,
        None => None,
    };
    recount(c, queue_id)?;
    Ok(next.map_or(Settled::Yielded, Settled::Moved))
}

/// Hands the lease on: that of a search to its task, that of the last part to the join, that of any other part to a
/// ready part.
fn after_subtask(c: &Connection, settlement: &Settlement, held: &LeasedTask) -> Result<Settled, JobFault> {
    let queue_id = settlement.lease.queue_id;
    let Some(lease) = held.lease(settlement) else {
        graph::let_go_on(c, queue_id, settlement.task)?;
        recount(c, queue_id)?;
        return Ok(Settled::Yielded);
    };
    let (join, _) = graph::hand_on(c, &lease, settlement.task)?;
    let next = match join {
        Some(join) => Some(join),
        None => graph::hand_on_to_subtask(c, &lease)?,
    };
    recount(c, queue_id)?;
    if next.is_none() {
        put_back(c, queue_id)?;
    }
    Ok(next.map_or(Settled::Yielded, Settled::Moved))
}

/// Settles a subtask. Only its planned task depends on it.
pub(super) fn settle(
    c: &Connection,
    settlement: &Settlement,
    held: &LeasedTask,
    now: i64,
) -> Result<Settled, JobFault> {
    store_subtask(c, settlement, held, now)?;
    after_subtask(c, settlement, held)
}

/// Stores the outcome of a subtask. The items of a part have no numbers yet; its join numbers them.
fn store_subtask(
    c: &Connection,
    settlement: &Settlement,
    held: &LeasedTask,
    now: i64,
) -> Result<(), JobFault> {
    let (event, result) = match &settlement.end {
        SettlementEnd::Completed(product, _) => {
            let result = subtask_result(settlement.task, product).map_err(JobFault::Row)?;
            (TaskTransition::Completed, Some(result))
        }
        SettlementEnd::Failed(..) => (TaskTransition::Failed, None),
        SettlementEnd::FannedOut(_) | SettlementEnd::Searches | SettlementEnd::Skipped => {
            return Err(JobFault::Row(
                "a subtask has no subtasks and no condition".to_owned(),
            ));
        }
    };
    let status = graph::after(held.status, event)?;
    store_row(c, settlement, held, status, result.as_deref(), now)
}
