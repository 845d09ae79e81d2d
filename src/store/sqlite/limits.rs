//! Per-minute limits and pauses, handed from one process to the next.
//!
//! Deliberately absent: a port. A shared store keeps its limits in the database (`limit/postgres`).

use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::fault::JobFault;
use crate::domain::pace::{Arrivals, LimitState, StoredPause};
use crate::store::StoreError;

impl SqliteStore {
    /// Returns the stored state of the route's limits at that server, if that server was the last one the route used.
    pub async fn limit_state(&self, route: &str, server: &str) -> Result<Option<LimitState>, StoreError> {
        let (route, server) = (route.to_owned(), server.to_owned());
        self.read(move |c| one(c, &route, &server)).await
    }

    /// The state of the route's limits at that server is durable. An arrival time that `state` leaves out stays as it
    /// was.
    pub async fn put_limit_state(
        &self,
        route: &str,
        server: &str,
        state: &LimitState,
    ) -> Result<(), StoreError> {
        let (route, server, state) = (route.to_owned(), server.to_owned(), state.clone());
        self.write(move |c| put(c, &route, &server, &state)).await
    }
}

fn one(c: &Connection, route: &str, server: &str) -> Result<Option<LimitState>, JobFault> {
    let row = c
        .prepare_cached(
            "SELECT requests_at, tokens_at, largest, pause_until, pause_ns, pause_reason FROM nova3_limits \
             WHERE route = ?1 AND server = ?2",
        )?
        .query_row([route, server], |row| {
            let pause = match (row.get(3)?, row.get(4)?, row.get(5)?) {
                (Some(until), Some(lasting), Some(reason)) => Some(StoredPause {
                    until,
                    lasting,
                    reason,
                }),
                _ => None,
            };
            Ok(LimitState {
                arrivals: Arrivals {
                    requests: row.get(0)?,
                    tokens: row.get(1)?,
                },
                largest: row.get(2)?,
                pause,
            })
        });
    Ok(row.optional()?)
}

fn put(c: &Connection, route: &str, server: &str, state: &LimitState) -> Result<(), JobFault> {
    let largest = i64::try_from(state.largest).unwrap_or(i64::MAX);
    let pause = state.pause.as_ref();
    // The limits of another server do not apply.
    c.prepare_cached("DELETE FROM nova3_limits WHERE route = ?1 AND server <> ?2")?
        .execute([route, server])?;
    c.prepare_cached(
        "INSERT INTO nova3_limits(route, server, requests_at, tokens_at, largest, pause_until, pause_ns, pause_reason)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT(route) DO UPDATE SET requests_at = coalesce(excluded.requests_at, requests_at),
           tokens_at = coalesce(excluded.tokens_at, tokens_at),
           largest = CASE WHEN excluded.tokens_at IS NULL THEN largest ELSE excluded.largest END,
           pause_until = excluded.pause_until, pause_ns = excluded.pause_ns, pause_reason = excluded.pause_reason",
    )?
    .execute(params![
        route,
        server,
        state.arrivals.requests,
        state.arrivals.tokens,
        largest,
        pause.map(|pause| pause.until),
        pause.map(|pause| pause.lasting),
        pause.map(|pause| pause.reason.as_str()),
    ])?;
    Ok(())
}
