//! The theoretical arrival time of a bucket, computed with `governor`: it decides whether a grant is admitted and how
//! far the grant moves the time.
//!
//! One nanosecond is one cell of `governor`'s rate algorithm, and each grant asks for one cell. The key of the request
//! carries the weight of the grant in nanoseconds, because a weight of `governor` has at most 32 bits. Our own state
//! store adds this weight. The store also lets a caller move the time back, which `governor` cannot do.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use super::bucket::TOLERANCE;

/// The arrival time of one bucket, in nanoseconds of a clock that the caller reads.
#[derive(Debug)]
pub(super) struct Arrival {
    limiter: RateLimiter<ArrivalRequest, Moment, Moment, NoOpMiddleware<Nanos>>,
    at: Moment,
    present: Moment,
}

/// A request to the rate algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ArrivalRequest {
    /// The charge of the grant in nanoseconds.
    ns: u64,
    /// Whether the grant is taken; if not, the request only returns the wait.
    take: bool,
}

/// A moment that we set and `governor` reads.
#[derive(Debug, Clone, Default)]
struct Moment(Arc<AtomicU64>);

impl Moment {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, ns: i64) {
        self.0.store(unsigned(ns), Ordering::Relaxed);
    }
}

impl Clock for Moment {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.get().into()
    }
}

impl StateStore for Moment {
    type Key = ArrivalRequest;

    fn measure_and_replace<T, F, E>(&self, ask: &ArrivalRequest, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut before = self.get();
        loop {
            let (granted, next) = decide(Some(before.into()))?;
            if !ask.take {
                return Ok(granted);
            }
            // `governor` has added one cell; that cell is part of the weight.
            let after = (next.as_u64() - 1).saturating_add(ask.ns);
            match self
                .0
                .compare_exchange_weak(before, after, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Ok(granted),
                Err(now) => before = now,
            }
        }
    }
}

impl Arrival {
    pub(super) fn at(ns: i64) -> Self {
        let (arrival, present) = (Moment::default(), Moment::default());
        let tolerance = u32::try_from(TOLERANCE).unwrap_or(u32::MAX - 1);
        let burst = NonZeroU32::MIN.saturating_add(tolerance);
        let quota = Quota::with_period(Duration::from_nanos(1)).unwrap_or(Quota::per_second(NonZeroU32::MIN));
        // The clock reads 0 here, so that 0 is the origin of all times.
        let limiter = RateLimiter::new(quota.allow_burst(burst), arrival.clone(), present.clone());
        arrival.set(ns);
        Self {
            limiter,
            at: arrival,
            present,
        }
    }

    pub(super) fn ns(&self) -> i64 {
        i64::try_from(self.at.get()).unwrap_or(i64::MAX)
    }

    pub(super) fn set(&mut self, ns: i64) {
        self.at.set(ns);
    }

    /// Returns how long a grant has to wait; 0 if it may be taken now.
    pub(super) fn wait(&self, now: i64) -> i64 {
        self.ask(now, ArrivalRequest { ns: 0, take: false })
    }

    /// Takes a grant of this weight. A grant that should have waited is charged too.
    pub(super) fn take(&mut self, now: i64, ns: i64) {
        let ask = ArrivalRequest {
            ns: unsigned(ns),
            take: true,
        };
        if self.ask(now, ask) > 0 {
            self.set(self.ns().max(now) + ns);
        }
    }

    fn ask(&self, now: i64, ask: ArrivalRequest) -> i64 {
        self.present.set(now);
        match self.limiter.check_key(&ask) {
            Ok(()) => 0,
            Err(refused) => {
                let wait = refused.wait_time_from(self.limiter.clock().now());
                i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX)
            }
        }
    }
}

fn unsigned(ns: i64) -> u64 {
    ns.max(0).unsigned_abs()
}
