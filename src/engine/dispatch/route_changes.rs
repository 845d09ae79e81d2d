//! Reports changed states of routes to people and to the store.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock;
use crate::domain::tally::RouteState;
use crate::engine::dispatch::background_writes::BackgroundWrites;
use crate::engine::job::Services;
use crate::llm::{Route, RouteStatus};
use crate::observe::RunEvent;
use crate::store::RunId;

/// The states of the routes when they were last checked.
#[derive(Debug, Default)]
pub(in crate::engine) struct RouteChanges(HashMap<String, &'static str>);

impl RouteChanges {
    /// Reports warnings and changed states as events, and writes the states to the store.
    pub(in crate::engine) fn tell(
        &mut self,
        services: &Services,
        run: RunId,
        background_writes: &mut BackgroundWrites,
    ) {
        for route in services.client.routes() {
            for warning in route.take_warnings() {
                let route = route.settings.name.clone();
                services
                    .events
                    .publish_run(RunEvent::RouteWarned { route, warning });
            }
        }
        let changes = self.changes(services.client.routes());
        if changes.is_empty() {
            return;
        }
        // If all routes are dead the run ends, and its closing line gives the reason.
        let all_dead = services
            .client
            .routes()
            .iter()
            .all(|route| route.latched().is_some());
        for change in changes.iter().filter(|_| !all_dead) {
            services
                .events
                .publish_run(RunEvent::RouteChanged(change.clone()));
        }
        let store = Arc::clone(&services.store);
        background_writes.send(async move { store.note_routes(run, changes).await });
    }

    /// The routes with a changed state. Routes that were never unhealthy are not reported.
    fn changes(&mut self, routes: &[Arc<Route>]) -> Vec<RouteState> {
        let mut changed = Vec::new();
        for route in routes {
            let (state, reason) = told(route.standing());
            let before = self.0.get(&route.settings.name).copied().unwrap_or(CLOSED);
            if state != before {
                self.0.insert(route.settings.name.clone(), state);
                changed.push(RouteState {
                    route: route.settings.name.clone(),
                    state,
                    reason,
                    since: clock::now_ms(),
                    open_ms: 0,
                });
            }
        }
        changed
    }
}

const CLOSED: &str = "closed";

fn told(standing: RouteStatus) -> (&'static str, Option<String>) {
    match standing {
        RouteStatus::Free | RouteStatus::Limited { .. } => (CLOSED, None),
        RouteStatus::Paused { reason, .. } => ("paused", Some(reason)),
        RouteStatus::Open { reason, .. } => ("open", Some(reason)),
        RouteStatus::HalfOpen { reason } => ("half_open", Some(reason)),
        RouteStatus::Latched { reason } => ("latched", Some(reason)),
    }
}
