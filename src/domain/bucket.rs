//! The arithmetic of a token bucket that can be settled, as a generic cell rate algorithm (GCRA).
//!
//! A bucket remembers one number: the *theoretical arrival time*, the moment at which everything granted
//! so far will have been paid for at the sustained rate. A reservation moves it forward, a settlement
//! moves it back by what was reserved and not used. Times are nanoseconds since the bucket was made.
//!
//! Strictness: the tokens granted in any 60-second window are at most
//! `60 s × rate + tolerance + the largest reservation`, so the rate is chosen such that this sum is the
//! limit. A larger reservation lowers the rate when it is first seen.

use std::time::Duration;

const MINUTE: f64 = 60e9;

/// A bucket for a limit of so many tokens a minute.
#[derive(Debug, Clone)]
pub struct Bucket {
    limit: f64,
    largest: f64,
    arrival: f64,
}

/// A reservation that no wait can satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a call of about {asked} tokens can never pass a limit of {limit} tokens a minute")]
pub struct TooLarge {
    /// Tokens asked for.
    pub asked: u64,
    /// The limit.
    pub limit: u64,
}

#[expect(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
const fn float(n: u64) -> f64 {
    n as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturating by definition"
)]
fn nanos(n: f64) -> Duration {
    Duration::from_nanos(n.max(0.0) as u64)
}

impl Bucket {
    /// An empty bucket: the first grant waits for its tolerance to fill, so that a restart in the middle
    /// of a minute never adds a burst to what the process before it was granted.
    pub fn new(limit: u64) -> Self {
        let limit = float(limit.max(1));
        // The wait is `arrival - tolerance`; twice the tolerance makes the first grant wait for one.
        Self {
            limit,
            largest: 0.0,
            arrival: 2.0 * Self::TOLERANCE,
        }
    }

    /// A quarter of a second of traffic may be granted at once.
    const TOLERANCE: f64 = MINUTE / 240.0;

    /// Nanoseconds that one token takes. One per cent and the largest reservation are kept back: the first
    /// for calls that travel at unequal speed, the second because a window may begin just before it.
    fn interval(&self) -> f64 {
        let kept = self.limit * (0.01 + 1.0 / 240.0) + self.largest;
        MINUTE / (self.limit - kept).max(self.limit * 0.01)
    }

    /// Takes `tokens` at `now`, or says how long to wait before asking again; writes nothing then.
    pub fn take(&mut self, now: Duration, tokens: u64) -> Result<Result<(), Duration>, TooLarge> {
        let cost = float(tokens);
        if cost > self.limit {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "came from a u64"
            )]
            return Err(TooLarge {
                asked: tokens,
                limit: self.limit as u64,
            });
        }
        self.largest = self.largest.max(cost);
        let now = now.as_secs_f64() * 1e9;
        let wait = self.arrival - Self::TOLERANCE - now;
        if wait > 0.0 {
            return Ok(Err(nanos(wait).max(Duration::from_millis(1))));
        }
        self.arrival = self.arrival.max(now) + cost * self.interval();
        Ok(Ok(()))
    }

    /// The limit is this from now on, if it was higher; what was granted stays granted.
    pub fn lower(&mut self, limit: u64) {
        self.limit = self.limit.min(float(limit.max(1)));
        self.largest = self.largest.min(self.limit);
    }

    /// Corrects a reservation to what was used: gives the rest back, or charges the excess.
    /// What is given back never makes the bucket fuller than empty traffic would have.
    pub fn settle(&mut self, now: Duration, reserved: u64, used: u64) {
        let now = now.as_secs_f64() * 1e9;
        self.arrival += (float(used) - float(reserved)) * self.interval();
        self.arrival = self.arrival.max(now - Self::TOLERANCE);
        self.largest = self.largest.max(float(used).min(self.limit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs calls of the given sizes as fast as the bucket allows; answers (time, tokens) of each grant.
    fn grants(limit: u64, sizes: &[(u64, u64)], seconds: u64) -> Vec<(Duration, u64)> {
        let mut bucket = Bucket::new(limit);
        let mut now = Duration::ZERO;
        let mut granted = Vec::new();
        for &(reserved, used) in sizes.iter().cycle() {
            while let Err(wait) = bucket.take(now, reserved).unwrap() {
                now += wait;
            }
            if now > Duration::from_secs(seconds) {
                return granted;
            }
            granted.push((now, used));
            now += Duration::from_micros(10);
            bucket.settle(now, reserved, used);
        }
        granted
    }

    fn largest_window(granted: &[(Duration, u64)]) -> u64 {
        let mut from = 0;
        let mut sum = 0;
        let mut largest = 0;
        for &(at, tokens) in granted {
            sum += tokens;
            while granted[from].0 + Duration::from_secs(60) <= at {
                sum -= granted[from].1;
                from += 1;
            }
            largest = largest.max(sum);
        }
        largest
    }

    #[test]
    fn uses_nearly_all_of_the_limit_and_never_more() {
        let granted = grants(60_000, &[(300, 120)], 180);
        let largest = largest_window(&granted);
        assert!((57_000..=60_000).contains(&largest), "{largest}");
    }

    #[test]
    fn a_lower_limit_is_kept_and_a_higher_one_is_not() {
        let paced = |limit: u64| {
            let mut bucket = Bucket::new(60_000);
            bucket.lower(limit);
            bucket.interval()
        };
        assert!(paced(6_000) > 9.0 * paced(60_000));
        assert!((paced(600_000) - paced(60_000)).abs() < f64::EPSILON);
    }

    #[test]
    fn begins_empty() {
        let mut bucket = Bucket::new(60_000);
        assert!(bucket.take(Duration::ZERO, 100).unwrap().is_err());
        assert!(bucket.take(Duration::from_millis(250), 100).unwrap().is_ok());
    }

    #[test]
    fn a_call_above_the_limit_is_refused_not_delayed() {
        assert_eq!(
            Bucket::new(100).take(Duration::ZERO, 101),
            Err(TooLarge {
                asked: 101,
                limit: 100
            })
        );
    }

    proptest! {
        #[test]
        fn no_window_exceeds_the_limit(
            limit in 500_u64..200_000,
            sizes in prop::collection::vec((1_u64..400, 0.0_f64..=1.0), 1..8),
        ) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small numbers")]
            let sizes: Vec<_> = sizes.iter().map(|&(n, share)| (n, (n as f64 * share) as u64)).collect();
            prop_assert!(largest_window(&grants(limit, &sizes, 130)) <= limit);
        }
    }
}
