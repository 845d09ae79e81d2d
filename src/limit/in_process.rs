//! The limiter of one process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::Instant;

use super::{Grant, Limiter, Limits, Pause, TooLarge, Waiting, prolong};
use crate::domain::bucket::{Correction, Pace};

/// A limiter that nobody else shares.
#[derive(Debug)]
pub struct InProcess {
    /// Held by the one caller that waits; tokio's mutex is fair, so nobody is overtaken.
    turn: Mutex<()>,
    pace: StdMutex<Pace>,
    /// Something came back, which may be what is waited for.
    freed: Notify,
    pauses: watch::Sender<Option<Pause>>,
    origin: Instant,
    waiting: AtomicUsize,
}

impl InProcess {
    /// An empty limiter.
    pub fn new(limits: Limits) -> Self {
        Self {
            turn: Mutex::new(()),
            pace: StdMutex::new(Pace::new(limits, 0)),
            freed: Notify::new(),
            pauses: watch::Sender::default(),
            origin: Instant::now(),
            waiting: AtomicUsize::new(0),
        }
    }

    fn now(&self) -> i64 {
        i64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn correct(&self, by: Correction) {
        self.pace().correct(self.now(), by);
        self.freed.notify_one();
    }

    fn pause_end(&self) -> Option<Instant> {
        Pause::end(self.pauses.borrow().as_ref(), Instant::now())
    }
}

#[async_trait]
impl Limiter for InProcess {
    async fn take(&self, tokens: u64) -> Result<Grant, TooLarge> {
        let _waiting = Waiting::begin(&self.waiting);
        let _turn = self.turn.lock().await;
        loop {
            if let Some(end) = self.pause_end() {
                tokio::time::sleep_until(end).await;
                continue;
            }
            let taken = self.pace().take(self.now(), tokens)?;
            match taken {
                Ok(charges) => return Ok(Grant::new(charges, Instant::now())),
                Err(wait) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.freed.notified() => {}
                    }
                }
            }
        }
    }

    fn settle(&self, grant: Grant, used: u64) {
        self.correct(grant.settled(used));
    }

    fn give_back(&self, grant: Grant) {
        self.correct(grant.unused());
    }

    fn lower(&self, limits: Limits) {
        if self.pace().lower(limits) {
            tracing::info!(?limits, "the provider allows less a minute than configured");
        }
    }

    fn pause(&self, lasting: Duration, reason: &str) {
        prolong(&self.pauses, Instant::now() + lasting, reason);
    }

    fn pauses(&self) -> watch::Receiver<Option<Pause>> {
        self.pauses.subscribe()
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}
