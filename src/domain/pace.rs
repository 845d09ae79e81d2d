//! The pace of a route: its requests and its tokens per minute together.

use std::time::Duration;

use super::bucket::{Bucket, Charge, Charges, Correction, Limits, TooLarge};

/// Both limits of a route: a call takes from both or from none.
#[derive(Debug)]
pub struct Pace {
    limits: Limits,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
}

/// The arrival times; `None` if the quantity is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// That of requests.
    pub requests: Option<i64>,
    /// That of tokens.
    pub tokens: Option<i64>,
}

impl Arrivals {
    /// Applies `change` to both.
    #[must_use]
    pub fn map(self, change: impl Fn(i64) -> i64) -> Self {
        Self {
            requests: self.requests.map(&change),
            tokens: self.tokens.map(change),
        }
    }

    /// Returns the earlier time of each; `None` if either is `None`.
    #[must_use]
    pub fn earliest(self, those: Self) -> Self {
        Self {
            requests: self.requests.zip(those.requests).map(|(a, b)| a.min(b)),
            tokens: self.tokens.zip(those.tokens).map(|(a, b)| a.min(b)),
        }
    }

    /// Returns the later time of each; the known one if only one is known.
    #[must_use]
    pub fn latest(self, those: Self) -> Self {
        Self {
            requests: self.requests.max(those.requests),
            tokens: self.tokens.max(those.tokens),
        }
    }

    /// Whether neither time is earlier than its counterpart in `those`.
    pub fn cover(self, those: Self) -> bool {
        self.requests >= those.requests && self.tokens >= those.tokens
    }
}

/// The stored state of a route's limits, for the next process. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitState {
    /// The arrival times up to which calls may have been granted.
    pub arrivals: Arrivals,
    /// The largest recent call, in tokens.
    pub largest: u64,
    /// A pause that the provider has asked for.
    pub pause: Option<StoredPause>,
}

/// A pause as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPause {
    /// Its end.
    pub until: i64,
    /// Its length at the beginning. The rest of the pause is never longer, even when the clock was set back.
    pub lasting: i64,
    /// The provider's message.
    pub reason: String,
}

impl StoredPause {
    /// Returns the rest of the pause; `None` if it is over.
    pub fn left(&self, now: i64) -> Option<Duration> {
        let left = self.until.saturating_sub(now).min(self.lasting);
        (left > 0).then(|| Duration::from_nanos(left.unsigned_abs()))
    }
}

impl Pace {
    /// Creates empty buckets.
    pub fn new(limits: Limits, now: i64) -> Self {
        let mut pace = Self {
            limits: Limits::default(),
            requests: None,
            tokens: None,
        };
        pace.keep(limits, now);
        pace
    }

    /// The configured limits, without learned ones.
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// Sets the limits. Earlier grants stay as they were charged; a new limit begins with an empty bucket.
    pub fn keep(&mut self, limits: Limits, now: i64) {
        let keep = |bucket: &mut Option<Bucket>, limit: Option<u64>| match (bucket.as_mut(), limit) {
            (Some(bucket), Some(limit)) => bucket.keep(limit),
            (None, Some(limit)) => *bucket = Some(Bucket::new(limit, now)),
            (_, None) => *bucket = None,
        };
        keep(&mut self.requests, limits.rpm.map(u64::from));
        keep(&mut self.tokens, limits.tpm);
        self.limits = limits;
    }

    /// Returns how long a call of this many tokens has to wait; 0 if it may be taken now.
    pub fn wait(&mut self, now: i64, tokens: u64) -> Result<Duration, TooLarge> {
        let mut wait = 0;
        if let Some(bucket) = &mut self.tokens {
            wait = bucket.wait(now, tokens)?;
        }
        if let Some(bucket) = &mut self.requests {
            wait = wait.max(bucket.wait(now, 1)?);
        }
        Ok(Duration::from_nanos(wait.unsigned_abs()))
    }

    /// Takes one request of this many tokens that need not wait.
    pub fn take(&mut self, now: i64, tokens: u64) -> Charges {
        let take = |bucket: &mut Option<Bucket>, amount| {
            bucket
                .as_mut()
                .map_or_else(Charge::default, |bucket| bucket.take(now, amount))
        };
        Charges {
            request: take(&mut self.requests, 1),
            tokens: take(&mut self.tokens, tokens),
        }
    }

    /// The present arrival times.
    pub fn arrivals(&self) -> Arrivals {
        let arrival = |bucket: &Option<Bucket>| bucket.as_ref().map(Bucket::arrival);
        Arrivals {
            requests: arrival(&self.requests),
            tokens: arrival(&self.tokens),
        }
    }

