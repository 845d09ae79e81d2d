//! The budget of a run, its calls without a result, and the state of its routes.

use async_trait::async_trait;

use super::PostgresStore;
use super::batch::BatchEntry;
use super::fault::JobFault;
use super::rows::int;
use crate::domain::tally::{ROUTE_STATES, RouteState, RunSummary, Waste};
use crate::domain::usage::Cost;
use crate::postgres::{Connection, Database, Param, PgText, Within, text};
use crate::store::{Budget, Hold, Reservation, RunId, StoreError};

#[async_trait]
impl Budget for PostgresStore {
    async fn reserve(&self, _: RunId, reservation: &Reservation, cap: Cost) -> Result<Hold, StoreError> {
        let reservation = reservation.clone();
        self.reservations.write(Capped { reservation, cap }).await
    }

    async fn summary(&self, run: RunId) -> Result<RunSummary, StoreError> {
        job!(self, |c| super::counting::summary(c, run))
    }

    async fn waste(&self, run: RunId) -> Result<Vec<Waste>, StoreError> {
        job!(self, |c| waste(c, run))
    }

    async fn note_routes(&self, run: RunId, routes: Vec<RouteState>) -> Result<(), StoreError> {
        let routes = &routes;
        job!(self, |c| note_routes(c, run, routes))
    }

    async fn routes(&self, run: RunId) -> Result<Vec<RouteState>, StoreError> {
        job!(self, |c| routes(c, run))
    }
}

/// A reservation below a cost cap.
#[derive(Debug)]
pub(super) struct Capped {
    pub(super) reservation: Reservation,
    pub(super) cap: Cost,
}

#[async_trait]
impl BatchEntry for Capped {
    type Answer = Hold;

    fn queue(&self) -> i64 {
        self.reservation.lease.queue_id
    }

    fn terms(&self) -> u64 {
        self.cap.0
    }

    fn bytes(&self) -> usize {
        0
    }

    async fn write(
        database: &Database,
        run: i64,
        group: &[&Self],
        _: &[i64],
        within: Within,
    ) -> Result<Vec<Hold>, JobFault> {
        let Some(first) = group.first() else {
            return Ok(Vec::new());
        };
        let each = || group.iter().map(|one| &one.reservation);
        let queues: Vec<i64> = each().map(|one| one.lease.queue_id).collect();
        let fences: Vec<i64> = each().map(|one| one.lease.fence).collect();
        let tasks: Vec<i32> = each().map(|one| one.task.0).collect();
        let routes: Vec<String> = each().map(|one| text(&one.route)).collect();
        let models: Vec<String> = each().map(|one| text(&one.model)).collect();
        let lanes: Vec<String> = each().map(|one| one.lane.as_str().to_owned()).collect();
        let spent: Vec<i64> = each().map(|one| int(one.spent.0)).collect();
        let worst: Vec<i64> = each().map(|one| int(one.worst.0)).collect();
        let mut connection = database.connect_within(within).await?;
        let rows = connection
            .rows(
                "SELECT outcome FROM nova3_reserve($1,$2,$3,$4,$5,$6,$7,$8,$9,$10) ORDER BY ord",
                &[
                    run.sent(),
                    queues.sent(),
                    fences.sent(),
                    tasks.sent(),
                    routes.sent(),
                    models.sent(),
                    lanes.sent(),
                    spent.sent(),
                    worst.sent(),
                    int(first.cap.0).sent(),
                ],
            )
            .await?;
        connection.end_within().await?;
        rows.iter().map(|row| hold(row.get(0))).collect()
    }
}

fn hold(outcome: &str) -> Result<Hold, JobFault> {
    match outcome {
        "held" => Ok(Hold::Held),
        "lost" => Ok(Hold::LostLease),
        found @ ("others" | "nobody") => Ok(Hold::NoRoom {
            others_hold: found == "others",
        }),
        found => Err(JobFault::Row(format!("a reservation ended `{found}`"))),
    }
}

pub(super) async fn waste(c: &mut Connection, run: RunId) -> Result<Vec<Waste>, JobFault> {
    let rows = c
        .rows(
            "SELECT route, cause, calls, input_tokens, output_tokens, cost, uncertain FROM nova3_waste WHERE run_id = $1
             ORDER BY cost + uncertain DESC, calls DESC, route, cause",
            &[run.0.sent()],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let sum = |column: usize| row.get::<_, i64>(column).max(0).unsigned_abs();
            Waste {
                route: row.get::<_, PgText>(0).0,
                cause: row.get(1),
                calls: sum(2),
                input_tokens: sum(3),
                output_tokens: sum(4),
                cost: Cost(sum(5)),
                uncertain: Cost(sum(6)),
            }
        })
        .collect())
}

pub(super) async fn note_routes(
    c: &mut Connection,
    run: RunId,
    routes: &[RouteState],
) -> Result<(), JobFault> {
    for route in routes {
        c.execute(
            "INSERT INTO nova3_routes AS r (run_id, route, state, reason, since) VALUES ($1,$2,$3,$4,$5)
             ON CONFLICT (run_id, route) DO UPDATE SET state = excluded.state, reason = excluded.reason,
               since = excluded.since, open_ms = r.open_ms
                 + CASE WHEN r.state IN ('open','half_open') THEN greatest(excluded.since - r.since, 0) ELSE 0 END",
            &[
                run.0.sent(),
                text(&route.route).sent(),
                route.state.sent(),
                route.reason.as_deref().map(text).sent(),
                route.since.sent(),
            ],
        )
        .await?;
    }
    Ok(())
}

pub(super) async fn routes(c: &mut Connection, run: RunId) -> Result<Vec<RouteState>, JobFault> {
    let rows = c
        .rows(
            "SELECT route, state, reason, since, open_ms FROM nova3_routes WHERE run_id = $1 ORDER BY route",
            &[run.0.sent()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let found: &str = row.get(1);
            let state = ROUTE_STATES
                .into_iter()
                .find(|state| *state == found)
                .ok_or_else(|| JobFault::Row(format!("a route is `{found}`")))?;
            Ok(RouteState {
                route: row.get::<_, PgText>(0).0,
                state,
                reason: row.get::<_, Option<PgText>>(2).map(|reason| reason.0),
                since: row.get(3),
                open_ms: row.get::<_, i64>(4).unsigned_abs(),
            })
        })
        .collect()
}
