//! One route at work: its limiter, its pauses, its breaker, its latch.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::breaker::{Breaker, Door};
use super::dialect::Call;
use super::evidence::Evidence;
use super::finish::Finishes;
use super::learned::{Learned, Lesson, Manner};
use super::limits::{Leave, RouteLimits};
use super::warnings::Warnings;
use super::wire::{CallError, RateHeaders};
use crate::config::{self, Structured};
use crate::domain::bucket::TooLarge;
use crate::domain::retry::{BreakerPolicy, RetryPolicy};
use crate::limit::{Limiter, Limits, Pause};

/// A day. No provider's window is longer, and a pause outlives the process: an absurd number must not shut a route for
/// good.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// Tells everyone who waits for a route that one of them has changed.
pub(super) type Changes = watch::Sender<()>;

/// A route and what is known of it in this process.
#[derive(Debug)]
pub struct Route {
    /// Where it leads and what it costs.
    pub settings: config::Route,
    pub(super) evidence: Evidence,
    pub(super) warnings: Warnings,
    limits: RouteLimits,
    /// Its limits', which carries them to everyone who shares it.
    pauses: watch::Receiver<Option<Pause>>,
    /// 429 answers in a row that named no time.
    unnamed: AtomicU32,
    breaker: Breaker,
    latch: OnceLock<CallError>,
    /// Since when it has been open or paused without an answer in between.
    down_since: Mutex<Option<Instant>>,
    /// How its answers end.
    pub(super) finishes: Finishes,
    learned: Learned,
    changes: Arc<Changes>,
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
    pub(super) fn new(
        settings: config::Route,
        limiter: Arc<dyn Limiter>,
        breaker: BreakerPolicy,
        changes: Arc<Changes>,
    ) -> Self {
        Self {
            evidence: Evidence::default(),
            warnings: Warnings::default(),
            learned: Learned::new(&settings),
            pauses: limiter.pauses(),
            limits: RouteLimits::new(limiter, settings.limits()),
            settings,
            unnamed: AtomicU32::new(0),
            breaker: Breaker::new(breaker),
            latch: OnceLock::new(),
            down_since: Mutex::default(),
            finishes: Finishes::default(),
            changes,
        }
    }

    /// How the form of an answer is asked for now.
    pub(super) fn structured(&self) -> Structured {
        self.learned.structured()
    }

    /// How to ask for so long an answer to a prompt of so many tokens, whose form is asked for in this way.
    pub(super) fn manner(&self, longest: u32, prompt_tokens: u64, structured: Structured) -> Manner {
        self.learned.manner(longest, prompt_tokens, structured)
    }

    /// Whether the server refused how it was asked, so that the call is to be made again; what is new is said once.
    pub(super) fn learns(&self, error: &CallError, call: &Call<'_>) -> bool {
        let lesson = call.manner().and_then(|asked| self.learned.learn(error, asked));
        if let Some(Lesson::New(what)) = &lesson {
            self.warnings.add(format!("{what}: {}", error.message));
        }
        lesson.is_some()
    }

    /// Warnings for people that nobody has taken yet.
    pub fn take_warnings(&self) -> Vec<String> {
        self.warnings.take()
    }

    /// Whether it can be called now; nothing changes.
    pub(super) fn look(&self, now: Instant) -> Gate {
        self.gate(now, self.breaker.look(now))
    }

    /// As [`Self::look`]; whoever gets [`Gate::Probe`] is the one that goes to see. A pause that somebody else was asked
    /// for is known of from here on.
    pub(super) fn enter(&self, now: Instant) -> Gate {
        match self.look(now) {
            Gate::Probe => self.gate(now, self.breaker.enter(now)),
            Gate::Shut(shut) => {
                if shut.paused {
                    self.down().get_or_insert(now);
                }
                Gate::Shut(shut)
            }
            Gate::Free => Gate::Free,
        }
    }

