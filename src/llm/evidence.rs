//! What the refusals of a route prove: that one request is at fault, or the route.
//!
//! A refusal that names the key, the account or the model is proof by itself, unless the route has answered before. Every
//! other one is proof against the route when several requests got the same, and no request got an answer in between.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::wire::CallError;
use crate::domain::failure::{Class, Verdict, kind_of};

/// So many requests with the same refusal prove that a route which has answered none of them never will.
const SAME_REFUSALS: usize = 5;

/// So many requests whose key, address or model is refused prove that the route is dead.
const REFUSED_ALIKE: usize = 3;

/// Refusals of more requests are not kept for one route.
const KEPT: usize = 64;

/// More requests with refusals of different kinds are not held at once.
const HELD: usize = 10;

/// What a refusal says of its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// The route is dead.
    OfRoute,
    /// The request is at fault.
    OfRequest,
    /// Neither is known yet.
    None,
}

/// Refusals and answers of one route in this process.
#[derive(Debug, Default)]
pub(super) struct Evidence(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    answers: u64,
    /// Requests that were refused since the last answer, and what each was told.
    refused: HashMap<i64, u64>,
    /// The first request that met a failure of the server since the last answer.
    first_failing: Option<i64>,
    /// Whether others have met one, too.
    others_fail: bool,
}

impl Evidence {
    /// The route has answered; whether that decides anything.
    pub(super) fn answered(&self) -> bool {
        let mut state = self.state();
        state.answers += 1;
        (state.first_failing, state.others_fail) = (None, false);
        let decides = !state.refused.is_empty();
        state.refused.clear();
        decides
    }

    /// How many answers there were.
    pub(super) fn answers(&self) -> u64 {
        self.state().answers
    }

    /// The request was refused; what that proves.
    pub(super) fn refused(&self, request: Option<i64>, error: &CallError, of_model: bool) -> Proof {
        let mut state = self.state();
        let new = state.answers == 0;
        let latches = error.verdict == Verdict::Latch && !of_model;
        if !latches && !new {
            return Proof::OfRequest;
        }
        let Some(request) = request else {
            return if latches { Proof::OfRoute } else { Proof::OfRequest };
        };
        if latches && (error.class == Class::Quota || (new && is_clear(error))) {
            return Proof::OfRoute;
        }
        if !state.refused.contains_key(&request) && state.refused.len() >= KEPT {
            return Proof::OfRequest;
        }
        let told = fingerprint(error);
        state.refused.insert(request, told);
        let alike = state.refused.values().filter(|other| **other == told).count();
        let enough = if latches { REFUSED_ALIKE } else { SAME_REFUSALS };
        if alike >= enough {
            Proof::OfRoute
        } else if state.refused.len() > HELD {
            Proof::OfRequest
        } else {
            Proof::None
        }
    }

    /// Nothing more will be known of a refusal; what it is taken for.
    pub(super) fn verdict(&self, error: &CallError, of_model: bool) -> Proof {
        let latches = error.verdict == Verdict::Latch && !of_model;
        if latches && self.answers() == 0 && !is_page(error) {
            Proof::OfRoute
        } else {
            Proof::OfRequest
        }
    }

    /// The request has met a failure of the server; whether it is the only one since the last answer.
    pub(super) fn failed(&self, request: Option<i64>) -> bool {
        let mut state = self.state();
        let Some(request) = request else { return false };
        let first = *state.first_failing.get_or_insert(request);
        state.others_fail |= first != request;
        !state.others_fail
    }

    /// Whether several requests have met a failure of the server since the last answer.
    pub(super) fn several_fail(&self) -> bool {
        self.state().others_fail
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the refusal is proof by itself on a route that has never answered.
pub(super) fn is_clear(error: &CallError) -> bool {
    error.is_named || (!is_page(error) && !matches!(error.status, Some(403 | 404)))
}

/// Whether a page came instead of an error of the API, as from a firewall.
pub(super) fn is_page(error: &CallError) -> bool {
    error.message.contains(": HTML page")
}

/// What a refusal says.
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
            assert_eq!(prove(request), Proof::None);
        }
        assert_eq!(evidence.refused(Some(9), &told("another"), false), Proof::None);
        assert_eq!(prove(5), Proof::OfRoute);
        assert!(evidence.answered());
        assert_eq!(prove(6), Proof::OfRequest);
    }

    #[test]
    fn a_key_is_refused_at_once_on_a_new_route_and_by_several_requests_later() {
        let evidence = Evidence::default();
        let key = refused(401, Class::Auth, Verdict::Latch, "HTTP 401: no");
        assert_eq!(evidence.refused(Some(1), &key, false), Proof::OfRoute);
        assert!(!Evidence::default().answered());
        evidence.answered();
        assert_eq!(evidence.refused(Some(1), &key, false), Proof::None);
        assert_eq!(evidence.refused(Some(2), &key, false), Proof::None);
        assert_eq!(evidence.refused(Some(3), &key, false), Proof::OfRoute);
        let quota = refused(402, Class::Quota, Verdict::Latch, "HTTP 402: empty");
        assert_eq!(evidence.refused(Some(1), &quota, false), Proof::OfRoute);
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
        assert_eq!(evidence.refused(Some(1), &page, false), Proof::None);
        assert_eq!(evidence.verdict(&page, false), Proof::OfRequest);
        let path = refused(404, Class::BadRequest, Verdict::Latch, "HTTP 404: no such path");
        assert_eq!(evidence.refused(Some(1), &path, false), Proof::None);
        assert_eq!(evidence.verdict(&path, false), Proof::OfRoute);
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
