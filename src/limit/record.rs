//! The stored state of a limiter: it covers every grant, so that a killed process loses none.
//!
//! ```text
//! take ── is the grant covered? ── no ──▶ wait ◀── written ──┐
//!   └── arrival times come near the stored ones ──▶ wake ──▶ writer: one small write, about one a second
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::LimitStore;
use super::in_process::LimiterState;
use crate::domain::bucket::WINDOW;
use crate::domain::pace::{Arrivals, LimitState, StoredPause};

/// How far the stored arrival times are ahead of the grants. After a kill, this much less may be granted.
const LEAD: i64 = 1_000_000_000;

/// The wait before the next try after a failed write.
const AGAIN: Duration = Duration::from_secs(1);

/// The present moment as it is stored: nanoseconds since 1970.
pub(super) fn wall() -> i64 {
    i64::try_from(crate::clock::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// The stored record of one route.
#[derive(Debug)]
pub(super) struct Record {
    store: Arc<dyn LimitStore>,
    horizon: Mutex<Horizon>,
    wake: Notify,
    written: watch::Sender<()>,
    /// Allows one write at a time.
    writing: tokio::sync::Mutex<()>,
}

/// How far the store is ahead of the grants, in nanoseconds of the limiter's clock.
#[derive(Debug)]
struct Horizon {
    /// The arrival times that the store certainly covers.
    covered: Arrivals,
    /// The arrival times that a waiting caller needs.
    wanted: Arrivals,
    /// How far ahead the next write stores.
    lead: i64,
    /// Whether the store lacks a pause.
    unknown_pause: bool,
    /// Whether the stored arrival times differ from the granted ones.
    inexact: bool,
}

impl Record {
    pub(super) fn new(store: Arc<dyn LimitStore>) -> Self {
        Self {
            store,
            horizon: Mutex::new(Horizon {
                covered: Arrivals::default(),
                wanted: Arrivals::default(),
                lead: LEAD,
                unknown_pause: false,
                inexact: false,
            }),
            wake: Notify::new(),
            written: watch::Sender::default(),
            writing: tokio::sync::Mutex::new(()),
        }
    }

    /// Returns a receiver of the next write if the store does not cover these arrival times yet.
    pub(super) fn uncovered(&self, needed: Arrivals) -> Option<watch::Receiver<()>> {
        let mut horizon = self.horizon();
        if horizon.covered.cover(needed) {
            return None;
        }
        horizon.wanted = needed;
        let written = self.written.subscribe();
        self.wake.notify_one();
        Some(written)
    }

    /// Notes the present arrival times: the next write comes before they pass the stored ones.
    pub(super) fn moved(&self, arrivals: Arrivals) {
        if arrivals == Arrivals::default() {
            return;
        }
        let mut horizon = self.horizon();
        horizon.inexact = true;
        if horizon.is_due(arrivals) {
            self.wake.notify_one();
        }
    }

    /// Notes a pause to store.
    pub(super) fn paused(&self) {
        let mut horizon = self.horizon();
        horizon.unknown_pause = true;
        horizon.inexact = true;
        self.wake.notify_one();
    }

    /// Writes the state whenever it is due.
    pub(super) async fn keep(&self, limiter: &LimiterState) {
        loop {
            self.wake.notified().await;
            while self.is_due(limiter)
                && let Err(reason) = self.write(limiter, true).await
            {
                tracing::warn!("the store does not keep the limits, so no call is made: {reason}");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Stores exactly the granted arrival times.
    pub(super) async fn close(&self, limiter: &LimiterState) {
        if self.horizon().inexact
            && let Err(reason) = self.write(limiter, false).await
        {
            tracing::warn!(
                "the store does not keep the limits; the next run may wait a second longer: {reason}"
            );
        }
    }

    fn is_due(&self, limiter: &LimiterState) -> bool {
        let pace = limiter.pace();
        self.horizon().is_due(pace.arrivals())
    }

    async fn write(&self, limiter: &LimiterState, ahead: bool) -> Result<(), String> {
        let _one = self.writing.lock().await;
        let (target, state) = self.next(limiter, ahead);
        let begun = Instant::now();
        let outcome = self.store.put(&state).await;
        let mut horizon = self.horizon();
        if outcome.is_ok() {
            horizon.covered = target;
            // Without this, a store that takes longer than the lead would never catch up with the callers.
            let took = i64::try_from(begun.elapsed().as_nanos()).unwrap_or(i64::MAX);
            horizon.lead = took.saturating_mul(2).clamp(LEAD, WINDOW);
        } else {
            horizon.inexact = true;
            horizon.unknown_pause |= state.pause.is_some();
        }
        self.written.send_replace(());
        outcome
    }

    /// Returns the next arrival times to cover, by the limiter's clock, and the state to store. Until the write is
    /// acknowledged, the store holds this state or the one before, and covers the earlier of the two.
    fn next(&self, limiter: &LimiterState, ahead: bool) -> (Arrivals, LimitState) {
        let pace = limiter.pace();
        let mut horizon = self.horizon();
        let mut target = pace.arrivals();
        if ahead {
            target = target.latest(horizon.wanted).map(|at| at + horizon.lead);
        }
        horizon.covered = horizon.covered.earliest(target);
        horizon.wanted = Arrivals::default();
        horizon.unknown_pause = false;
        horizon.inexact = ahead;
        let since = wall().saturating_sub(limiter.now());
        let state = LimitState {
            arrivals: target.map(|at| at.saturating_add(since)),
            largest: pace.largest(),
            pause: stored_pause(limiter),
        };
        (target, state)
    }

    fn horizon(&self) -> MutexGuard<'_, Horizon> {
        self.horizon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Horizon {
    /// Whether a write is due before the arrival times, or a waiting caller, pass the covered ones.
    fn is_due(&self, arrivals: Arrivals) -> bool {
        let soon = arrivals.map(|at| at + self.lead / 8);
        self.unknown_pause || !self.covered.cover(soon) || !self.covered.cover(self.wanted)
    }
}

fn stored_pause(limiter: &LimiterState) -> Option<StoredPause> {
    let pause = limiter.pauses.borrow().clone()?;
    let left = pause.until.checked_duration_since(Instant::now())?;
    let ns = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    Some(StoredPause {
        until: wall().saturating_add(ns(left)),
        lasting: ns(pause.lasting),
        reason: pause.reason.to_string(),
    })
}
