//! When a call is retried: the numbers, without a clock.

use std::time::Duration;

/// How often and after which backoff a call is retried on its route.
///
/// The backoffs of one call on one route last at most `retries` times `longest` in total. Waits of the route itself
/// come on top: a pause after a 429, a `Retry-After`, an open breaker, and the retries during an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Calls after the first one.
    pub retries: u32,
    /// The ceiling of the first backoff; it doubles with each retry.
    pub base: Duration,
    /// The ceiling of every backoff.
    pub longest: Duration,
}

/// When the breaker of a failing route opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open before one call probes the route.
    pub open: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures: 5,
            open: Duration::from_secs(60),
        }
    }
}

impl Default for RetryPolicy {
    /// Three retries with ceilings of 0.5, 1 and 2 s: the official SDKs' schedule.
    fn default() -> Self {
        Self {
            retries: 3,
            base: Duration::from_millis(500),
            longest: Duration::from_secs(8),
        }
    }
}

impl RetryPolicy {
    /// Returns the backoff before retry number `retry` (from 0): between half the ceiling and the ceiling, so that
    /// calls which failed together are not retried together. `jitter` is in `0..1`.
    pub fn backoff(&self, retry: u32, jitter: f64) -> Duration {
        let doubled = self.base.saturating_mul(2_u32.saturating_pow(retry.min(16)));
        doubled
            .min(self.longest)
            .mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
    }

    /// Returns how long a route pauses after the `nth` 429 in a row (from 0) without a `Retry-After`: 1 s, doubled each
    /// time up to a minute, plus jitter.
    pub fn pause(nth: u32, jitter: f64) -> Duration {
        let ceiling = Duration::from_secs(2_u64.saturating_pow(nth.min(6)).min(60));
        ceiling.mul_f64(1.0 + 0.1 * jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_ceiling() {
        let policy = RetryPolicy::default();
        let ceilings: Vec<u128> = (0..7).map(|n| policy.backoff(n, 1.0).as_millis()).collect();
        assert_eq!(ceilings, [500, 1000, 2000, 4000, 8000, 8000, 8000]);
        assert_eq!(policy.backoff(0, 0.0), Duration::from_millis(250));
    }

    #[test]
    fn pauses_grow_to_a_minute() {
        let seconds: Vec<u64> = (0..8).map(|n| RetryPolicy::pause(n, 0.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
