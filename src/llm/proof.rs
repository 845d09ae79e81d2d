//! Waits for proof: is a refused request at fault, or its route?

use std::sync::Arc;

use super::call::is_about_the_route;
use super::client::{CallFailure, Stopped};
use super::evidence::RouteProof;
use super::route::Route;
use super::selector::RouteSelector;
use super::wire::CallError;
use crate::domain::failure::{Class, Verdict};

/// The question that a request without an answer waits for.
enum Doubt {
    /// Do other requests get the same refusal?
    Refusal {
        /// Whether the refusal is about the model that a Batch line names.
        of_model: bool,
    },
    /// Do other requests meet the server failure too?
    Outage,
}

impl Doubt {
    fn of(with: &CallFailure) -> Option<Self> {
        let error = &with.error;
        match error.verdict {
            Verdict::Latch => Some(Self::Refusal {
                of_model: with.response.is_some() && !is_about_the_route(error),
            }),
            Verdict::Final if error.class == Class::BadRequest && error.status.is_some() => {
                Some(Self::Refusal { of_model: false })
            }
            Verdict::Retry if error.status.is_some_and(|status| status >= 500) => Some(Self::Outage),
            _ => None,
        }
    }
}

/// Latches the route: it is dead for this run.
pub(super) fn latch(route: &Route, error: CallError) {
    tracing::warn!(
        llm.route = route.settings.name,
        "the route is dead for this run: {}",
        error.message
    );
    route.latch(error);
}

impl RouteSelector<'_> {
    /// Decides whether the request or the route is at fault. The request is held, and its slot is free, until that is
    /// known.
    pub(super) async fn proof(&self, route: &Arc<Route>, with: &CallFailure) -> Result<RouteProof, Stopped> {
        let (Some(doubt), Some(request)) = (Doubt::of(with), self.stop.request) else {
            return Ok(RouteProof::OfRequest);
        };
        let error = &with.error;
        let answers = route.evidence.answers();
        match doubt {
            Doubt::Refusal { of_model } => match route.evidence.refused(Some(request), error, of_model) {
                RouteProof::OfRoute => {
                    latch(route, error.clone());
                    return Ok(RouteProof::OfRoute);
                }
                RouteProof::OfRequest => return Ok(RouteProof::OfRequest),
                RouteProof::None => {}
            },
            // The route has answered before, and other requests meet the failure too. There is nothing to wait for.
            Doubt::Outage if answers > 0 && !route.evidence.failed(Some(request)) => {
                return Ok(RouteProof::OfRequest);
            }
            Doubt::Outage => {}
        }
        let mut held = self.stop.doubts.hold();
        loop {
            let mut changes = self.client.changes.subscribe();
            if route.latched().is_some() {
                return Ok(RouteProof::OfRoute);
            }
            if route.evidence.answers() != answers {
                return Ok(RouteProof::OfRequest);
            }
            if matches!(doubt, Doubt::Outage) && route.evidence.several_fail() {
                return Ok(RouteProof::OfRoute);
            }
            tokio::select! {
                biased;
                () = self.stop.drain.cancelled() => return Err(Stopped::Ending),
                changed = changes.changed() => drop(changed),
                () = held.released() => break,
            }
        }
        let Doubt::Refusal { of_model } = doubt else {
            return Ok(RouteProof::OfRequest);
        };
        let proof = route.evidence.verdict(error, of_model);
        if proof == RouteProof::OfRoute {
            latch(route, error.clone());
        }
        Ok(proof)
    }
}
