//! A route in use: its limiter, pauses, breaker and latch.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::dialect::Call;
use super::evidence::Evidence;
use super::finish::Finishes;
use super::learned::{LearnedManner, Lesson, Manner};
use super::limits::{Leave, RouteLimits};
use super::traffic::Traffic;
use super::warnings::Warnings;
use super::wire::{CallError, RateHeaders};
use crate::config::{self, Structured};
use crate::domain::bucket::TooLarge;
use crate::domain::retry::{BreakerPolicy, RetryPolicy};
use crate::limit::{Breaker, Door, Limiter, Limits, Pause};

/// One day. No provider has a longer window. A pause outlives the process, so an absurd number must not close a route
/// for good.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// Notifies all waiting calls that a route has changed.
pub(super) type RouteSignal = watch::Sender<()>;

/// A route and its state in this process.
#[derive(Debug)]
pub struct Route {
    /// Its address, model and price.
    pub settings: config::RouteSettings,
    pub(super) evidence: Evidence,
    pub(super) warnings: Warnings,
    pub(super) limits: RouteLimits,
    /// Its calls, counted for the display.
    pub(super) traffic: Traffic,
    /// The pauses of its limiter, which shares them with every worker on the same limits.
    pauses: watch::Receiver<Option<Pause>>,
    /// 429 answers in a row without a time.
    unnamed: AtomicU32,
    breaker: Breaker,
    latch: OnceLock<CallError>,
    /// The time since when it has been open or paused without an answer in between.
    down_since: Mutex<Option<Instant>>,
    /// The ends of its answers.
    pub(super) finishes: Finishes,
    learned: LearnedManner,
    changes: Arc<RouteSignal>,
}

/// The state of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteStatus {
    /// Calls are sent.
    Free,
    /// Calls wait for the limits a minute.
    Limited {
        /// The number of calls.
        calls: usize,
    },
    /// The provider requested a pause (429, `Retry-After`).
    Paused {
        /// The time left.
        left: Duration,
        /// The provider's message.
        reason: String,
    },
    /// The breaker is open after several failures in a row.
    Open {
        /// The time until the probe.
        left: Duration,
        /// The last failure.
        reason: String,
    },
    /// A probe is in flight.
    HalfOpen {
        /// The last failure.
        reason: String,
    },
    /// The route is dead for this run.
    Latched {
        /// The reason.
        reason: String,
    },
}

/// Permission to call, or the reason to wait.
pub(super) enum Gate {
    Free,
    Probe,
    Shut(Shut),
}

/// A route that cannot be called now.
#[derive(Debug, Clone)]
pub(super) struct Shut {
    /// The time to check again; `None` while a probe is in flight.
    pub(super) until: Option<Instant>,
    /// The reason.
    pub(super) reason: String,
    /// Whether it is only a requested pause.
    pub(super) paused: bool,
}

