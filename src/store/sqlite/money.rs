//! The budget of a run, its calls without a result, and the state of its routes.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::fault::JobFault;
use super::ledger::{self, Spent, Use};
use crate::domain::lane::Lane;
use crate::domain::outcome::{Attempt, CallEnd};
use crate::domain::tally::{ROUTE_STATES, RouteState, RunSummary, Waste};
use crate::domain::task::TaskNo;
use crate::domain::usage::{Cost, Usage};
use crate::store::{Budget, Hold, Lease, Reservation, RunId, StoreError};

#[async_trait]
impl Budget for SqliteStore {
    async fn reserve(&self, run: RunId, reservation: &Reservation, cap: Cost) -> Result<Hold, StoreError> {
        let reservation = reservation.clone();
        self.write(move |c| reserve(c, run, &reservation, cap, crate::clock::now_ms()))
            .await
    }

    async fn summary(&self, run: RunId) -> Result<RunSummary, StoreError> {
        self.read(move |c| super::runs::summary(c, run)).await
    }

    async fn waste(&self, run: RunId) -> Result<Vec<Waste>, StoreError> {
        self.read(move |c| waste(c, run)).await
    }

    async fn note_routes(&self, run: RunId, routes: Vec<RouteState>) -> Result<(), StoreError> {
        self.write(move |c| note_routes(c, run, &routes)).await
    }

    async fn routes(&self, run: RunId) -> Result<Vec<RouteState>, StoreError> {
        self.read(move |c| routes(c, run)).await
    }
}

/// The cause under which a good answer that came too late is counted as waste.
const REPEATED: &str = "repeated";

