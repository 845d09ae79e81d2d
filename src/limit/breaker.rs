//! The circuit breaker of a route or a search provider: consecutive failures open it, and after a while one call goes through as a probe.
//!
//! ```text
//!             failures in a row                open time over: one probe
//!   closed ───────────────────────▶ open ───────────────────────────────▶ half open
//!      ▲                              ▲                                      │   │
//!      └────────── an answer ─────────┼──────────────────────────────────────┘   │
//!                                     └──────────────── it failed ───────────────┘
//! ```
//!
//! Only failures of the route count: no connection, 5xx, a timeout, a cut answer. An answer to any call closes the
//! breaker, also to a call that was sent before the breaker opened. The caller passes the time in.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::domain::retry::BreakerPolicy;

/// A circuit breaker, closed at first.
#[derive(Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: Mutex<BreakerState>,
}

#[derive(Debug)]
struct BreakerState {
    phase: BreakerPhase,
    in_a_row: u32,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BreakerPhase {
    Closed,
    Open { until: Instant },
    HalfOpen,
}

impl BreakerState {
    fn door(&self, now: Instant) -> Door {
        match self.phase {
            BreakerPhase::Closed => Door::Free,
            BreakerPhase::Open { until } if until <= now => Door::Probe,
            BreakerPhase::Open { until } => Door::Shut {
                until: Some(until),
                reason: self.reason.clone(),
            },
            BreakerPhase::HalfOpen => Door::Shut {
                until: None,
                reason: self.reason.clone(),
            },
        }
    }
}

/// The breaker's decision for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// The call may be sent.
    Free,
    /// One call may be sent as the probe.
    Probe,
    /// No call may be sent before that moment; `None` while a probe is in flight.
    Shut {
        /// The time to ask again.
        until: Option<Instant>,
        /// The failure that opened the breaker.
        reason: String,
    },
}

impl Breaker {
    /// Makes a closed breaker.
    pub const fn new(policy: BreakerPolicy) -> Self {
        Self {
            policy,
            state: Mutex::new(BreakerState {
                phase: BreakerPhase::Closed,
                in_a_row: 0,
                reason: String::new(),
            }),
        }
    }

    /// Returns the decision without a change of state.
    pub fn look(&self, now: Instant) -> Door {
        self.state().door(now)
    }

    /// Returns the decision as [`Self::look`] does. The call that gets [`Door::Probe`] is the only probe and must
    /// report its end. Decision and change happen under one lock, so that two callers never both become the probe.
    pub fn enter(&self, now: Instant) -> Door {
        let mut state = self.state();
        let door = state.door(now);
        if door == Door::Probe {
            state.phase = BreakerPhase::HalfOpen;
        }
        door
    }

    /// Records an answer of the route. Returns whether it closed the breaker.
    pub fn answered(&self) -> bool {
        let mut state = self.state();
        state.in_a_row = 0;
        let was_shut = state.phase != BreakerPhase::Closed;
        state.phase = BreakerPhase::Closed;
        was_shut
    }

    /// Records a failure of the route. Returns whether the breaker is open now; the failure then counts against the
    /// route and not against the call.
    pub fn failed(&self, now: Instant, probe: bool, reason: &str) -> bool {
        let mut state = self.state();
        state.in_a_row = state.in_a_row.saturating_add(1);
        let opens = match state.phase {
            BreakerPhase::Closed => state.in_a_row >= self.policy.failures,
            BreakerPhase::HalfOpen => probe,
            BreakerPhase::Open { .. } => false,
        };
        if opens {
            reason.clone_into(&mut state.reason);
            state.phase = BreakerPhase::Open {
                until: now + self.policy.open,
            };
        }
        state.phase != BreakerPhase::Closed
    }

    /// Ends a probe without a result. Another call may become the probe at once.
    pub fn probe_given_up(&self, now: Instant) {
        let mut state = self.state();
        if state.phase == BreakerPhase::HalfOpen {
            state.phase = BreakerPhase::Open { until: now };
        }
    }

    fn state(&self) -> MutexGuard<'_, BreakerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy {
        failures: 3,
        open: Duration::from_secs(60),
    };

    fn shut(door: &Door) -> bool {
        matches!(door, Door::Shut { .. })
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_them_does_not() {
        let (breaker, now) = (Breaker::new(POLICY), Instant::now());
        assert!(!breaker.failed(now, false, "a") && !breaker.failed(now, false, "b"));
        assert!(!breaker.answered());
        assert!(!breaker.failed(now, false, "c") && !breaker.failed(now, false, "d"));
        assert_eq!(breaker.enter(now), Door::Free);
        assert!(breaker.failed(now, false, "e"));
        let until = Some(now + POLICY.open);
        let reason = "e".to_owned();
        assert_eq!(breaker.enter(now), Door::Shut { until, reason });
    }

    #[test]
    fn one_probe_goes_when_the_time_is_over() {
        let (breaker, now) = (Breaker::new(POLICY), Instant::now());
        while !breaker.failed(now, false, "down") {}
        let later = now + POLICY.open;
        assert_eq!(breaker.look(later), Door::Probe);
        assert_eq!(breaker.enter(later), Door::Probe);
        assert!(shut(&breaker.enter(later)), "a second call waits for the first");
        // A call that was sent before the breaker opened does not change its state.
        assert!(breaker.failed(later, false, "late") && shut(&breaker.enter(later)));
        assert!(breaker.failed(later, true, "still down"));
        assert!(shut(&breaker.enter(later + POLICY.open / 2)));
        assert_eq!(breaker.enter(later + POLICY.open), Door::Probe);
        assert!(breaker.answered());
        assert_eq!(breaker.enter(later), Door::Free);
    }

    #[test]
    fn of_callers_that_enter_at_the_same_moment_one_is_the_probe() {
        const CALLERS: usize = 8;
        let breaker = Breaker::new(POLICY);
        let now = Instant::now();
        while !breaker.failed(now, false, "down") {}
        let later = now + POLICY.open;
        let (together, probes) = (std::sync::Barrier::new(CALLERS), AtomicUsize::new(0));
        let rounds = || {
            for _ in 0..2000 {
                together.wait();
                if breaker.enter(later) == Door::Probe {
                    probes.fetch_add(1, Ordering::SeqCst);
                }
                if together.wait().is_leader() {
                    assert_eq!(probes.swap(0, Ordering::SeqCst), 1);
                    breaker.probe_given_up(later);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(rounds);
            }
        });
    }

    #[test]
    fn a_probe_that_is_given_up_leaves_its_place_to_another() {
        let (breaker, now) = (Breaker::new(POLICY), Instant::now());
        while !breaker.failed(now, false, "down") {}
        let later = now + POLICY.open;
        assert_eq!(breaker.enter(later), Door::Probe);
        breaker.probe_given_up(later);
        assert_eq!(breaker.enter(later), Door::Probe);
    }
}
