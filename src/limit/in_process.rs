//! The limiter of one process.

use std::num::NonZeroU32;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::domain::bucket::{Bucket, TooLarge};

/// What a route may be asked in a minute; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests.
    pub rpm: Option<u32>,
    /// Tokens, input and output together.
    pub tpm: Option<u64>,
}

/// Leave to make one call.
#[derive(Debug)]
#[must_use = "tokens stay reserved until the grant is settled"]
pub struct Grant {
    reserved: u64,
}

/// Paces the calls of one route in the order in which they ask.
#[derive(Debug)]
pub struct InProcess {
    /// Held by the one caller that waits; tokio's mutex is fair, so nobody is overtaken.
    turn: Mutex<()>,
    requests: Option<StdMutex<Requests>>,
    tokens: Option<StdMutex<Bucket>>,
    clock: DefaultClock,
    origin: Instant,
    waiting: AtomicUsize,
}

/// The pace of requests. It is made anew when the provider names a lower limit, since governor's cannot be changed.
#[derive(Debug)]
struct Requests {
    rpm: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

impl Requests {
    fn new(rpm: NonZeroU32) -> Self {
        let (interval, burst) = spacing(rpm);
        let quota = Quota::with_period(interval).map(|quota| quota.allow_burst(burst));
        // A zero period cannot come out of `spacing`; a quota of the plain limit would still be strict.
        let limiter = DefaultDirectRateLimiter::direct(quota.unwrap_or_else(|| Quota::per_minute(rpm)));
        // governor begins with a full burst; this one begins with none.
        drop(limiter.check_n(burst));
        Self { rpm, limiter }
    }
}

/// Gives tokens back if the caller is cancelled while it waits for its request permit.
struct Reserved<'a> {
    limiter: &'a InProcess,
    tokens: u64,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.limiter.correct(self.tokens, 0);
    }
}

/// Counts a waiting caller for as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl InProcess {
    /// An empty limiter.
    pub fn new(limits: Limits) -> Self {
        let requests = limits.rpm.and_then(NonZeroU32::new).map(Requests::new);
        Self {
            turn: Mutex::new(()),
            requests: requests.map(StdMutex::new),
            tokens: limits.tpm.map(|tpm| StdMutex::new(Bucket::new(tpm))),
            clock: DefaultClock::default(),
            origin: Instant::now(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits until one call of about `tokens` tokens may be made. Dropping the future gives everything back.
    pub async fn take(&self, tokens: u64) -> Result<Grant, TooLarge> {
        if self.requests.is_none() && self.tokens.is_none() {
            return Ok(Grant { reserved: 0 });
        }
        let waiting = Waiting::begin(&self.waiting);
        let turn = self.turn.lock().await;
        let reserved = self.reserve(tokens).await?;
        if let Some(requests) = &self.requests {
            while let Some(wait) = self.wait_for_request(requests) {
                tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
            }
        }
        drop((turn, waiting));
        std::mem::forget(reserved);
        Ok(Grant { reserved: tokens })
    }

    fn wait_for_request(&self, requests: &StdMutex<Requests>) -> Option<Duration> {
        let requests = requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let refusal = requests.limiter.check().err()?;
        Some(refusal.wait_time_from(self.clock.now()))
    }

    /// The provider counts by these limits: those that are lower than ours are kept from now on.
    pub fn lower(&self, limits: Limits) {
        if let (Some(rpm), Some(requests)) = (limits.rpm.and_then(NonZeroU32::new), &self.requests) {
            let mut requests = requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if rpm < requests.rpm {
                tracing::info!("the provider allows {rpm} requests a minute, fewer than configured");
                *requests = Requests::new(rpm);
            }
        }
        if let (Some(tpm), Some(bucket)) = (limits.tpm.filter(|tpm| *tpm > 0), &self.tokens) {
            let mut bucket = bucket.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            bucket.lower(tpm);
        }
    }

    async fn reserve(&self, tokens: u64) -> Result<Reserved<'_>, TooLarge> {
        loop {
            let Some(bucket) = &self.tokens else {
                return Ok(Reserved {
                    limiter: self,
                    tokens,
                });
            };
            let taken = match bucket.lock() {
                Ok(mut bucket) => bucket.take(self.origin.elapsed(), tokens)?,
                Err(poisoned) => poisoned.into_inner().take(self.origin.elapsed(), tokens)?,
            };
            match taken {
                Ok(()) => {
                    return Ok(Reserved {
                        limiter: self,
                        tokens,
                    });
                }
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// The call is over and used so many tokens; the rest of its reservation is free again.
    pub fn settle(&self, grant: &Grant, used: u64) {
        self.correct(grant.reserved, used);
    }

    fn correct(&self, reserved: u64, used: u64) {
        if let Some(bucket) = &self.tokens {
            let mut bucket = bucket.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            bucket.settle(self.origin.elapsed(), reserved, used);
        }
    }

    /// How many callers wait for their turn.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// The time between two requests and how many may come at once: a quarter of a second of traffic.
///
/// Any 60 seconds see at most `burst - 1 + ceil(60 s / interval)` requests. One per cent is kept back for
/// requests that travel at unequal speed, so that the provider too counts no more than the limit.
fn spacing(rpm: NonZeroU32) -> (Duration, NonZeroU32) {
    let burst = NonZeroU32::new(rpm.get().div_ceil(240)).unwrap_or(NonZeroU32::MIN);
    let kept = burst.get() - 1 + rpm.get() / 100;
    let steady = (rpm.get() - kept).max(1);
    (Duration::from_secs(60).div_f64(f64::from(steady)), burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_never_holds_more_than_the_limit() {
        for rpm in [1, 2, 3, 59, 60, 100, 240, 241, 600, 5_000, 30_000] {
            let (interval, burst) = spacing(NonZeroU32::new(rpm).unwrap());
            let most = f64::from(burst.get() - 1) + (60.0 / interval.as_secs_f64()).ceil();
            assert!(most <= f64::from(rpm), "{rpm}: {most}");
            assert!(most >= 0.95 * f64::from(rpm), "{rpm}: {most}");
        }
    }

    #[tokio::test]
    async fn without_limits_nobody_waits() {
        let limiter = InProcess::new(Limits::default());
        let grant = limiter.take(1_000_000).await.unwrap();
        limiter.settle(&grant, 3);
        assert_eq!(limiter.waiting(), 0);
    }

    #[tokio::test]
    async fn a_call_above_the_limit_is_refused() {
        let limiter = InProcess::new(Limits {
            rpm: None,
            tpm: Some(1000),
        });
        assert_eq!(
            limiter.take(1001).await.unwrap_err(),
            TooLarge {
                asked: 1001,
                limit: 1000
            }
        );
    }

    #[tokio::test]
    async fn a_cancelled_wait_gives_its_tokens_back() {
        let limiter = InProcess::new(Limits {
            rpm: Some(1),
            tpm: Some(60_000),
        });
        let before = limiter.tokens.as_ref().unwrap().lock().unwrap().clone();
        tokio::select! {
            biased;
            _ = limiter.take(600) => panic!("one request a minute was granted at once"),
            () = async { while limiter.waiting() == 0 { tokio::task::yield_now().await; } } => {}
        }
        let after = limiter.tokens.as_ref().unwrap().lock().unwrap().clone();
        let wait = |mut bucket: Bucket| bucket.take(Duration::from_secs(1), 1).unwrap();
        assert_eq!(wait(before), wait(after));
    }
}
