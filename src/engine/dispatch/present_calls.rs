//! The calls at this moment, for the display: each route with its traffic and its state, and the slowest call.

use std::sync::Arc;

use super::Dispatcher;
use crate::engine::dispatch::progress_counters::PresentCalls;
use crate::engine::work::budget::CostBudget;
use crate::llm::{Route, RouteStatus};
use crate::observe::{RouteTraffic, SlowestCall};

impl Dispatcher<'_> {
    /// The present calls, and messages about everything that the run waits for.
    pub(super) fn present_calls(&self) -> PresentCalls {
        let routes: Vec<RouteTraffic> = self.services.client.routes().iter().map(traffic).collect();
        let slowest = routes
            .iter()
            .filter_map(|traffic| Some((traffic, traffic.slowest?)))
            .max_by_key(|(_, call)| call.age)
            .map(|(traffic, call)| SlowestCall {
                request: call
                    .queue
                    .and_then(|queue| self.slots.label(queue))
                    .map(str::to_owned),
                route: traffic.route.clone(),
                age: call.age,
            });
        PresentCalls {
            running: self.slots.calling(),
            queues: self.slots.queues(),
            memory_limit: self.memory.limit(),
            waits: self.waits(),
            routes,
            slowest,
        }
    }

    /// Messages about everything that the run waits for, beside its routes.
    fn waits(&self) -> Vec<String> {
        let mut waits = self.slots.waits(self.ingested);
        waits.extend(self.memory.wait());
        waits.extend(self.tools.store.trouble());
        let queueing = self.tools.cost_budget.as_ref().map_or(0, CostBudget::queueing);
        if queueing > 0 {
            waits.push(format!("{queueing} calls wait for money below the cost cap"));
        }
        waits
    }
}

/// The traffic of a route, with its state.
fn traffic(route: &Arc<Route>) -> RouteTraffic {
    let (state, wait) = match route.standing() {
        RouteStatus::Free => ("closed", None),
        RouteStatus::Limited { calls } => ("closed", Some(format!("{calls} wait for its limits"))),
        RouteStatus::Paused { left, reason } => (
            "paused",
            Some(format!(
                "asked for a pause, {} s left: {reason}",
                left.as_secs() + 1
            )),
        ),
        RouteStatus::Open { left, reason } => (
            "open",
            Some(format!("down, tried again in {} s: {reason}", left.as_secs() + 1)),
        ),
        RouteStatus::HalfOpen { reason } => ("half_open", Some(format!("is being tried: {reason}"))),
        RouteStatus::Latched { reason } => ("latched", Some(format!("dead for this run: {reason}"))),
    };
    RouteTraffic {
        state,
        wait,
        ..route.traffic()
    }
}
