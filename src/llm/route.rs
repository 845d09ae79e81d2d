//! One route at work: its limiter, its pause, its latch.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::wire::CallError;
use crate::config::{self, Structured};
use crate::domain::bucket::TooLarge;
use crate::domain::retry::RetryPolicy;
use crate::limit::{Grant, InProcess, Limits};

/// A route and what is known of it in this process.
#[derive(Debug)]
pub struct Route {
    /// Where it leads and what it costs.
    pub settings: config::Route,
    limiter: InProcess,
    pause: Mutex<Pause>,
    latch: OnceLock<CallError>,
    /// How far the server's refusals have taken structured output down.
    refused: AtomicU8,
}

#[derive(Debug, Default)]
struct Pause {
    until: Option<Instant>,
    /// 429 answers in a row that named no time.
    unnamed: u32,
}

/// Why nothing moves on a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// It asked for a pause (429).
    Paused {
        /// What is left of it.
        left: Duration,
    },
    /// Calls wait for the limits a minute.
    Limited {
        /// How many.
        calls: usize,
    },
    /// It is dead for this run.
    Latched {
        /// Why.
        reason: String,
    },
}

impl Route {
    pub(super) fn new(settings: config::Route) -> Self {
        let limits = Limits {
            rpm: settings.rpm,
            tpm: settings.tpm,
        };
        Self {
            settings,
            limiter: InProcess::new(limits),
            pause: Mutex::default(),
            latch: OnceLock::new(),
            refused: AtomicU8::new(0),
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

    /// Waits for the end of a pause and for the limits; dropping the future gives everything back.
    pub(super) async fn admit(&self, tokens: u64) -> Result<Grant, TooLarge> {
        self.pause_over().await;
        let grant = self.limiter.take(tokens).await?;
        // A 429 may have come while this call waited for its turn.
        self.pause_over().await;
        Ok(grant)
    }

    async fn pause_over(&self) {
        loop {
            let until = self.paused().until;
            match until {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                _ => return,
            }
        }
    }

    pub(super) fn settle(&self, grant: &Grant, used: u64) {
        self.limiter.settle(grant, used);
    }

    /// All calls wait. A shorter pause never ends a longer one.
    pub(super) fn pause(&self, asked: Option<Duration>) {
        let mut pause = self.paused();
        let wait = asked.unwrap_or_else(|| {
            let wait = RetryPolicy::pause(pause.unnamed, fastrand::f64());
            pause.unnamed = pause.unnamed.saturating_add(1);
            wait
        });
        let until = Instant::now() + wait;
        pause.until = Some(pause.until.map_or(until, |before| before.max(until)));
    }

    /// A good answer: the next pause without a time begins short again.
    pub(super) fn answered(&self) {
        self.paused().unnamed = 0;
    }

    /// The route is dead for this run; only the first reason is kept.
    pub(super) fn latch(&self, error: CallError) {
        drop(self.latch.set(error));
    }

    /// Why the route is dead, if it is.
    pub fn latched(&self) -> Option<&CallError> {
        self.latch.get()
    }

    /// Why nothing moves, if that is so.
    pub fn waiting(&self) -> Option<Waiting> {
        if let Some(error) = self.latch.get() {
            return Some(Waiting::Latched {
                reason: error.message.clone(),
            });
        }
        let left = self
            .paused()
            .until
            .map(|until| until.saturating_duration_since(Instant::now()));
        match (left, self.limiter.waiting()) {
            (Some(left), _) if !left.is_zero() => Some(Waiting::Paused { left }),
            (_, 0) => None,
            (_, calls) => Some(Waiting::Limited { calls }),
        }
    }

    fn paused(&self) -> MutexGuard<'_, Pause> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
