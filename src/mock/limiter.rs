//! The strict sliding window for `rpm` and `tpm`, and for the statistics that show when a client exceeds them.

use std::collections::VecDeque;
use std::time::Duration;

/// The length of every window.
const SPAN_US: u64 = 60_000_000;

/// The requests and tokens of the last 60 seconds, exactly. Times are microseconds since the start of the server.
#[derive(Debug, Default)]
pub(crate) struct Window {
    entries: VecDeque<WindowEntry>,
    pub(crate) requests: u64,
    pub(crate) tokens: u64,
}

#[derive(Debug)]
struct WindowEntry {
    at: u64,
    requests: u64,
    tokens: u64,
}

impl Window {
    /// Removes entries that are 60 seconds old or older.
    fn advance(&mut self, now: u64) {
        while self
            .entries
            .front()
            .is_some_and(|oldest| oldest.at + SPAN_US <= now)
        {
            if let Some(oldest) = self.entries.pop_front() {
                self.requests -= oldest.requests;
                self.tokens -= oldest.tokens;
            }
        }
    }

    /// Counts one call. Calls of the same time share an entry, so that coarse times bound the memory.
    pub(crate) fn add(&mut self, now: u64, tokens: u64) {
        self.advance(now);
        self.requests += 1;
        self.tokens += tokens;
        match self.entries.back_mut() {
            Some(newest) if newest.at >= now => {
                newest.requests += 1;
                newest.tokens += tokens;
            }
            _ => self.entries.push_back(WindowEntry {
                at: now,
                requests: 1,
                tokens,
            }),
        }
    }

    /// Returns the time until enough entries have left for `fits` to hold, or the whole span if it never holds.
    fn wait_until(&self, now: u64, fits: impl Fn(u64, u64) -> bool) -> u64 {
        let (mut requests, mut tokens) = (self.requests, self.tokens);
        for entry in &self.entries {
            if fits(requests, tokens) {
                break;
            }
            (requests, tokens) = (requests - entry.requests, tokens - entry.tokens);
            if fits(requests, tokens) {
                return (entry.at + SPAN_US).saturating_sub(now);
            }
        }
        if fits(requests, tokens) { 0 } else { SPAN_US }
    }
}

/// The two quantities that a provider limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scarce {
    Requests,
    Tokens,
}

/// The reason why a call was not admitted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) scarce: Scarce,
    pub(crate) limit: u64,
    pub(crate) used: u64,
    pub(crate) requested: u64,
    /// The time until the window has room for the call, if no other call takes it.
    pub(crate) wait: Duration,
}

/// The state of one limit after a call, for the rate-limit headers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LimitStatus {
    pub(crate) scarce: Scarce,
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    /// The time until the window is empty. OpenAI's reset headers have this meaning.
    pub(crate) reset: Duration,
}

/// Admits calls under both limits, and counts admitted calls only.
#[derive(Debug)]
pub(crate) struct MockLimiter {
    rpm: Option<u64>,
    tpm: Option<u64>,
    window: Window,
}

impl MockLimiter {
    /// Returns a limiter, or `None` if there is no limit.
    pub(crate) fn new(rpm: Option<u32>, tpm: Option<u64>) -> Option<Self> {
        (rpm.is_some() || tpm.is_some()).then(|| Self {
            rpm: rpm.map(u64::from),
            tpm,
            window: Window::default(),
        })
    }

    /// Admits a call that costs `tokens`, or returns the exceeded limit and the wait.
    pub(crate) fn admit(&mut self, now: u64, tokens: u64) -> Result<(), Denial> {
        self.window.advance(now);
        if let Some(limit) = self.rpm.filter(|&limit| self.window.requests >= limit) {
            return Err(Denial {
                scarce: Scarce::Requests,
                limit,
                used: self.window.requests,
                requested: 1,
                wait: Duration::from_micros(self.window.wait_until(now, |requests, _| requests < limit)),
            });
        }
        if let Some(limit) = self
            .tpm
            .filter(|&limit| self.window.tokens.saturating_add(tokens) > limit)
        {
            let wait = self
                .window
                .wait_until(now, |_, used| used.saturating_add(tokens) <= limit);
            return Err(Denial {
                scarce: Scarce::Tokens,
                limit,
                used: self.window.tokens,
                requested: tokens,
                wait: Duration::from_micros(wait),
            });
        }
        self.window.add(now, tokens);
        Ok(())
    }

