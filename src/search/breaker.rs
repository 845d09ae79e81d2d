//! The circuit breaker of a provider. Failures in a row open it. When its time is over, one request probes the
//! provider.
//!
//! The rules are those of the breaker of routes (`llm/breaker.rs`). The caller passes the time in.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::domain::retry::BreakerPolicy;

/// The breaker of one provider. A new breaker is closed.
#[derive(Debug)]
pub(super) struct LinkBreaker {
    policy: BreakerPolicy,
    state: Mutex<LinkBreakerState>,
}

#[derive(Debug)]
struct LinkBreakerState {
    phase: LinkBreakerPhase,
    in_a_row: u32,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkBreakerPhase {
    Closed,
    Open { until: Instant },
    HalfOpen,
}

/// Permission to send one request.
#[derive(Debug)]
pub(super) struct Pass<'b> {
    breaker: &'b LinkBreaker,
    /// Whether the request probes an open breaker. When a probe is dropped, the next request becomes the probe.
    probe: bool,
}

impl LinkBreaker {
    pub(super) const fn new(policy: BreakerPolicy) -> Self {
        Self {
            policy,
            state: Mutex::new(LinkBreakerState {
                phase: LinkBreakerPhase::Closed,
                in_a_row: 0,
                reason: String::new(),
            }),
        }
    }

    /// Returns permission to send one request, or the failure that opened the breaker. An open breaker admits one probe
    /// at a time.
    pub(super) fn enter(&self, now: Instant) -> Result<Pass<'_>, String> {
        let mut state = self.state();
        let probe = match state.phase {
            LinkBreakerPhase::Closed => false,
            LinkBreakerPhase::Open { until } if until <= now => {
                state.phase = LinkBreakerPhase::HalfOpen;
                true
            }
            LinkBreakerPhase::Open { .. } | LinkBreakerPhase::HalfOpen => return Err(state.reason.clone()),
        };
        drop(state);
        Ok(Pass { breaker: self, probe })
    }

    fn state(&self) -> MutexGuard<'_, LinkBreakerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Records an answer. The breaker closes, also when the answer is a refusal.
    pub(super) fn answered(mut self) {
        self.probe = false;
        let mut state = self.breaker.state();
        state.in_a_row = 0;
        state.phase = LinkBreakerPhase::Closed;
    }

    /// Records a failure. The breaker opens when the failures in a row reach the limit, or when this request is the
    /// probe.
    pub(super) fn failed(mut self, now: Instant, reason: &str) {
        let probe = std::mem::take(&mut self.probe);
        let policy = self.breaker.policy;
        let mut state = self.breaker.state();
        state.in_a_row = state.in_a_row.saturating_add(1);
        let opens = match state.phase {
            LinkBreakerPhase::Closed => state.in_a_row >= policy.failures,
            LinkBreakerPhase::HalfOpen => probe,
            LinkBreakerPhase::Open { .. } => false,
        };
        if opens {
            reason.clone_into(&mut state.reason);
            state.phase = LinkBreakerPhase::Open {
                until: now + policy.open,
            };
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe {
            let mut state = self.breaker.state();
            if state.phase == LinkBreakerPhase::HalfOpen {
                state.phase = LinkBreakerPhase::Open {
                    until: Instant::now(),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy {
        failures: 2,
        open: Duration::from_secs(60),
    };

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_one_probe_closes_it() {
        let breaker = LinkBreaker::new(POLICY);
        let fail = || {
            breaker
                .enter(Instant::now())
                .unwrap()
                .failed(Instant::now(), "down");
        };
        fail();
        breaker.enter(Instant::now()).unwrap().answered();
        fail();
        fail();
        assert_eq!(breaker.enter(Instant::now()).unwrap_err(), "down");
        tokio::time::advance(POLICY.open).await;
        let probe = breaker.enter(Instant::now()).unwrap();
        assert!(breaker.enter(Instant::now()).is_err(), "there is one probe");
        probe.failed(Instant::now(), "still down");
        assert_eq!(breaker.enter(Instant::now()).unwrap_err(), "still down");
        tokio::time::advance(POLICY.open).await;
        drop(breaker.enter(Instant::now()).unwrap());
        breaker.enter(Instant::now()).unwrap().answered();
        assert!(breaker.enter(Instant::now()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_from_before_the_breaker_opened_changes_nothing() {
        let breaker = LinkBreaker::new(POLICY);
        let [late, one, two] = [(); 3].map(|()| breaker.enter(Instant::now()).unwrap());
        one.failed(Instant::now(), "a");
        two.failed(Instant::now(), "b");
        tokio::time::advance(POLICY.open / 2).await;
        late.failed(Instant::now(), "late");
        tokio::time::advance(POLICY.open / 2).await;
        assert!(breaker.enter(Instant::now()).is_ok());
    }
}
