//! Permissions to ask a provider. The circuit breaker behind them is that of routes ([`crate::limit::Breaker`]).

use tokio::time::Instant;

use crate::domain::retry::BreakerPolicy;
use crate::limit::{Breaker, Door};

/// The breaker of one provider. A new breaker is closed.
#[derive(Debug)]
pub(super) struct LinkBreaker(Breaker);

/// Permission to send one request.
#[derive(Debug)]
pub(super) struct Pass<'b> {
    breaker: &'b Breaker,
    /// Whether the request probes an open breaker. When a probe is dropped, the next request becomes the probe.
    probe: bool,
}

impl LinkBreaker {
    pub(super) const fn new(policy: BreakerPolicy) -> Self {
        Self(Breaker::new(policy))
    }

    /// Returns permission to send one request, or the failure that opened the breaker. An open breaker admits one probe
    /// at a time.
    pub(super) fn enter(&self, now: Instant) -> Result<Pass<'_>, String> {
        let probe = match self.0.enter(now) {
            Door::Free => false,
            Door::Probe => true,
            Door::Shut { reason, .. } => return Err(reason),
        };
        Ok(Pass {
            breaker: &self.0,
            probe,
        })
    }
}

impl Pass<'_> {
    /// Records an answer. The breaker closes, also when the answer is a refusal.
    pub(super) fn answered(mut self) {
        self.probe = false;
        self.breaker.answered();
    }

    /// Records a failure. The breaker opens when the failures in a row reach the limit, or when this request is the
    /// probe.
    pub(super) fn failed(mut self, now: Instant, reason: &str) {
        let probe = std::mem::take(&mut self.probe);
        self.breaker.failed(now, probe, reason);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.breaker.probe_given_up(Instant::now());
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
