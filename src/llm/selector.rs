//! Selects the routes of a chain for one task: the route to use, the time to wait, and the end when no route is left.
//!
//! A task does not fail because all routes are down: it waits for the first route that recovers, up to `--give-up`.
//! `call.rs` makes the call on the chosen route.

use std::sync::Arc;

use tokio::time::Instant;

use super::client::{CallFailure, Chain, ChainError, Client, RouteError, Stop, Stopped};
use super::cost_reservation::CostReservation;
use super::evidence::RouteProof;
use super::mark::Marks;
use super::route::{Gate, Route, RouteStatus, Shut};
use crate::clock;
use crate::domain::failure::Verdict;
use crate::domain::outcome::{Attempt, Fallback};
use crate::observe::{CallFact, TaskEvents};

/// Selects routes of a chain for one task, and keeps every call of the task.
pub struct RouteSelector<'a> {
    pub(super) client: &'a Client,
    chain: &'a Chain,
    pub(super) stop: &'a Stop,
    pub(super) reservation: Option<&'a dyn CostReservation>,
    /// The crash mark of a request that was in flight at a crash.
    pub(super) marks: Option<&'a dyn Marks>,
    /// Publishes the events of its calls, if any sink receives them.
    pub(super) events: Option<&'a TaskEvents>,
    left: Vec<FailedRoute>,
    /// The position of the route that was chosen last.
    chosen: usize,
    /// Whether a route without a model is unusable.
    needs_model: bool,
    /// The skipped routes before the chosen one, each with the reason.
    passed: Vec<(String, String)>,
    /// Every call, oldest first.
    pub attempts: Vec<Attempt>,
    /// Milliseconds of all calls, including waits.
    pub duration_ms: u64,
    /// The model of the last call.
    pub asked: Option<String>,
}

/// A route that has failed this task.
struct FailedRoute {
    route: Arc<Route>,
    with: CallFailure,
}

impl FailedRoute {
    /// Takes the causes before the last error of the route, each with the route's name.
    fn told_causes(&mut self) -> Vec<String> {
        let name = &self.route.settings.name;
        let causes = std::mem::take(&mut self.with.causes);
        causes
            .into_iter()
            .map(|cause| format!("`{name}`: {cause}"))
            .collect()
    }
}

/// Permission for the probe of an open route. It is given back on drop unless it was used.
pub(super) struct Probe<'a>(Option<&'a Route>);

impl Probe<'_> {
    pub(super) const fn is_one(&self) -> bool {
        self.0.is_some()
    }

    /// Marks the probe as used: the call has reported its end to the breaker.
    pub(super) const fn over(&mut self) {
        self.0 = None;
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if let Some(route) = self.0.take() {
            route.probe_given_up();
        }
    }
}

impl<'a> RouteSelector<'a> {
    pub(super) fn new(
        client: &'a Client,
        chain: &'a Chain,
        stop: &'a Stop,
        reservation: Option<&'a dyn CostReservation>,
        marks: Option<&'a dyn Marks>,
    ) -> Self {
        Self {
            client,
            chain,
            stop,
            reservation,
            marks,
            events: None,
            left: Vec::new(),
            chosen: 0,
            needs_model: false,
            passed: Vec::new(),
            attempts: Vec::new(),
            duration_ms: 0,
            asked: None,
        }
    }

    /// Returns the selector for calls to a route's own model. Routes without a model are skipped.
    #[must_use]
    pub const fn to_models(mut self) -> Self {
        self.needs_model = true;
        self
    }

    /// Returns the selector with a publisher for the events of its calls.
    #[must_use]
    pub const fn publishing(mut self, events: Option<&'a TaskEvents>) -> Self {
        self.events = events;
        self
    }

    /// Publishes an event of a call, if any sink receives it.
    pub(super) fn publish(&self, fact: impl FnOnce() -> CallFact) {
        if let Some(events) = self.events {
            events.call(fact());
        }
    }

