//! The limiter of one process.
//!
//! With a store, the limiter grants only calls that the store already counts. The stored arrival times run a little
//! ahead of the grants, and a grant beyond them waits for the next write (`record.rs`). So after a kill the store
//! counts every call that the process has sent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::record::Record;
use super::{Grant, LimitStore, Limiter, Limits, Pause, TooLarge, WaitingGuard, prolong};
use crate::domain::bucket::Correction;
use crate::domain::pace::{LimitState, Pace};

/// A limiter that is not shared with other processes.
#[derive(Debug)]
pub struct InProcess {
    /// Held by the first caller in line; tokio's mutex is fair, so the order of callers is kept.
    turn: Mutex<()>,
    shared: Arc<LimiterState>,
    /// Notified when capacity is given back or the limits change.
    freed: Notify,
    waiting: AtomicUsize,
    /// The task that writes the record; it ends with the limiter.
    _writer: JoinSet<()>,
}

/// The state shared with the task that writes the record.
#[derive(Debug)]
pub(super) struct LimiterState {
    pace: StdMutex<Pace>,
    pub(super) pauses: watch::Sender<Option<Pause>>,
    origin: Instant,
    record: Option<Record>,
}

/// The next step of a caller.
enum GrantStep {
    Granted(Grant),
    Wait(Duration),
    /// Wait until the store counts the call.
    Write(watch::Receiver<()>),
}

impl InProcess {
    /// Creates an empty limiter without a store; its state is lost with the process.
    pub fn new(limits: Limits) -> Self {
        Self::over(LimiterState::new(limits, None), JoinSet::new())
    }

    /// Creates a limiter that goes on from the stored state and keeps that up to date.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn stored(limits: Limits, state: Option<&LimitState>, store: Arc<dyn LimitStore>) -> Self {
        let shared = LimiterState::new(limits, Some(Record::new(store)));
        if let Some(state) = state {
            shared.restore(state);
        }
        let mut writer = JoinSet::new();
        let record = Arc::clone(&shared);
        writer.spawn(async move { record.keep_record().await });
        Self::over(shared, writer)
    }

    fn over(shared: Arc<LimiterState>, writer: JoinSet<()>) -> Self {
        Self {
            turn: Mutex::new(()),
            shared,
            freed: Notify::new(),
            waiting: AtomicUsize::new(0),
            _writer: writer,
        }
    }

    fn correct(&self, by: Correction) {
        let shared = &self.shared;
        let mut pace = shared.pace();
        pace.correct(shared.now(), by);
        if let Some(record) = &shared.record {
            record.moved(pace.arrivals());
        }
        drop(pace);
        self.freed.notify_one();
    }

    fn pause_end(&self) -> Option<Instant> {
        Pause::end(self.shared.pauses.borrow().as_ref(), Instant::now())
    }
}

impl LimiterState {
    fn new(limits: Limits, record: Option<Record>) -> Arc<Self> {
        Arc::new(Self {
            pace: StdMutex::new(Pace::new(limits, 0)),
            pauses: watch::Sender::default(),
            origin: Instant::now(),
            record,
        })
    }

    pub(super) fn now(&self) -> i64 {
        i64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }

    pub(super) fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, tokens: u64) -> Result<GrantStep, TooLarge> {
        let mut pace = self.pace();
        let now = self.now();
        let wait = pace.wait(now, tokens)?;
        if !wait.is_zero() {
            return Ok(GrantStep::Wait(wait));
        }
        if let Some(record) = &self.record
            && let Some(written) = record.uncovered(pace.arrivals_after(now, tokens))
        {
            return Ok(GrantStep::Write(written));
        }
        let charges = pace.take(now, tokens);
        if let Some(record) = &self.record {
            record.moved(pace.arrivals());
        }
        Ok(GrantStep::Granted(Grant::new(charges, Instant::now())))
    }

    /// Goes on from the stored state of an earlier process.
    fn restore(&self, state: &LimitState) {
        let wall = super::record::wall();
        let now = self.now();
        let arrivals = state
            .arrivals
            .map(|at| at.saturating_sub(wall).saturating_add(now));
        self.pace().restore(now, arrivals, state.largest);
        if let Some(pause) = &state.pause
            && let Some(left) = pause.left(wall)
        {
            prolong(&self.pauses, Instant::now(), left, &pause.reason);
        }
    }

    async fn keep_record(&self) {
        if let Some(record) = &self.record {
            record.keep(self).await;
        }
    }
}

#[async_trait]
impl Limiter for InProcess {
    async fn take(&self, tokens: u64) -> Result<Grant, TooLarge> {
        let _waiting = WaitingGuard::begin(&self.waiting);
        let _turn = self.turn.lock().await;
        loop {
            if let Some(end) = self.pause_end() {
                tokio::time::sleep_until(end).await;
                continue;
            }
            match self.shared.step(tokens)? {
                GrantStep::Granted(grant) => return Ok(grant),
                GrantStep::Wait(wait) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.freed.notified() => {}
                    }
                }
                // The sender is in this limiter, so it is still there.
                GrantStep::Write(mut written) => drop(written.changed().await),
            }
        }
    }

    fn settle(&self, grant: Grant, used: u64) {
        self.correct(grant.settled(used));
    }

    fn give_back(&self, grant: Grant) {
        self.correct(grant.unused());
    }

    fn keep(&self, limits: Limits) {
        self.shared.pace().keep(limits, self.shared.now());
        self.freed.notify_one();
    }

    fn learn(&self, limits: Limits) {
        if self.shared.pace().learn(self.shared.now(), limits) {
            tracing::info!(?limits, "the provider's limits are lower than configured");
        }
    }

    fn of_model(&self, _model: &str) -> Arc<dyn Limiter> {
        Arc::new(Self::new(self.shared.pace().limits()))
    }

    fn pause(&self, lasting: Duration, reason: &str) {
        prolong(&self.shared.pauses, Instant::now(), lasting, reason);
        if let Some(record) = &self.shared.record {
            record.paused();
        }
    }

    fn pauses(&self) -> watch::Receiver<Option<Pause>> {
        self.shared.pauses.subscribe()
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    async fn close(&self) {
        if let Some(record) = &self.shared.record {
            record.close(&self.shared).await;
        }
    }
}
