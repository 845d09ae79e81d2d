//! The attempts of a call on one route, and which failures count against its request.

use std::time::Duration;

use tokio::time::Instant;

use super::fault::{FailedExchange, Reached};
use super::wire::CallError;
use crate::domain::failure::kind_of;

/// Causes that are kept for one call. A route that was down for an hour has more.
const CAUSES: usize = 20;

/// The longest outage that excuses a request which fails alone. Later failures count against the request.
const OUTAGE: Duration = Duration::from_secs(180);

/// The attempts of a call on one route.
pub(super) struct Tries {
    /// [`OUTAGE`], or `--give-up` if that is shorter.
    outage: Duration,
    /// Retries that count against the request.
    pub(super) counted: u32,
    /// All retries, for the backoff.
    pub(super) all: u32,
    pub(super) causes: Vec<String>,
    /// The route's number of answers at the last server failure.
    answers: Option<u64>,
    /// The time since when the server has failed without an answer to any request.
    out_since: Option<Instant>,
    /// The reason why the last answer was unreadable.
    unreadable: Option<String>,
}

impl Tries {
    pub(super) fn new(give_up: Duration) -> Self {
        Self {
            outage: give_up.min(OUTAGE),
            counted: 0,
            all: 0,
            causes: Vec::new(),
            answers: None,
            out_since: None,
            unreadable: None,
        }
    }

    pub(super) fn note(&mut self, cause: String) {
        if self.causes.len() < CAUSES {
            self.causes.push(cause);
        }
    }

    /// Whether a server failure is an outage: the route has answered no request since the last failure of this call.
    /// If this request fails alone, an outage excuses it only for a limited time.
    pub(super) fn is_outage(&mut self, answers: u64, alone: bool) -> bool {
        let now = Instant::now();
        if self.answers.replace(answers) == Some(answers) {
            let since = *self.out_since.get_or_insert(now);
            !alone || now - since < self.outage
        } else {
            self.out_since = None;
            false
        }
    }

    /// Whether the answer is unreadable for the same reason as the one before. A third call would be paid for nothing.
    pub(super) fn is_unreadable_again(&mut self, error: &CallError) -> bool {
        let reason = error.unreadable.then(|| kind_of(&error.message));
        reason.is_some() && std::mem::replace(&mut self.unreadable, reason.clone()) == reason
    }

    /// Whether this request fails alone and the time is over in which an outage excuses it.
    pub(super) fn is_over(&self, alone: bool) -> bool {
        alone && self.out_since.is_some_and(|since| since.elapsed() >= self.outage)
    }
}

/// Whether the server reports its failure by a status.
pub(super) fn is_of_server(failed: &FailedExchange) -> bool {
    failed.reached == Reached::Refusal && failed.error.status.is_some_and(|status| status >= 500)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::{Class, Verdict};

    fn failed(status: u16) -> FailedExchange {
        let mut error = CallError::new(Class::Server, Verdict::Retry, "out");
        error.status = Some(status);
        FailedExchange {
            reached: Reached::Refusal,
            ..error.into()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_count_while_others_are_answered_or_after_a_long_time_alone() {
        let mut tries = Tries::new(Duration::from_secs(3600));
        assert!(!tries.is_outage(7, true), "the first one counts");
        assert!(tries.is_outage(7, true));
        assert!(!tries.is_outage(8, true), "another was answered");
        assert!(tries.is_outage(8, true) && !tries.is_over(true));
        tokio::time::advance(OUTAGE).await;
        assert!(tries.is_over(true) && !tries.is_over(false));
        assert!(!tries.is_outage(8, true));
        assert!(tries.is_outage(8, false), "others fail, too");
    }

    #[test]
    fn a_status_from_500_up_is_of_the_server() {
        assert!(is_of_server(&failed(500)) && is_of_server(&failed(503)));
        assert!(!is_of_server(&failed(429)));
        let cut = FailedExchange {
            reached: Reached::Server,
            ..failed(500)
        };
        assert!(!is_of_server(&cut));
    }
}
