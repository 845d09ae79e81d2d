//! Selects the routes of a chain for one task: which route it takes, when it waits, and when no route is left.
//!
//! Nothing fails because all routes are down: then the task waits for the first that comes back, up to `--give-up`.
//! A call on the chosen route is made in `call.rs`.

use std::sync::Arc;

use tokio::time::Instant;

use super::client::{CallFailure, Chain, ChainError, Client, RouteError, Stop, Stopped};
use super::cost_reservation::CostReservation;
use super::evidence::Proof;
use super::mark::Marks;
use super::route::{Gate, Route, Shut, Standing};
use crate::clock;
use crate::domain::failure::Verdict;
use crate::domain::outcome::{Attempt, Fallback};

/// Selects routes of a chain for one task, and keeps every call that was made for it.
pub struct RouteSelector<'a> {
    pub(super) client: &'a Client,
    chain: &'a Chain,
    pub(super) stop: &'a Stop,
    pub(super) reservation: Option<&'a dyn CostReservation>,
    /// The crash mark of a request that was in flight at a crash.
    pub(super) marks: Option<&'a dyn Marks>,
    left: Vec<Left>,
    /// Whether a route without a model is of no use.
    needs_model: bool,
    /// Why the routes before the chosen one were not chosen.
    passed: Vec<(String, String)>,
    /// Every call, oldest first.
    pub attempts: Vec<Attempt>,
    /// Milliseconds of all asking, waits included.
    pub duration_ms: u64,
    /// The model that was asked last.
    pub asked: Option<String>,
}

/// A route that has failed this task.
struct Left {
    route: Arc<Route>,
    with: CallFailure,
}

impl Left {
    /// What went wrong on the route before its last error, under its name; nothing is left of it.
    fn told_causes(&mut self) -> Vec<String> {
        let name = &self.route.settings.name;
        let causes = std::mem::take(&mut self.with.causes);
        causes
            .into_iter()
            .map(|cause| format!("`{name}`: {cause}"))
            .collect()
    }
}

/// Leave to go to see whether an open route is well again; given back unless it was used.
pub(super) struct Probe<'a>(Option<&'a Route>);

impl Probe<'_> {
    pub(super) const fn is_one(&self) -> bool {
        self.0.is_some()
    }

    /// The call has told the breaker how it ended.
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
            left: Vec::new(),
            needs_model: false,
            passed: Vec::new(),
            attempts: Vec::new(),
            duration_ms: 0,
            asked: None,
        }
    }

    /// The same for calls that ask a route's own model: a route that names none is passed over.
    #[must_use]
    pub const fn to_models(mut self) -> Self {
        self.needs_model = true;
        self
    }

    /// The first choice of the chain, whether it can be used or not.
    pub fn first(&self) -> &'a Arc<Route> {
        self.chain.first()
    }

    /// Whether calls are reserved under a cost cap.
    pub const fn is_capped(&self) -> bool {
        self.reservation.is_some()
    }

    /// The route to take now: the first that is free, else the one that will be free first. Without any, the task has
    /// failed on all of them, or all that are left are dead.
    pub fn route(&mut self) -> Result<Arc<Route>, ChainError> {
        let now = Instant::now();
        let known = if failpoint!("first-route-only") {
            1
        } else {
            usize::MAX
        };
        let routes = self.chain.routes.iter().enumerate().take(known);
        let usable = routes.filter(|(_, route)| self.is_open_to_us(route));
        // No obstacle is less than one; a probe on its way, which may be back at any moment, less than a wait.
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
        Ok(Arc::clone(&self.chain.routes[place]))
    }

    /// Why the task is not done on the first route of its chain, if that is so.
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

    /// The task came to no end on the route. Answers what that means for it; `None`, if it goes on with another, or with
    /// the same one. Where it is not known whether the task or the route is at fault, it waits until it is.
    pub async fn leave(&mut self, route: &Arc<Route>, ended: RouteError) -> Option<ChainError> {
        let with = match ended {
            RouteError::Elsewhere => return None,
            RouteError::Stopped(why) => return Some(ChainError::Stopped(why)),
            RouteError::Failed(with) => *with,
        };
        match self.proof(route, &with).await {
            Ok(Proof::OfRoute) => return None,
            Ok(Proof::OfRequest | Proof::None) => {}
            Err(stopped) => return Some(ChainError::Stopped(stopped)),
        }
        let is_final = with.error.verdict == Verdict::Final;
        self.left.push(Left {
            route: Arc::clone(route),
            with,
        });
        if is_final || !self.chain.routes.iter().any(|other| self.is_open_to_us(other)) {
            return Some(self.nowhere());
        }
        tracing::info!(llm.route = route.settings.name, "the next route is tried");
        None
    }

    /// Waits until the route may be called, or says that another should be.
    pub(super) async fn pass<'r>(&self, route: &'r Route) -> Result<Probe<'r>, RouteError> {
        loop {
            if self.stop.drain.is_cancelled() {
                return Err(RouteError::Stopped(Stopped::Ending));
            }
            if route.latched().is_none() && matches!(route.look(Instant::now()), Gate::Free) {
                return Ok(Probe(None));
            }
            // Before the next look, so that no change is lost between it and the wait.
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

    /// Whether the route is neither dead nor has failed this task.
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

    /// What keeps calls from the route now, short pauses aside.
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

    /// Since when all routes that are left to the task have been out of use; `None` if one is not.
    fn down_since(&self) -> Option<Instant> {
        let usable = self.chain.routes.iter().filter(|route| self.is_open_to_us(route));
        let since: Option<Vec<Instant>> = usable.map(|route| route.down_since()).collect();
        since?.into_iter().max()
    }

    /// When the task's routes will have been out of use for too long, if all of them are.
    fn give_up(&self) -> Option<Instant> {
        let patience = if failpoint!("gives-up-at-once") {
            std::time::Duration::ZERO
        } else {
            self.client.give_up
        };
        self.down_since()?.checked_add(patience)
    }

    /// Whether they have.
    pub(super) fn gave_up(&self, now: Instant) -> Option<RouteError> {
        let over = self.give_up().is_some_and(|moment| moment <= now);
        over.then(|| {
            let reason = self.all_reasons();
            RouteError::Stopped(Stopped::GaveUp { reason })
        })
    }

    /// The end of a task that has no route left: it failed on some, or all are dead.
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

    /// Why the route is not taken.
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
            Standing::Latched { reason }
            | Standing::Open { reason, .. }
            | Standing::HalfOpen { reason }
            | Standing::Paused { reason, .. } => reason,
            Standing::Free | Standing::Limited { .. } => "it was out of use a moment before".to_owned(),
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
