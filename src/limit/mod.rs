//! Requests and tokens a minute: take before a call, settle after it.
//!
//! ```text
//! callers ──take──▶ Limiter: InProcess, or InPostgres ──one statement for all who wait──▶ a row that the fleet shares
//!                            └── LimitStore: what the process after this one has to know
//! ```
//!
//! Failure behaviour: a limiter never fails open. It starts empty, and where it has a store it goes on from what the
//! process before it used, so that a restart adds nothing to a minute. A call larger than the configured limit is refused
//! with a message rather than delayed for ever. A limiter whose store or database is out of reach grants nothing; what
//! the end of a statement leaves unknown counts as granted and is not used. A limit that is learned from a provider's
//! answers slows calls down; it refuses none, and it lapses.
//!
//! A grant is leave to send now: [`Grant::is_fresh`] says whether it still is. What a frozen process wakes up with is
//! taken anew, since a call that is sent late falls into a minute that others have filled.
//!
//! Deliberately absent: the choice when to pause, which belongs to the route (`llm/route.rs`).

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
pub use in_process::InProcess;
pub use postgres::InPostgres;

use crate::domain::bucket::{Charges, Correction};

/// A call is sent within this of its grant: less than what the arithmetic leaves for the way to the provider.
pub const FRESH: Duration = Duration::from_millis(250);

/// Keeps what a process knows of the limits of one route for the process after it.
#[async_trait]
pub trait LimitStore: Debug + Send + Sync {
    /// That is the state: durable, also after a crash. On an error it may be, or the one before it is.
    async fn put(&self, state: &LimitState) -> Result<(), String>;
}

/// Paces the calls of one route, in the order in which they ask.
#[async_trait]
pub trait Limiter: Debug + Send + Sync {
    /// Waits until one call of about `tokens` tokens may be made; the grant is fresh. Dropping the future gives
    /// everything back. After a crash of the process what it was granted counts as used.
    async fn take(&self, tokens: u64) -> Result<Grant, TooLarge>;

    /// The call is over and used so many tokens: the rest is free again, an excess is charged. Durable nowhere: a
    /// crash leaves the reservation as it was made.
    fn settle(&self, grant: Grant, used: u64);

    /// The call was not made. Its tokens are free again, and its request too if the grant is fresh.
    fn give_back(&self, grant: Grant);

    /// These are the limits from now on, also where there were none.
    fn keep(&self, limits: Limits);

    /// The provider has named these limits. Calls are paced by those that are lower than the limits in force, of everyone
    /// who shares them, until no answer has named them for a while. They refuse no call.
    fn learn(&self, limits: Limits);

    /// A limiter of the same limits for the calls of one model, apart from this one.
    fn of_model(&self, model: &str) -> Arc<dyn Limiter>;

    /// Nothing is granted for so long, to anyone who shares the limits. A shorter pause never ends a longer one.
    fn pause(&self, lasting: Duration, reason: &str);

    /// The longest pause so far, over or not, whoever asked for it.
    fn pauses(&self) -> watch::Receiver<Option<Pause>>;

    /// How many callers wait for their turn here.
    fn waiting(&self) -> usize;

    /// What the process after this one has to know is stored as exactly as it can be.
    async fn close(&self);
}

/// Leave to make one call.
#[derive(Debug)]
#[must_use = "what it reserves stays reserved until it is settled or given back"]
pub struct Grant {
    charges: Charges,
    /// No later than the moment at which it was granted.
    since: Instant,
}

impl Grant {
    fn new(charges: Charges, since: Instant) -> Self {
        Self { charges, since }
    }

    /// Whether a call may still be sent on it.
    pub fn is_fresh(&self) -> bool {
        self.since.elapsed() < FRESH
    }

    fn settled(&self, used: u64) -> Correction {
        Correction {
            requests: 0,
            tokens: self.charges.tokens.correction(used),
        }
    }

    /// A request that is given back late would be one too many in the minute that follows.
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
    /// How long it is from its beginning.
    pub lasting: Duration,
    /// What the provider said.
    pub reason: Arc<str>,
}

impl Pause {
    /// The end, unless it is over.
    pub fn end(pause: Option<&Self>, now: Instant) -> Option<Instant> {
        pause.map(|pause| pause.until).filter(|until| *until > now)
    }
}

/// Pauses for so long, unless it does so already.
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

/// Counts a waiting caller for as long as it waits.
pub(crate) struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    pub(crate) fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
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
