//! One route at work: its limiter, its pause, its breaker, its latch.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::breaker::{Breaker, Door};
use super::wire::{CallError, RateHeaders};
use crate::config::{self, Structured};
use crate::domain::bucket::TooLarge;
use crate::domain::retry::{BreakerPolicy, RetryPolicy};
use crate::limit::{Grant, InProcess, Limits};

/// Tells everyone who waits for a route that one of them has changed.
pub(super) type Changes = watch::Sender<()>;

/// A route and what is known of it in this process.
#[derive(Debug)]
pub struct Route {
    /// Where it leads and what it costs.
    pub settings: config::Route,
    limiter: InProcess,
    breaker: Breaker,
    pause: Mutex<Pause>,
    latch: OnceLock<CallError>,
    /// Since when it has been open or paused without an answer in between.
    down_since: Mutex<Option<Instant>>,
    /// How far the server's refusals have taken structured output down.
    refused: AtomicU8,
    changes: Arc<Changes>,
}

#[derive(Debug, Default)]
struct Pause {
    until: Option<Instant>,
    reason: String,
    /// 429 answers in a row that named no time.
    unnamed: u32,
}

/// How a route stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Calls go out.
    Free,
    /// Calls wait for the limits a minute.
    Limited {
        /// How many.
        calls: usize,
    },
    /// It asked for a pause (429, `Retry-After`).
    Paused {
        /// What is left of it.
        left: Duration,
        /// What the provider said.
        reason: String,
    },
    /// It failed so often in a row that it is left alone for a while.
    Open {
        /// Until one call goes to see.
        left: Duration,
        /// The last failure.
        reason: String,
    },
    /// One call has gone to see.
    HalfOpen {
        /// The last failure.
        reason: String,
    },
    /// It is dead for this run.
    Latched {
        /// Why.
        reason: String,
    },
}

/// Leave to call, or what to wait for.
pub(super) enum Gate {
    Free,
    Probe,
    Shut(Shut),
}

/// A route that cannot be called now.
#[derive(Debug, Clone)]
pub(super) struct Shut {
    /// When to look again; `None` while a probe is on its way.
    pub(super) until: Option<Instant>,
    /// Why.
    pub(super) reason: String,
    /// Whether it merely asked for a pause.
    pub(super) paused: bool,
}

impl Route {
    pub(super) fn new(settings: config::Route, breaker: BreakerPolicy, changes: Arc<Changes>) -> Self {
        let limits = Limits {
            rpm: settings.rpm,
            tpm: settings.tpm,
        };
        Self {
            settings,
            limiter: InProcess::new(limits),
            breaker: Breaker::new(breaker),
            pause: Mutex::default(),
            latch: OnceLock::new(),
            down_since: Mutex::default(),
            refused: AtomicU8::new(0),
            changes,
        }
    }

    /// How the form of an answer is asked for now.
    pub fn structured(&self) -> Structured {
        const LADDER: [Structured; 3] = [Structured::JsonSchema, Structured::JsonObject, Structured::Prompt];
        let refused = usize::from(self.refused.load(Ordering::Relaxed));
        LADDER[refused.min(2)].max(self.settings.structured)
    }

    /// The server refused to be asked so; from now on nobody asks it so. Several calls that were refused together
    /// take one step together. Answers false if there is no step left.
    pub fn downgrade(&self, from: Structured) -> bool {
        let below = match from {
            Structured::JsonSchema => 1,
            Structured::JsonObject => 2,
            Structured::Prompt => return false,
        };
        self.refused.fetch_max(below, Ordering::Relaxed);
        true
    }

    /// Whether it can be called now; nothing changes.
    pub(super) fn look(&self, now: Instant) -> Gate {
        self.gate(now, self.breaker.look(now))
    }

    /// As [`Self::look`]; whoever gets [`Gate::Probe`] is the one that goes to see.
    pub(super) fn enter(&self, now: Instant) -> Gate {
        match self.look(now) {
            Gate::Probe => self.gate(now, self.breaker.enter(now)),
            other => other,
        }
    }

    fn gate(&self, now: Instant, door: Door) -> Gate {
        let pause = self.paused();
        match (pause.until.filter(|until| *until > now), door) {
            (Some(until), _) => Gate::Shut(Shut {
                until: Some(until),
                reason: pause.reason.clone(),
                paused: true,
            }),
            (None, Door::Free) => Gate::Free,
            (None, Door::Probe) => Gate::Probe,
            (None, Door::Shut { until, reason }) => Gate::Shut(Shut {
                until,
                reason,
                paused: false,
            }),
        }
    }