    /// Returns the arrival times as they would be after a call of this many tokens.
    pub fn arrivals_after(&self, now: i64, tokens: u64) -> Arrivals {
        let after = |bucket: &Option<Bucket>, amount| bucket.as_ref().map(|bucket| bucket.after(now, amount));
        Arrivals {
            requests: after(&self.requests, 1),
            tokens: after(&self.tokens, tokens),
        }
    }

    /// The largest recent call, in tokens.
    pub fn largest(&self) -> u64 {
        self.tokens.as_ref().map_or(0, Bucket::largest)
    }

    /// Goes on from the arrival times and the largest call, in tokens, of an earlier process.
    pub fn restore(&mut self, now: i64, arrivals: Arrivals, largest: u64) {
        if let (Some(bucket), Some(arrival)) = (&mut self.requests, arrivals.requests) {
            bucket.restore(now, arrival);
        }
        if let Some(bucket) = &mut self.tokens {
            if let Some(arrival) = arrivals.tokens {
                bucket.restore(now, arrival);
            }
            bucket.restore_largest(now, largest);
        }
    }

    /// Records the limits that the provider has named. Those that are lower than ours slow calls down until they
    /// expire. Returns whether any of them is new.
    pub fn learn(&mut self, now: i64, limits: Limits) -> bool {
        let learn = |bucket: &mut Option<Bucket>, limit: Option<u64>| match (bucket, limit) {
            (Some(bucket), Some(limit)) => bucket.learn(now, limit),
            _ => false,
        };
        let requests = learn(&mut self.requests, limits.rpm.map(u64::from));
        let tokens = learn(&mut self.tokens, limits.tpm);
        requests || tokens
    }

    /// Corrects the arrival times after a call that used more or less than it reserved.
    pub fn correct(&mut self, now: i64, by: Correction) {
        if let Some(bucket) = &mut self.requests {
            bucket.move_by(now, by.requests);
        }
        if let Some(bucket) = &mut self.tokens {
            bucket.move_by(now, by.tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bucket::{TOLERANCE, WINDOW};

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn no_more_of_a_pause_is_left_than_it_lasted() {
        let pause = StoredPause {
            until: 100 * SECOND,
            lasting: 60 * SECOND,
            reason: String::new(),
        };
        let left = |now: i64| pause.left(now * SECOND);
        assert_eq!(left(70), Some(Duration::from_secs(30)));
        assert_eq!(left(100), None);
        assert_eq!(
            left(-3_600),
            Some(Duration::from_secs(60)),
            "the clock was set back"
        );
    }

    #[test]
    fn limits_that_change_keep_what_was_granted() {
        let limits = |rpm| Limits { rpm, tpm: None };
        let mut pace = Pace::new(limits(None), 0);
        assert_eq!(pace.wait(0, 1), Ok(Duration::ZERO));
        pace.keep(limits(Some(60)), 0);
        assert_eq!(pace.wait(0, 1), Ok(Duration::from_millis(100)));
        assert_eq!(pace.wait(SECOND, 1), Ok(Duration::ZERO));
        pace.take(SECOND, 1);
        let wait = pace.wait(SECOND, 1);
        pace.keep(limits(Some(6)), SECOND);
        assert_eq!(pace.wait(SECOND, 1), wait);
        pace.keep(limits(None), SECOND);
        assert_eq!(pace.wait(SECOND, 1), Ok(Duration::ZERO));
    }

    #[test]
    fn what_an_earlier_process_granted_counts_for_one_window_at_most() {
        let limits = Limits {
            rpm: Some(60),
            tpm: Some(1_000),
        };
        let restored = |requests, tokens| {
            let mut pace = Pace::new(limits, 0);
            let arrivals = Arrivals { requests, tokens };
            pace.restore(0, arrivals, 900);
            pace.arrivals()
        };
        let arrivals = |requests, tokens| Arrivals {
            requests: Some(requests),
            tokens: Some(tokens),
        };
        let empty = 2 * TOLERANCE;
        assert_eq!(restored(None, None), arrivals(empty, empty));
        assert_eq!(restored(Some(-SECOND), Some(SECOND)), arrivals(empty, SECOND));
        let hour = 3_600 * SECOND;
        assert_eq!(restored(Some(hour), Some(hour)), arrivals(WINDOW, WINDOW));
        // A call that is larger than the largest one of the last minute waits for its headroom.
        let mut pace = Pace::new(limits, 0);
        pace.restore(0, arrivals(0, 0), 500);
        assert!(pace.wait(SECOND, 900).unwrap() > Duration::from_secs(40));
    }
}
