//! The parts of a task that fans out: making them, settling them, and handing the lease on.

use rusqlite::Connection;

use super::claim::put_back;
use super::fault::JobFault;
use super::graph;
use super::settle::{LeasedTask, store_row};
use super::task_counts::recount;
use crate::domain::outcome::Product;
use crate::domain::state::TaskTransition;
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
        Some(lease) => graph::hand_on_to_part(c, &lease)?,
        None => None,
    };
    recount(c, queue_id)?;
    Ok(next.map_or(Settled::Yielded, Settled::Moved))
}

/// Hands the lease on: the last part to the join, any other part to a ready part.
fn after_part(c: &Connection, settlement: &Settlement, held: &LeasedTask) -> Result<Settled, JobFault> {
    let queue_id = settlement.lease.queue_id;
    let Some(lease) = held.lease(settlement) else {
        graph::let_go_on(c, queue_id, settlement.task)?;
        recount(c, queue_id)?;
        return Ok(Settled::Yielded);
    };
    let (join, _) = graph::hand_on(c, &lease, settlement.task)?;
    let next = match join {
        Some(join) => Some(join),
        None => graph::hand_on_to_part(c, &lease)?,
    };
    recount(c, queue_id)?;
    if next.is_none() {
        put_back(c, queue_id)?;
    }
    Ok(next.map_or(Settled::Yielded, Settled::Moved))
}

/// Settles a part. Only its join depends on it.
pub(super) fn settle(
    c: &Connection,
    settlement: &Settlement,
    held: &LeasedTask,
    now: i64,
) -> Result<Settled, JobFault> {
    store_part(c, settlement, held, now)?;
    after_part(c, settlement, held)
}

/// Stores the outcome of a part. Its items have no numbers yet; its join numbers them.
fn store_part(c: &Connection, settlement: &Settlement, held: &LeasedTask, now: i64) -> Result<(), JobFault> {
    let (event, result) = match &settlement.end {
        SettlementEnd::Completed(Product::Items(items), _) => {
            (TaskTransition::Completed, Some(serde_json::to_string(items)?))
        }
        SettlementEnd::Failed(..) => (TaskTransition::Failed, None),
        SettlementEnd::Completed(Product::Response(_), _) | SettlementEnd::FannedOut(_) => {
            return Err(JobFault::Row("a part has items or a failure".to_owned()));
        }
    };
    let status = graph::after(held.status, event)?;
    store_row(c, settlement, held, status, result.as_deref(), now)
}
