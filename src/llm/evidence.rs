//! The proof in the refusals of a route: is one request at fault, or the route?
//!
//! A refused account is proof against the route at once. A clear refusal of the key, the address or the model is proof
//! at once if the route has never answered. Any other refusal is proof against the route only if several requests get
//! the same one without an answer in between. A refusal that does not latch counts against its request once the route
//! has answered.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::wire::CallError;
use crate::domain::failure::{Class, Verdict, kind_of};

/// Requests with the same refusal that prove a route dead which has never answered.
const SAME_REFUSALS: usize = 5;

/// Requests with the same refusal of key, address or model that prove a route dead.
const REFUSED_ALIKE: usize = 3;

/// Requests whose refusals are kept for one route.
const KEPT: usize = 64;

/// Requests with different refusals that are held at once.
const HELD: usize = 10;

/// The proof in a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteProof {
    /// The route is dead.
    OfRoute,
    /// The request is at fault.
    OfRequest,
    /// Neither is known yet.
    None,
}

/// Refusals and answers of one route in this process.
#[derive(Debug, Default)]
pub(super) struct Evidence(Mutex<EvidenceState>);

#[derive(Debug, Default)]
struct EvidenceState {
    answers: u64,
    /// Requests that were refused since the last answer, with a fingerprint of each refusal.
    refused: HashMap<i64, u64>,
    /// The first request that met a server failure since the last answer.
    first_failing: Option<i64>,
    /// Whether other requests have met one too.
    others_fail: bool,
}

impl Evidence {
    /// Records an answer of the route. Returns whether refusals were pending, so that waiting requests can decide.
    pub(super) fn answered(&self) -> bool {
        let mut state = self.state();
        state.answers += 1;
        (state.first_failing, state.others_fail) = (None, false);
        let decides = !state.refused.is_empty();
        state.refused.clear();
        decides
    }

    /// Returns the number of answers.
    pub(super) fn answers(&self) -> u64 {
        self.state().answers
    }

    /// Records a refusal of the request. Returns its proof.
    pub(super) fn refused(&self, request: Option<i64>, error: &CallError, of_model: bool) -> RouteProof {
        let mut state = self.state();
        let new = state.answers == 0;
        let latches = error.verdict == Verdict::Latch && !of_model;
        if !latches && !new {
            return RouteProof::OfRequest;
        }
        let Some(request) = request else {
            return if latches {
                RouteProof::OfRoute
            } else {
                RouteProof::OfRequest
            };
        };
        if latches && (error.class == Class::Quota || (new && is_clear(error))) {
            return RouteProof::OfRoute;
        }
        if !state.refused.contains_key(&request) && state.refused.len() >= KEPT {
            return RouteProof::OfRequest;
        }
        let told = fingerprint(error);
        state.refused.insert(request, told);
        let alike = state.refused.values().filter(|other| **other == told).count();
        let enough = if latches { REFUSED_ALIKE } else { SAME_REFUSALS };
        if alike >= enough {
            RouteProof::OfRoute
        } else if state.refused.len() > HELD {
            RouteProof::OfRequest
        } else {
            RouteProof::None
        }
    }

    /// Returns the proof of a refusal for which no more evidence will arrive.
    pub(super) fn verdict(&self, error: &CallError, of_model: bool) -> RouteProof {
        let latches = error.verdict == Verdict::Latch && !of_model;
        if latches && self.answers() == 0 && !is_page(error) {
            RouteProof::OfRoute
        } else {
            RouteProof::OfRequest
        }
    }

    /// Records a server failure of the request. Returns whether this is the only failing request since the last
    /// answer.
    pub(super) fn failed(&self, request: Option<i64>) -> bool {
        let mut state = self.state();
        let Some(request) = request else { return false };
        let first = *state.first_failing.get_or_insert(request);
        state.others_fail |= first != request;
        !state.others_fail
    }

    /// Whether several requests have met a server failure since the last answer.
    pub(super) fn several_fail(&self) -> bool {
        self.state().others_fail
    }

    fn state(&self) -> MutexGuard<'_, EvidenceState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a refusal alone is proof on a route that has never answered.
pub(super) fn is_clear(error: &CallError) -> bool {
    error.is_named || (!is_page(error) && !matches!(error.status, Some(403 | 404)))
}

/// Whether the answer is an HTML page instead of an API error, such as from a firewall.
pub(super) fn is_page(error: &CallError) -> bool {
    error.message.contains(": HTML page")
}

/// Returns a hash of a refusal's content.
fn fingerprint(error: &CallError) -> u64 {
    let mut hasher = DefaultHasher::new();
    (error.status, &error.code, kind_of(&error.message)).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, class: Class, verdict: Verdict, message: &str) -> CallError {
        let mut error = CallError::new(class, verdict, message);
        error.status = Some(status);
        error
    }

    fn told(message: &str) -> CallError {
        refused(400, Class::BadRequest, Verdict::Final, message)
    }

    #[test]
    fn five_requests_with_the_same_refusal_prove_it_of_a_route_that_has_never_answered() {
        let evidence = Evidence::default();
        let prove = |request| evidence.refused(Some(request), &told("Model Not Exist, id 0a1"), false);
        for request in [1, 2, 2, 2, 3, 4] {
            assert_eq!(prove(request), RouteProof::None);
        }
        assert_eq!(
            evidence.refused(Some(9), &told("another"), false),
            RouteProof::None
        );
        assert_eq!(prove(5), RouteProof::OfRoute);
        assert!(evidence.answered());
        assert_eq!(prove(6), RouteProof::OfRequest);
    }

    #[test]
    fn a_key_is_refused_at_once_on_a_new_route_and_by_several_requests_later() {
        let evidence = Evidence::default();
        let key = refused(401, Class::Auth, Verdict::Latch, "HTTP 401: no");
        assert_eq!(evidence.refused(Some(1), &key, false), RouteProof::OfRoute);
        assert!(!Evidence::default().answered());
        evidence.answered();
        assert_eq!(evidence.refused(Some(1), &key, false), RouteProof::None);
        assert_eq!(evidence.refused(Some(2), &key, false), RouteProof::None);
        assert_eq!(evidence.refused(Some(3), &key, false), RouteProof::OfRoute);
        let quota = refused(402, Class::Quota, Verdict::Latch, "HTTP 402: empty");
        assert_eq!(evidence.refused(Some(1), &quota, false), RouteProof::OfRoute);
    }

    #[test]
    fn a_page_for_one_request_proves_nothing_of_the_route() {
        let evidence = Evidence::default();
        let page = refused(
            403,
            Class::Auth,
            Verdict::Latch,
            "HTTP 403: HTML page, title `Blocked`",
        );
        assert_eq!(evidence.refused(Some(1), &page, false), RouteProof::None);
        assert_eq!(evidence.verdict(&page, false), RouteProof::OfRequest);
        let path = refused(404, Class::BadRequest, Verdict::Latch, "HTTP 404: no such path");
        assert_eq!(evidence.refused(Some(1), &path, false), RouteProof::None);
        assert_eq!(evidence.verdict(&path, false), RouteProof::OfRoute);
    }

    #[test]
    fn a_failure_that_one_request_meets_alone_may_be_its_own() {
        let evidence = Evidence::default();
        assert!(evidence.failed(Some(1)) && evidence.failed(Some(1)));
        assert!(!evidence.failed(Some(2)) && !evidence.failed(Some(1)));
        evidence.answered();
        assert!(!evidence.several_fail() && evidence.failed(Some(2)));
    }
}