    /// Waits for the limits a minute; dropping the future gives everything back.
    pub(super) async fn take(&self, tokens: u64) -> Result<Grant, TooLarge> {
        self.limiter.take(tokens).await
    }

    pub(super) fn settle(&self, grant: &Grant, used: u64) {
        self.limiter.settle(grant, used);
    }

    /// All calls wait. A shorter pause never ends a longer one.
    pub(super) fn pause(&self, asked: Option<Duration>, reason: &str) {
        if asked == Some(Duration::ZERO) {
            return self.is_down(Instant::now());
        }
        let mut pause = self.paused();
        let wait = asked.unwrap_or_else(|| {
            let wait = RetryPolicy::pause(pause.unnamed, fastrand::f64());
            pause.unnamed = pause.unnamed.saturating_add(1);
            wait
        });
        let now = Instant::now();
        // No clock reaches a moment that is ages away, and no run waits for it.
        let until = now + wait.min(Duration::from_secs(30 * 24 * 3600));
        pause.until = Some(pause.until.map_or(until, |before| before.max(until)));
        reason.clone_into(&mut pause.reason);
        drop(pause);
        self.is_down(now);
    }

    /// What the provider says of its limits: where nothing is left the route pauses, and a lower limit than ours is
    /// the one to keep.
    pub(super) fn correct(&self, rate: &RateHeaders, tokens: u64) {
        self.limiter.lower(Limits {
            rpm: rate.limit_requests.and_then(|limit| u32::try_from(limit).ok()),
            tpm: rate.limit_tokens,
        });
        if let Some(wait) = rate.wait(tokens) {
            self.pause(Some(wait), "its rate-limit headers say that nothing is left");
        }
    }

    /// An answer of the server to this very request, good or not: it is well.
    pub(super) fn alive(&self) {
        *self.down() = None;
        self.breathes();
    }

    /// Something came back from the server, even if it was that it has no time: it is not ill.
    pub(super) fn breathes(&self) {
        if self.breaker.answered() {
            self.changes.send_replace(());
        }
    }

    /// A good answer: the next pause without a time begins short again.
    pub(super) fn answered(&self) {
        self.paused().unnamed = 0;
        self.alive();
    }

    /// It failed in a way that says that it is ill; whether its breaker is open now.
    pub(super) fn failed(&self, probe: bool, reason: &str) -> bool {
        let now = Instant::now();
        let open = self.breaker.failed(now, probe, reason);
        if open {
            self.is_down(now);
        }
        open
    }

    /// The call that went to see came to no end.
    pub(super) fn probe_given_up(&self) {
        self.breaker.probe_given_up(Instant::now());
        self.changes.send_replace(());
    }

    /// The route is dead for this run; only the first reason is kept.
    pub(super) fn latch(&self, error: CallError) {
        if self.latch.set(error).is_ok() {
            self.changes.send_replace(());
        }
    }

    /// Why the route is dead, if it is.
    pub fn latched(&self) -> Option<&CallError> {
        self.latch.get()
    }

    /// Since when it has been out of use without an answer in between.
    pub(super) fn down_since(&self) -> Option<Instant> {
        *self.down()
    }

    /// How it stands now.
    pub fn standing(&self) -> Standing {
        if let Some(error) = self.latch.get() {
            let reason = error.message.clone();
            return Standing::Latched { reason };
        }
        let now = Instant::now();
        let left = |until: Instant| until.saturating_duration_since(now);
        match self.look(now) {
            Gate::Shut(Shut {
                until: Some(until),
                reason,
                paused: true,
            }) => Standing::Paused {
                left: left(until),
                reason,
            },
            Gate::Shut(Shut {
                until: Some(until),
                reason,
                ..
            }) => Standing::Open {
                left: left(until),
                reason,
            },
            Gate::Shut(Shut { reason, .. }) => Standing::HalfOpen { reason },
            Gate::Free | Gate::Probe => match self.limiter.waiting() {
                0 => Standing::Free,
                calls => Standing::Limited { calls },
            },
        }
    }

    fn is_down(&self, now: Instant) {
        self.down().get_or_insert(now);
        self.changes.send_replace(());
    }

    fn down(&self) -> MutexGuard<'_, Option<Instant>> {
        self.down_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn paused(&self) -> MutexGuard<'_, Pause> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
