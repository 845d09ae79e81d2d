//! Requests and tokens per minute: take before a call, settle after it.
//!
//! ```text
//! callers ──take──▶ Limiter: InProcess, or InPostgres ──one statement for all callers──▶ a row that the fleet shares
//!                            └── LimitStore: the state for the next process
//! ```
//!
//! Failure behaviour: a limiter never fails open.
//!
//! * It starts empty. With a store it goes on from the use of the process before, so that a restart adds nothing to a
//!   minute.
//! * A call larger than the configured limit is refused with a message instead of being delayed for ever.
//! * It grants nothing while its store or database is out of reach. A grant whose statement has an unknown end counts
//!   as used, but no call uses it.
//! * A limit that is learned from a provider's answers slows calls down; it refuses none, and it expires.
//!
//! A grant is a permission to send now: [`Grant::is_fresh`] says whether it still is. A process that was frozen takes a
//! new grant, because a late call falls into a minute that others have filled.
//!
//! Deliberately absent: the decision when to pause, which belongs to the route (`llm/route.rs`).

mod breaker;
mod in_process;
mod postgres;
mod record;

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

pub use crate::domain::bucket::{Limits, TooLarge};
pub use crate::domain::pace::{LimitState, StoredPause};
pub use breaker::{Breaker, Door};
pub use in_process::InProcess;
pub use postgres::InPostgres;

use crate::domain::bucket::{Charges, Correction};

/// A call is sent within this time of its grant. It is shorter than the travel time to the provider that the arithmetic
/// allows for.
pub const FRESH: Duration = Duration::from_millis(250);

/// Keeps the limit state of one route for the next process.
#[async_trait]
pub trait LimitStore: Debug + Send + Sync {
    /// Stores the state. On return it is durable, also after a crash. After an error the store holds this state or the
    /// one before.
    async fn put(&self, state: &LimitState) -> Result<(), String>;
}

/// Paces the calls of one route, in the order in which they ask.
#[async_trait]
pub trait Limiter: Debug + Send + Sync {
    /// Waits until one call of about `tokens` tokens may be made; the grant is fresh. Dropping the future gives the
    /// reservation back. After a crash of the process its grants count as used.
    async fn take(&self, tokens: u64) -> Result<Grant, TooLarge>;

    /// Settles a call that is over and used this many tokens: the rest is free again, an excess is charged. A
    /// settlement is not durable: after a crash the reservation counts as it was made.
    fn settle(&self, grant: Grant, used: u64);

    /// Gives back the grant of a call that was not made. Its tokens are free again, and its request too if the grant is
    /// fresh.
    fn give_back(&self, grant: Grant);

    /// Sets the limits, also where there were none.
    fn keep(&self, limits: Limits);

    /// Records the limits that the provider has named. Those lower than the limits in force pace the calls of everyone
    /// who shares the limits, until no answer has named them for a while. They refuse no call.
    fn learn(&self, limits: Limits);

    /// Returns a separate limiter with the same limits for the calls of one model.
    fn of_model(&self, model: &str) -> Arc<dyn Limiter>;

    /// Pauses all grants for this long, for everyone who shares the limits. A shorter pause never ends a longer one.
    fn pause(&self, lasting: Duration, reason: &str);

    /// Returns the pause that ends last so far, whether it is over or not, of this process or another one.
    fn pauses(&self) -> watch::Receiver<Option<Pause>>;

    /// Returns how many callers wait here.
    fn waiting(&self) -> usize;

    /// Stores the state for the next process as exactly as possible.
    async fn close(&self);
}

/// The permission to make one call.
#[derive(Debug)]
#[must_use = "its reservation stays until it is settled or given back"]
pub struct Grant {
    charges: Charges,
    /// The moment of the grant, or a little earlier.
    since: Instant,
}

impl Grant {
    fn new(charges: Charges, since: Instant) -> Self {
        Self { charges, since }
    }

    /// Whether a call may still be sent with it.
    pub fn is_fresh(&self) -> bool {
        self.since.elapsed() < FRESH
    }

    fn settled(&self, used: u64) -> Correction {
        Correction {
            requests: 0,
            tokens: self.charges.tokens.correction(used),
        }
    }

    /// Returns the correction of an unused grant. A request that is given back late would be one too many in the
    /// following minute.
    fn unused(&self) -> Correction {
        Correction {
            requests: if self.is_fresh() {
                -self.charges.request.ns()
            } else {
                0
            },
            tokens: -self.charges.tokens.ns(),
        }
    }
}

/// A time in which nothing is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Its end.
    pub until: Instant,
    /// Its whole length.
    pub lasting: Duration,
    /// The provider's message.
    pub reason: Arc<str>,
}

impl Pause {
    /// Returns the end of the pause, unless it is over.
    pub fn end(pause: Option<&Self>, now: Instant) -> Option<Instant> {
        pause.map(|pause| pause.until).filter(|until| *until > now)
    }
}

/// Pauses for this long, unless a pause that ends later is set.
fn prolong(pauses: &watch::Sender<Option<Pause>>, since: Instant, lasting: Duration, reason: &str) {
    let until = since + lasting;
    pauses.send_if_modified(|pause| {
        let longer = pause.as_ref().is_none_or(|pause| pause.until < until);
        if longer {
            *pause = Some(Pause {
                until,
                lasting,
                reason: reason.into(),
            });
        }
        longer
    });
}

/// Counts a waiting caller while it waits.
pub(crate) struct WaitingGuard<'a>(&'a AtomicUsize);

impl<'a> WaitingGuard<'a> {
    pub(crate) fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bucket::Charge;

    fn grant() -> Grant {
        let charges = Charges {
            request: Charge {
                amount: 1,
                units: 604,
            },
            tokens: Charge {
                amount: 10,
                units: 6_040,
            },
        };
        Grant::new(charges, Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn a_grant_grows_old() {
        let grant = grant();
        let given_back = |requests, tokens| Correction { requests, tokens };
        assert!(grant.is_fresh());
        assert_eq!(grant.unused(), given_back(-100_000_000, -100_000_000));
        tokio::time::advance(FRESH).await;
        assert!(!grant.is_fresh());
        assert_eq!(grant.unused(), given_back(0, -100_000_000));
    }

    #[test]
    fn what_was_used_replaces_what_was_reserved() {
        let grant = grant();
        assert_eq!(grant.settled(10).tokens, 0);
        assert_eq!(grant.settled(4).tokens, -60_000_000);
        assert_eq!(grant.settled(14).tokens, 40_000_000);
        assert_eq!(grant.settled(4).requests, 0);
    }
}
