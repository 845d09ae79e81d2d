//! Requests and tokens a minute: take before a call, settle after it.
//!
//! ```text
//! callers ──take──▶ Limiter: InProcess, or InPostgres ──one statement for all who wait──▶ a row that the fleet shares
//! ```
//!
//! Failure behaviour: a limiter never fails open. It starts empty, so that a restart in the middle of a
//! minute adds nothing to what the process before it used, and a call larger than the limit is refused
//! with a message rather than delayed for ever. A shared limiter whose database is out of reach grants nothing; what
//! the end of a statement leaves unknown counts as granted and is not used.
//!
//! A grant is leave to send now: [`Grant::is_fresh`] says whether it still is. What a frozen process wakes up with is
//! taken anew, since a call that is sent late falls into a minute that others have filled.
//!
//! Deliberately absent: the choice when to pause, which belongs to the route (`llm/route.rs`).

mod in_process;
mod postgres;

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

pub use crate::domain::bucket::{Limits, TooLarge};
pub use in_process::InProcess;
pub use postgres::InPostgres;

use crate::domain::bucket::{Charges, Correction};

/// A call is sent within this of its grant: less than what the arithmetic leaves for the way to the provider.
pub const FRESH: Duration = Duration::from_millis(250);

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

    /// The provider counts by these limits: those that are lower than ours are kept from now on, by everyone who
    /// shares them.
    fn lower(&self, limits: Limits);

    /// Nothing is granted for so long, to anyone who shares the limits. A shorter pause never ends a longer one.
    fn pause(&self, lasting: Duration, reason: &str);

    /// The longest pause so far, over or not, whoever asked for it.
    fn pauses(&self) -> watch::Receiver<Option<Pause>>;

    /// How many callers wait for their turn here.
    fn waiting(&self) -> usize;
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
    /// What the provider said.
    pub reason: Arc<str>,
}

impl Pause {
    /// The end, unless it is over.
    pub fn end(pause: Option<&Self>, now: Instant) -> Option<Instant> {
        pause.map(|pause| pause.until).filter(|until| *until > now)
    }
}

/// Pauses until then, unless it does so already.
fn prolong(pauses: &watch::Sender<Option<Pause>>, until: Instant, reason: &str) {
    pauses.send_if_modified(|pause| {
        let longer = pause.as_ref().is_none_or(|pause| pause.until < until);
        if longer {
            let reason = reason.into();
            *pause = Some(Pause { until, reason });
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