    /// Returns the state of each limit.
    pub(crate) fn standings(&mut self, now: u64) -> Vec<LimitStatus> {
        self.window.advance(now);
        let reset = Duration::from_micros(self.window.wait_until(now, |requests, _| requests == 0));
        let requests = self
            .rpm
            .map(|limit| (Scarce::Requests, limit, self.window.requests));
        let tokens = self.tpm.map(|limit| (Scarce::Tokens, limit, self.window.tokens));
        requests
            .into_iter()
            .chain(tokens)
            .map(|(scarce, limit, used)| LimitStatus {
                scarce,
                limit,
                remaining: limit.saturating_sub(used),
                reset,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn admits_exactly_the_limit_in_any_window() {
        let mut limiter = MockLimiter::new(Some(3), None).expect("a limiter");
        for at in [0, SECOND, 2 * SECOND] {
            assert_eq!(limiter.admit(at, 0), Ok(()));
        }
        let denied = limiter.admit(10 * SECOND, 0).expect_err("the fourth call");
        assert_eq!(
            (denied.scarce, denied.used, denied.wait),
            (Scarce::Requests, 3, Duration::from_secs(50))
        );
        assert!(limiter.admit(60 * SECOND - 1, 0).is_err());
        assert_eq!(limiter.admit(60 * SECOND, 0), Ok(()));
        assert!(limiter.admit(60 * SECOND, 0).is_err());
    }

    #[test]
    fn waits_until_enough_tokens_have_left() {
        let mut limiter = MockLimiter::new(None, Some(100)).expect("a limiter");
        for (at, tokens) in [(0, 40), (5 * SECOND, 40), (6 * SECOND, 20)] {
            assert_eq!(limiter.admit(at, tokens), Ok(()));
        }
        let denied = limiter.admit(10 * SECOND, 70).expect_err("no room");
        assert_eq!(
            (denied.scarce, denied.wait),
            (Scarce::Tokens, Duration::from_secs(55))
        );
        let too_large = limiter.admit(10 * SECOND, 101).expect_err("never room");
        assert_eq!(too_large.wait, Duration::from_micros(SPAN_US));
    }

    #[test]
    fn a_refused_call_takes_no_room() {
        let mut limiter = MockLimiter::new(Some(1), None).expect("a limiter");
        assert_eq!(limiter.admit(0, 0), Ok(()));
        for at in 1..100 {
            assert!(limiter.admit(at, 0).is_err());
        }
        assert_eq!(limiter.admit(60 * SECOND, 0), Ok(()));
    }

    #[test]
    fn standings_tell_the_rest_and_the_reset() {
        let mut limiter = MockLimiter::new(Some(5), Some(50)).expect("a limiter");
        assert_eq!(limiter.admit(0, 20), Ok(()));
        let reset = Duration::from_secs(59);
        assert_eq!(
            limiter.standings(SECOND),
            [
                LimitStatus {
                    scarce: Scarce::Requests,
                    limit: 5,
                    remaining: 4,
                    reset
                },
                LimitStatus {
                    scarce: Scarce::Tokens,
                    limit: 50,
                    remaining: 30,
                    reset
                },
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_limit(steps in proptest::collection::vec(0u64..20_000_000, 1..200)) {
            let mut limiter = MockLimiter::new(Some(4), None).expect("a limiter");
            let (mut now, mut admitted) = (0, Vec::new());
            for step in steps {
                now += step;
                if limiter.admit(now, 0).is_ok() {
                    admitted.push(now);
                }
            }
            for window in admitted.windows(5) {
                proptest::prop_assert!(window[4] - window[0] >= SPAN_US);
            }
        }
    }
}