    fn gate(&self, now: Instant, door: Door) -> Gate {
        let pause = self.pauses.borrow();
        let pause = pause.as_ref().filter(|pause| pause.until > now);
        match (pause, door) {
            (Some(pause), _) => Gate::Shut(Shut {
                until: Some(pause.until),
                reason: pause.reason.to_string(),
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
    pub(super) async fn take(&self, call: &Call<'_>) -> Result<Leave, TooLarge> {
        self.limits.take(call).await
    }

    /// Returns when the route is paused, whoever was asked for it.
    pub(super) async fn until_paused(&self) {
        let mut pauses = self.pauses.clone();
        let is_on = |pause: &Option<Pause>| Pause::end(pause.as_ref(), Instant::now()).is_some();
        if pauses.wait_for(is_on).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The call is over and used so many tokens.
    pub(super) fn settle(&self, leave: Leave, used: u64) {
        self.limits.settle(leave, used);
    }

    /// The call is not made.
    pub(super) fn give_back(&self, leave: Leave) {
        self.limits.give_back(leave);
    }

    /// All calls wait. A shorter pause never ends a longer one.
    pub(super) fn pause(&self, asked: Option<Duration>, reason: &str) {
        if asked == Some(Duration::ZERO) {
            return self.is_down(Instant::now());
        }
        let wait = asked.unwrap_or_else(|| {
            let before = self.unnamed.fetch_add(1, Ordering::Relaxed);
            RetryPolicy::pause(before, fastrand::f64())
        });
        self.limits.pause(wait.min(LONGEST_PAUSE), reason);
        self.is_down(Instant::now());
    }

    /// The run allows so much a minute; the settings may allow less.
    pub(super) fn keep(&self, run: Limits) {
        self.limits.keep(run);
    }

    /// What the process after this one has to know of its limits is stored.
    pub(super) async fn close(&self) {
        self.limits.close().await;
    }

    /// What the provider says of its limits: where nothing is left the route pauses, and a lower limit than ours slows
    /// the calls of that model.
    pub(super) fn correct(&self, rate: &RateHeaders, call: &Call<'_>) {
        self.limits.learn(&call.model, rate.a_minute());
        if let Some(wait) = rate.wait(call.tokens) {
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
        self.unnamed.store(0, Ordering::Relaxed);
        self.alive();
        if self.evidence.answered() {
            self.changes.send_replace(());
        }
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
            Gate::Free | Gate::Probe => match self.limits.waiting() {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Flags};
    use crate::limit::InProcess;

    /// Routes of two workers that share their limits.
    fn two() -> [Route; 2] {
        let env = |name: &str| (name == "OPENAI_API_KEY").then(|| "test".to_owned());
        let config = Config::load(&Flags::default(), &env).unwrap();
        let limiter: Arc<dyn Limiter> = Arc::new(InProcess::new(Limits::default()));
        [(); 2].map(|()| {
            let changes = Arc::new(watch::Sender::new(()));
            Route::new(
                config.routes[0].clone(),
                Arc::clone(&limiter),
                config.breaker,
                changes,
            )
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_one_worker_pauses_the_route_of_another() {
        let [one, other] = two();
        let left = Duration::from_secs(20);
        one.pause(Some(left), "slow down");
        other.until_paused().await;
        let reason = "slow down".to_owned();
        assert_eq!(other.standing(), Standing::Paused { left, reason });
        assert_eq!(other.down_since(), None);
        assert!(matches!(other.enter(Instant::now()), Gate::Shut(shut) if shut.paused));
        assert_eq!(other.down_since(), Some(Instant::now()));
        tokio::time::advance(left).await;
        assert_eq!(other.standing(), Standing::Free);
        assert!(matches!(other.enter(Instant::now()), Gate::Free));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_without_a_time_grow_until_an_answer_comes() {
        let [route, _] = two();
        let pause = |route: &Route| {
            route.pause(None, "slow down");
            route.unnamed.load(Ordering::Relaxed)
        };
        assert_eq!([pause(&route), pause(&route)], [1, 2]);
        route.answered();
        assert_eq!(pause(&route), 1);
    }
}