    /// Returns the first choice of the chain, even if it is unusable.
    pub fn first(&self) -> &'a Arc<Route> {
        self.chain.first()
    }

    /// Whether calls are reserved under a cost cap.
    pub const fn is_capped(&self) -> bool {
        self.reservation.is_some()
    }

    /// Returns the route to use now: the first free one, else the one that is free soonest. `Err` if the task has
    /// failed on all routes, or the remaining routes are dead.
    pub fn route(&mut self) -> Result<Arc<Route>, ChainError> {
        let now = Instant::now();
        let known = if failpoint!("first-route-only") {
            1
        } else {
            usize::MAX
        };
        let routes = self.chain.routes.iter().enumerate().take(known);
        let usable = routes.filter(|(_, route)| self.is_open_to_us(route));
        // No obstacle sorts first. Next is a probe in flight, which may return at any moment, then the earliest time.
        let chosen = usable
            .map(|(place, route)| (self.obstacle(route, now).map(|shut| shut.until), place))
            .min();
        let Some((_, place)) = chosen else {
            return Err(self.nowhere());
        };
        self.passed = self.chain.routes[..place]
            .iter()
            .map(|route| (route.settings.name.clone(), self.why_not(route)))
            .collect();
        let before = std::mem::replace(&mut self.chosen, place);
        if before < place {
            let from = &self.chain.routes[before];
            self.publish(|| CallFact::FailedOver {
                from: from.settings.name.clone(),
                to: self.chain.routes[place].settings.name.clone(),
                message: self.why_not(from),
            });
        }
        Ok(Arc::clone(&self.chain.routes[place]))
    }

    /// Returns why the task is not done on the first route of its chain, if that is so.
    pub fn fallback(&self) -> Option<Fallback> {
        let (from, reason) = self.passed.first()?;
        let reason = match self.passed.as_slice() {
            [_] => reason.clone(),
            several => told(several),
        };
        Some(Fallback {
            from: from.clone(),
            reason,
        })
    }

    /// Leaves a route after a failure. Returns the end of the task; `None` if the task continues on another route or
    /// on the same one. Waits while it is not known whether the task or the route is at fault.
    pub async fn leave(&mut self, route: &Arc<Route>, ended: RouteError) -> Option<ChainError> {
        let with = match ended {
            RouteError::Elsewhere => return None,
            RouteError::Stopped(why) => return Some(ChainError::Stopped(why)),
            RouteError::Failed(with) => *with,
        };
        match self.proof(route, &with).await {
            Ok(RouteProof::OfRoute) => return None,
            Ok(RouteProof::OfRequest | RouteProof::None) => {}
            Err(stopped) => return Some(ChainError::Stopped(stopped)),
        }
        let is_final = with.error.verdict == Verdict::Final;
        self.left.push(FailedRoute {
            route: Arc::clone(route),
            with,
        });
        if is_final || !self.chain.routes.iter().any(|other| self.is_open_to_us(other)) {
            return Some(self.nowhere());
        }
        None
    }

    /// Waits until the route may be called. `Elsewhere` means that another route should be used.
    pub(super) async fn pass<'r>(&self, route: &'r Route) -> Result<Probe<'r>, RouteError> {
        loop {
            if self.stop.drain.is_cancelled() {
                return Err(RouteError::Stopped(Stopped::Ending));
            }
            if route.latched().is_none() && matches!(route.look(Instant::now()), Gate::Free) {
                return Ok(Probe(None));
            }
            // Subscribe before the check, or a change in between is lost.
            let mut changes = self.client.changes.subscribe();
            if route.latched().is_some() {
                return Err(RouteError::Elsewhere);
            }
            let now = Instant::now();
            let shut = match route.enter(now) {
                Gate::Free => return Ok(Probe(None)),
                Gate::Probe => return Ok(Probe(Some(route))),
                Gate::Shut(shut) => shut,
            };
            let is_free =
                |other: &Arc<Route>| self.is_open_to_us(other) && self.obstacle(other, now).is_none();
            if self.is_obstacle(&shut, now) && self.chain.routes.iter().any(is_free) {
                return Err(RouteError::Elsewhere);
            }
            if let Some(stopped) = self.gave_up(now) {
                return Err(stopped);
            }
            let until = [shut.until, self.give_up()].into_iter().flatten().min();
            tokio::select! {
                biased;
                () = self.stop.drain.cancelled() => {}
                () = clock::sleep_until(until) => {}
                changed = changes.changed() => drop(changed),
            }
        }
    }

    /// Whether the route can serve this task: it is not dead, has not failed the task, and has the model that the task
    /// needs.
    fn is_open_to_us(&self, route: &Route) -> bool {
        route.latched().is_none()
            && !self.has_no_model(route)
            && !self
                .left
                .iter()
                .any(|left| left.route.settings.name == route.settings.name)
    }

    fn has_no_model(&self, route: &Route) -> bool {
        self.needs_model && route.settings.model.is_none()
    }

    /// Returns the obstacle of a route now; short pauses do not count.
    fn obstacle(&self, route: &Route, now: Instant) -> Option<Shut> {
        match route.look(now) {
            Gate::Free | Gate::Probe => None,
            Gate::Shut(shut) => Some(shut).filter(|shut| self.is_obstacle(shut, now)),
        }
    }

    fn is_obstacle(&self, shut: &Shut, now: Instant) -> bool {
        let short = |until: Instant| until.saturating_duration_since(now) <= self.client.patience;
        !(shut.paused && shut.until.is_some_and(short))
    }

    /// Returns since when all remaining routes of the task are out of use; `None` if one of them is in use.
    fn down_since(&self) -> Option<Instant> {
        let usable = self.chain.routes.iter().filter(|route| self.is_open_to_us(route));
        let since: Option<Vec<Instant>> = usable.map(|route| route.down_since()).collect();
        since?.into_iter().max()
    }

    /// Returns when all routes of the task will have been out of use for too long; `None` if one of them is in use.
    fn give_up(&self) -> Option<Instant> {
        let patience = if failpoint!("gives-up-at-once") {
            std::time::Duration::ZERO
        } else {
            self.client.give_up
        };
        self.down_since()?.checked_add(patience)
    }

    /// Returns the end of the task if all its routes have been out of use for too long.
    pub(super) fn gave_up(&self, now: Instant) -> Option<RouteError> {
        let over = self.give_up().is_some_and(|moment| moment <= now);
        over.then(|| {
            let reason = self.all_reasons();
            RouteError::Stopped(Stopped::GaveUp { reason })
        })
    }

    /// Returns the end of a task without any route left: it failed on some, or all are dead.
    fn nowhere(&mut self) -> ChainError {
        let Some(mut last) = self.left.pop() else {
            let reason = self.all_reasons();
            return ChainError::Stopped(Stopped::NoRoute { reason });
        };
        if self.chain.routes.len() > 1 {
            let mut causes = Vec::new();
            for left in &mut self.left {
                causes.extend(left.told_causes());
                causes.push(format!(
                    "`{}`: {}",
                    left.route.settings.name, left.with.error.message
                ));
            }
            for dead in &self.chain.routes {
                if let Some(error) = dead.latched() {
                    causes.push(format!(
                        "`{}` is dead for this run: {}",
                        dead.settings.name, error.message
                    ));
                }
            }
            causes.extend(last.told_causes());
            last.with.causes = causes;
        }
        ChainError::Failed(Box::new(last.with))
    }

    /// Returns why the route is not used.
    fn why_not(&self, route: &Route) -> String {
        if let Some(left) = self
            .left
            .iter()
            .find(|left| left.route.settings.name == route.settings.name)
        {
            return left.with.error.message.clone();
        }
        if self.has_no_model(route) {
            return "it names no model (set `OPENAI_MODEL`, `-m`, or `model` of the route)".to_owned();
        }
        match route.standing() {
            RouteStatus::Latched { reason }
            | RouteStatus::Open { reason, .. }
            | RouteStatus::HalfOpen { reason }
            | RouteStatus::Paused { reason, .. } => reason,
            RouteStatus::Free | RouteStatus::Limited { .. } => "it was out of use a moment before".to_owned(),
        }
    }

    fn all_reasons(&self) -> String {
        let reasons: Vec<(String, String)> = self
            .chain
            .routes
            .iter()
            .map(|route| (route.settings.name.clone(), self.why_not(route)))
            .collect();
        told(&reasons)
    }
}

fn told(reasons: &[(String, String)]) -> String {
    let each: Vec<String> = reasons
        .iter()
        .map(|(route, reason)| format!("route `{route}`: {reason}"))
        .collect();
    each.join("; ")
}