impl Route {
    pub(super) fn new(
        settings: config::RouteSettings,
        limiter: Arc<dyn Limiter>,
        breaker: BreakerPolicy,
        changes: Arc<RouteSignal>,
    ) -> Self {
        Self {
            evidence: Evidence::default(),
            warnings: Warnings::default(),
            traffic: Traffic::default(),
            learned: LearnedManner::new(&settings),
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

    /// Returns how the route enforces the form of an answer now.
    pub(super) fn structured(&self) -> Structured {
        self.learned.structured()
    }

    /// Returns the manner for a call with this token limit, this prompt size and this way to enforce the form.
    pub(super) fn manner(&self, longest: u32, prompt_tokens: u64, structured: Structured) -> Manner {
        self.learned.manner(longest, prompt_tokens, structured)
    }

    /// Learns from a refusal. Returns whether the call must be made again in another manner. Warns once for each new
    /// lesson.
    pub(super) fn learns(&self, error: &CallError, call: &Call<'_>) -> bool {
        let lesson = call.manner().and_then(|asked| self.learned.learn(error, asked));
        if let Some(Lesson::New(what)) = &lesson {
            self.warnings.add(format!("{what}: {}", error.message));
        }
        lesson.is_some()
    }

    /// Returns the warnings that were added since the last call.
    pub fn take_warnings(&self) -> Vec<String> {
        self.warnings.take()
    }

    /// Returns whether the route can be called now, without a change of state.
    pub(super) fn look(&self, now: Instant) -> Gate {
        self.gate(now, self.breaker.look(now))
    }

    /// Returns the gate as [`Self::look`] does. The caller that gets [`Gate::Probe`] is the only probe. A pause that
    /// another worker received starts the down time here.
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

    /// Waits for the limits a minute. Dropping the future gives everything back.
    pub(super) async fn take(&self, call: &Call<'_>) -> Result<Leave, TooLarge> {
        self.limits.take(call).await
    }

    /// Returns when the route is paused, by this worker or by another one.
    pub(super) async fn until_paused(&self) {
        let mut pauses = self.pauses.clone();
        let is_on = |pause: &Option<Pause>| Pause::end(pause.as_ref(), Instant::now()).is_some();
        if pauses.wait_for(is_on).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Records the end of a call that used so many tokens.
    pub(super) fn settle(&self, leave: Leave, used: u64) {
        self.limits.settle(leave, used);
    }

    /// Gives the permission of an unsent call back.
    pub(super) fn give_back(&self, leave: Leave) {
        self.limits.give_back(leave);
    }

    /// Pauses the route for all calls. A shorter pause never ends a longer one. A pause of zero only records that the
    /// route is down.
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

    /// Applies the limits of the run. The stricter limit of settings and run holds.
    pub(super) fn keep(&self, run: Limits) {
        self.limits.keep(run);
    }

    /// Stores the state of the limits for the next process.
    pub(super) async fn close(&self) {
        self.limits.close().await;
    }

    /// Applies the provider's rate-limit headers. The route pauses if no capacity is left. A limit that is lower than
    /// ours slows the calls of that model.
    pub(super) fn correct(&self, rate: &RateHeaders, call: &Call<'_>) {
        self.limits.learn(&call.model, rate.a_minute());
        if let Some(wait) = rate.wait(call.tokens) {
            self.pause(Some(wait), "its rate-limit headers say that nothing is left");
        }
    }

    /// Records an answer to a request, good or not: it ends the down time and closes the breaker.
    pub(super) fn alive(&self) {
        *self.down() = None;
        self.breathes();
    }

    /// Closes the breaker after any response of the server, even a 429.
    pub(super) fn breathes(&self) {
        if self.breaker.answered() {
            self.changes.send_replace(());
        }
    }

    /// Records a good answer. The next pause without a time starts short again.
    pub(super) fn answered(&self) {
        self.unnamed.store(0, Ordering::Relaxed);
        self.alive();
        if self.evidence.answered() {
            self.changes.send_replace(());
        }
    }

    /// Records a failure that counts against the route. Returns whether the breaker is open now.
    pub(super) fn failed(&self, probe: bool, reason: &str) -> bool {
        let now = Instant::now();
        let open = self.breaker.failed(now, probe, reason);
        if open {
            self.is_down(now);
        }
        open
    }

    /// Ends a probe without a result.
    pub(super) fn probe_given_up(&self) {
        self.breaker.probe_given_up(Instant::now());
        self.changes.send_replace(());
    }

    /// Latches the route: it is dead for this run. Only the first reason is kept.
    pub(super) fn latch(&self, error: CallError) {
        if self.latch.set(error).is_ok() {
            self.changes.send_replace(());
        }
    }

    /// Returns the reason why the route is dead, if it is.
    pub fn latched(&self) -> Option<&CallError> {
        self.latch.get()
    }

    /// Returns the time since when the route has been out of use without an answer in between.
    pub(super) fn down_since(&self) -> Option<Instant> {
        *self.down()
    }

    /// Returns the present state.
    pub fn standing(&self) -> RouteStatus {
        if let Some(error) = self.latch.get() {
            let reason = error.message.clone();
            return RouteStatus::Latched { reason };
        }
        let now = Instant::now();
        let left = |until: Instant| until.saturating_duration_since(now);
        match self.look(now) {
            Gate::Shut(Shut {
                until: Some(until),
                reason,
                paused: true,
            }) => RouteStatus::Paused {
                left: left(until),
                reason,
            },
            Gate::Shut(Shut {
                until: Some(until),
                reason,
                ..
            }) => RouteStatus::Open {
                left: left(until),
                reason,
            },
            Gate::Shut(Shut { reason, .. }) => RouteStatus::HalfOpen { reason },
            Gate::Free | Gate::Probe => match self.limits.waiting() {
                0 => RouteStatus::Free,
                calls => RouteStatus::Limited { calls },
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

    /// Returns the routes of two workers that share their limits.
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
        assert_eq!(other.standing(), RouteStatus::Paused { left, reason });
        assert_eq!(other.down_since(), None);
        assert!(matches!(other.enter(Instant::now()), Gate::Shut(shut) if shut.paused));
        assert_eq!(other.down_since(), Some(Instant::now()));
        tokio::time::advance(left).await;
        assert_eq!(other.standing(), RouteStatus::Free);
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