/// Reserves the worst cost of a call, if the lease is valid and the cap has room. The new reservation replaces the
/// lease's earlier one.
pub(super) fn reserve(
    c: &Connection,
    run: RunId,
    reservation: &Reservation,
    cap: Cost,
    now: i64,
) -> Result<Hold, JobFault> {
    let Reservation {
        lease, spent, worst, ..
    } = reservation;
    if !is_leased(c, *lease)? {
        return Ok(Hold::LostLease);
    }
    let before = held_back(c, *lease)?;
    let (used, reserved): (u64, u64) = c
        .prepare_cached("SELECT cost+uncertain, reserved FROM nova3_runs WHERE run_id=?1")?
        .query_row([run.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let others = used.saturating_add(reserved.saturating_sub(before));
    let fits = others.saturating_add(spent.plus(*worst).0) <= cap.0;
    let in_flight = if fits { *worst } else { Cost::ZERO };
    c.prepare_cached(
        "INSERT OR REPLACE INTO nova3_reservations(queue_id, run_id, fence, task_index, route, model, spent, in_flight, created_at, lane)
         VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
    )?
    .execute(params![
        lease.queue_id,
        run.0,
        lease.fence,
        reservation.task.0,
        reservation.route,
        reservation.model,
        spent.0,
        in_flight.0,
        now,
        reservation.lane.as_str(),
    ])?;
    c.prepare_cached("UPDATE nova3_runs SET reserved=reserved-?2+?3 WHERE run_id=?1")?
        .execute(params![run.0, before, spent.plus(in_flight).0])?;
    Ok(if fits {
        Hold::Held
    } else {
        Hold::NoRoom { others_hold: false }
    })
}

/// Whether the lease is still valid. A call under a lost lease must not be sent.
fn is_leased(c: &Connection, lease: Lease) -> Result<bool, JobFault> {
    let mut query =
        c.prepare_cached("SELECT 1 FROM nova3_tasks WHERE queue_id=?1 AND fence=?2 AND status='leased'")?;
    Ok(query.exists(params![lease.queue_id, lease.fence])?)
}

fn held_back(c: &Connection, lease: Lease) -> Result<u64, JobFault> {
    Ok(
        c.prepare_cached("SELECT spent+in_flight FROM nova3_reservations WHERE queue_id=?1 AND fence=?2")?
            .query_row([lease.queue_id, lease.fence], |row| row.get(0))
            .optional()?
            .unwrap_or(0),
    )
}

/// Deletes the reservation of the lease and returns its amount. The caller corrects the sum of the run.
pub(super) fn take_back(c: &Connection, lease: Lease) -> Result<Cost, JobFault> {
    let taken = c
        .prepare_cached(
            "DELETE FROM nova3_reservations WHERE queue_id=?1 AND fence=?2 RETURNING spent+in_flight",
        )?
        .query_row(params![lease.queue_id, lease.fence], |row| row.get(0))
        .optional()?;
    Ok(Cost(taken.unwrap_or(0)))
}

/// Counts the reservations of calls that were in flight at a crash as spent. The reservation of an outside job stays.
pub(super) fn count_orphans(c: &Connection, now: i64) -> Result<(), JobFault> {
    for orphan in orphans(c, now)? {
        let spent = Spent {
            lease: orphan.lease,
            task: orphan.task,
            version: None,
            attempts: if orphan.attempt.uncertain == Cost::ZERO || failpoint!("orphans-cost-nothing") {
                &[]
            } else {
                std::slice::from_ref(&orphan.attempt)
            },
            completed: false,
        };
        ledger::write(c, &spent, orphan.run, Use::Nothing)?;
    }
    Ok(())
}

/// A reservation whose process crashed.
struct Orphan {
    run: i64,
    lease: Lease,
    task: TaskNo,
    attempt: Attempt,
}

fn orphans(c: &Connection, now: i64) -> Result<Vec<Orphan>, JobFault> {
    let mut query = c.prepare(
        "SELECT queue_id, run_id, fence, task_index, route, model, spent+in_flight, created_at, lane
         FROM nova3_reservations o WHERE NOT EXISTS(SELECT 1 FROM nova3_tasks t
           WHERE t.queue_id=o.queue_id AND t.fence=o.fence AND t.status='submitted')",
    )?;
    let rows = query.query_map([], |row| {
        let started_at: i64 = row.get(7)?;
        Ok(Orphan {
            lease: Lease {
                queue_id: row.get(0)?,
                fence: row.get(2)?,
            },
            run: row.get(1)?,
            task: TaskNo(row.get(3)?),
            attempt: Attempt {
                route: row.get(4)?,
                model: row.get(5)?,
                lane: Lane::of_tier(Some(&row.get::<_, String>(8)?)),
                end: CallEnd::Abandoned,
                used: false,
                status_code: None,
                usage: Usage::default(),
                cost: Some(Cost::ZERO),
                uncertain: Cost(row.get(6)?),
                started_at,
                duration_ms: u64::try_from(now.saturating_sub(started_at)).unwrap_or(0),
                first_token_ms: None,
            },
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Adds a call to the waste of its run.
pub(super) fn note_waste(c: &Connection, run: i64, attempt: &Attempt) -> Result<(), JobFault> {
    c.prepare_cached(
        "INSERT INTO nova3_waste(run_id, route, cause, calls, input_tokens, output_tokens, cost, uncertain)
         VALUES(?1,?2,?3,1,?4,?5,?6,?7)
         ON CONFLICT DO UPDATE SET calls=calls+1, input_tokens=input_tokens+excluded.input_tokens,
           output_tokens=output_tokens+excluded.output_tokens, cost=min(cost+excluded.cost,?8),
           uncertain=min(uncertain+excluded.uncertain,?8)",
    )?
    .execute(params![
        run,
        attempt.route,
        attempt.end.cause().unwrap_or(REPEATED),
        attempt.usage.input_tokens,
        attempt.usage.output_tokens,
        attempt.cost.unwrap_or(Cost::ZERO).0,
        attempt.uncertain.0,
        Cost::MOST.0,
    ])?;
    Ok(())
}

pub(super) fn waste(c: &Connection, run: RunId) -> Result<Vec<Waste>, JobFault> {
    let mut query = c.prepare_cached(
        "SELECT route, cause, calls, input_tokens, output_tokens, cost, uncertain FROM nova3_waste WHERE run_id=?1
         ORDER BY cost+uncertain DESC, calls DESC, route, cause",
    )?;
    let rows = query.query_map([run.0], |row| {
        Ok(Waste {
            route: row.get(0)?,
            cause: row.get(1)?,
            calls: row.get(2)?,
            input_tokens: row.get(3)?,
            output_tokens: row.get(4)?,
            cost: Cost(row.get(5)?),
            uncertain: Cost(row.get(6)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn note_routes(c: &Connection, run: RunId, routes: &[RouteState]) -> Result<(), JobFault> {
    let mut upsert = c.prepare_cached(
        "INSERT INTO nova3_routes(run_id, route, state, reason, since) VALUES(?1,?2,?3,?4,?5)
         ON CONFLICT DO UPDATE SET state=excluded.state, reason=excluded.reason, since=excluded.since,
           open_ms=open_ms+CASE WHEN state IN('open','half_open') THEN max(excluded.since-since,0) ELSE 0 END",
    )?;
    for route in routes {
        upsert.execute(params![
            run.0,
            route.route,
            route.state,
            route.reason,
            route.since
        ])?;
    }
    Ok(())
}

pub(super) fn routes(c: &Connection, run: RunId) -> Result<Vec<RouteState>, JobFault> {
    let mut query = c.prepare_cached(
        "SELECT route, state, reason, since, open_ms FROM nova3_routes WHERE run_id=?1 ORDER BY route",
    )?;
    let mut rows = query.query([run.0])?;
    let mut routes = Vec::new();
    while let Some(row) = rows.next()? {
        let found: String = row.get(1)?;
        let state = ROUTE_STATES
            .into_iter()
            .find(|state| *state == found)
            .ok_or_else(|| JobFault::Row(format!("a route is `{found}`")))?;
        routes.push(RouteState {
            route: row.get(0)?,
            state,
            reason: row.get(2)?,
            since: row.get(3)?,
            open_ms: row.get(4)?,
        });
    }
    Ok(routes)
}
