//! The input of the next statement: waiting callers in their order, corrections, news.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::super::{Grant, Limits, TooLarge};
use super::row::News;
use crate::domain::bucket::Correction;

/// How often a lower limit of the provider is reported again, because it expires when no process reports it.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// The place of a caller in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueuePlace {
    /// For a new caller.
    Last,
    /// For a caller that has waited already and whose grant was too old.
    First,
}

/// A waiting caller.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) tokens: u64,
    answer: oneshot::Sender<Result<Grant, TooLarge>>,
}

impl Caller {
    pub(super) fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }

    /// Answers the caller with its grant; returns the grant if the caller is gone.
    pub(super) fn grant(self, grant: Grant) -> Result<(), Grant> {
        match self.answer.send(Ok(grant)) {
            Err(Ok(grant)) => Err(grant),
            _ => Ok(()),
        }
    }

    pub(super) fn refuse(self, limit: u64) {
        let asked = self.tokens;
        drop(self.answer.send(Err(TooLarge { asked, limit })));
    }
}

/// The queue between the callers and the batcher.
#[derive(Debug)]
pub(super) struct WaitQueue {
    sheet: Mutex<WaitQueueState>,
    /// Notified when a caller arrives, perhaps the first one.
    pub(super) arrived: Notify,
    /// Notified when there is news or a correction.
    pub(super) changed: Notify,
}

#[derive(Debug)]
struct WaitQueueState {
    callers: VecDeque<Caller>,
    correction: Correction,
    limits: Limits,
    /// Lower limits that are not yet reported to the other processes.
    lower: Limits,
    /// The lower limits that were reported last, and when.
    told_lower: Option<(Limits, Instant)>,
    pause: Option<(Instant, String)>,
}

/// The answer to a waiting caller. When dropped, it gives back a grant that arrived meanwhile.
struct Awaited<'a> {
    queue: &'a WaitQueue,
    answer: oneshot::Receiver<Result<Grant, TooLarge>>,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(grant)) = self.answer.try_recv() {
            self.queue.give_back(&grant);
        }
    }
}

impl WaitQueue {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            sheet: Mutex::new(WaitQueueState {
                callers: VecDeque::new(),
                correction: Correction::default(),
                limits,
                lower: Limits::default(),
                told_lower: None,
                pause: None,
            }),
            arrived: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// Waits for the grant of one call.
    pub(super) async fn queue(&self, tokens: u64, place: QueuePlace) -> Result<Grant, TooLarge> {
        let (sender, answer) = oneshot::channel();
        let caller = Caller {
            tokens,
            answer: sender,
        };
        let mut awaited = Awaited { queue: self, answer };
        {
            let mut sheet = self.sheet();
            if let Some(limit) = sheet.limits.tpm.filter(|limit| tokens > *limit) {
                return Err(TooLarge { asked: tokens, limit });
            }
            match place {
                QueuePlace::Last => sheet.callers.push_back(caller),
                QueuePlace::First => sheet.callers.push_front(caller),
            }
        }
        self.arrived.notify_one();
        match (&mut awaited.answer).await {
            Ok(answer) => answer,
            // The batcher has ended with its runtime, so no further grant can come.
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes the first callers that still wait.
    pub(super) fn first(&self, most: usize) -> Vec<Caller> {
        let callers = &mut self.sheet().callers;
        callers.retain(|caller| !caller.is_gone());
        callers.drain(..callers.len().min(most)).collect()
    }

    /// Puts callers back before all others.
    pub(super) fn put_back(&self, callers: Vec<Caller>) {
        let sheet = &mut self.sheet();
        for caller in callers.into_iter().rev() {
            sheet.callers.push_front(caller);
        }
    }

    pub(super) fn has_callers(&self) -> bool {
        self.sheet().callers.iter().any(|caller| !caller.is_gone())
    }

    pub(super) fn limits(&self) -> Limits {
        self.sheet().limits
    }

    pub(super) fn give_back(&self, grant: &Grant) {
        self.correct(grant.unused());
    }

    /// Changes the reservation by this correction.
    pub(super) fn correct(&self, by: Correction) {
        if by == Correction::default() {
            return;
        }
        let correction = &mut self.sheet().correction;
        correction.requests = correction.requests.saturating_add(by.requests);
        correction.tokens = correction.tokens.saturating_add(by.tokens);
        self.changed.notify_one();
    }

    pub(super) fn correction(&self) -> Correction {
        std::mem::take(&mut self.sheet().correction)
    }

    pub(super) fn has_correction(&self) -> bool {
        self.sheet().correction != Correction::default()
    }

    /// Sets the limits.
    pub(super) fn keep(&self, limits: Limits) {
        self.sheet().limits = limits;
        self.changed.notify_one();
    }

    /// Reports the lower limits that the provider has named to all processes, this one included.
    pub(super) fn learn(&self, limits: Limits) {
        let mut sheet = self.sheet();
        let below = limits.below(sheet.limits);
        if below == Limits::default() {
            return;
        }
        // A higher one changes nothing before the lower one expires.
        let known = sheet
            .told_lower
            .filter(|(told, _)| told.strictest(below) == *told);
        match known {
            Some((_, at)) if at.elapsed() < TOLD_AGAIN => return,
            Some(_) => {}
            None => tracing::info!(?limits, "the provider's limits are lower than configured"),
        }
        sheet.lower = below;
        sheet.told_lower = Some((below, Instant::now()));
        drop(sheet);
        self.changed.notify_one();
    }

    pub(super) fn pause(&self, until: Instant, reason: &str) {
        let pause = &mut self.sheet().pause;
        if pause.as_ref().is_none_or(|(before, _)| *before < until) {
            *pause = Some((until, reason.to_owned()));
            self.changed.notify_one();
        }
    }

    /// Returns the news that the other processes do not have yet, if any.
    pub(super) fn news(&self) -> Option<News> {
        let sheet = self.sheet();
        let now = Instant::now();
        let pause = sheet.pause.as_ref().filter(|(until, _)| *until > now);
        let pause = pause.map(|(until, reason)| (until.saturating_duration_since(now), reason.clone()));
        let lower = sheet.lower;
        (pause.is_some() || lower != Limits::default()).then_some(News { pause, lower })
    }

    /// Marks the news as delivered, unless it has changed since.
    pub(super) fn told(&self, news: &News, asked: Instant) {
        let mut sheet = self.sheet();
        if sheet.lower == news.lower {
            sheet.lower = Limits::default();
        }
        let told_until = news.pause.as_ref().map(|(lasting, _)| asked + *lasting);
        if sheet
            .pause
            .as_ref()
            .is_some_and(|(until, _)| told_until.is_some_and(|told| *until <= told))
        {
            sheet.pause = None;
        }
    }

    fn sheet(&self) -> MutexGuard<'_, WaitQueueState> {
        self.sheet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bucket::{Charge, Charges};

    const LIMITS: Limits = Limits {
        rpm: Some(60),
        tpm: None,
    };

    #[tokio::test]
    async fn what_is_granted_to_one_that_has_just_gone_comes_back() {
        let queue = WaitQueue::new(LIMITS);
        let request = Charge { amount: 1, units: 60 };
        let charges = Charges {
            request,
            ..Charges::default()
        };
        for is_answered in [true, false] {
            let mut waiting = Box::pin(queue.queue(1, QueuePlace::Last));
            assert!(tokio::time::timeout(Duration::ZERO, &mut waiting).await.is_err());
            let caller = queue.first(1).remove(0);
            let grant = Grant::new(charges, Instant::now());
            if is_answered {
                caller.grant(grant).unwrap();
                drop(waiting);
            } else {
                drop(waiting);
                queue.give_back(&caller.grant(grant).unwrap_err());
            }
            assert_eq!(queue.correction().requests, -request.ns());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lower_limit_is_told_again_while_it_is_spoken_of() {
        let queue = WaitQueue::new(LIMITS);
        let lower = Limits {
            rpm: Some(6),
            tpm: Some(1),
        };
        let told = || {
            queue.learn(lower);
            let news = queue.news();
            news.map(|news| {
                queue.told(&news, Instant::now());
                news.lower
            })
        };
        let limits = Limits {
            rpm: Some(6),
            tpm: None,
        };
        assert_eq!([told(), told()], [Some(limits), None]);
        tokio::time::advance(TOLD_AGAIN).await;
        assert_eq!([told(), told()], [Some(limits), None]);
        queue.learn(LIMITS);
        assert_eq!((queue.news().is_none(), queue.limits()), (true, LIMITS));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_told_until_it_is_over() {
        let queue = WaitQueue::new(LIMITS);
        queue.pause(Instant::now() + TOLD_AGAIN, "slow down");
        let news = queue.news().unwrap();
        queue.pause(Instant::now() + TOLD_AGAIN * 2, "slower");
        queue.told(&news, Instant::now());
        assert_eq!(
            queue.news().unwrap().pause,
            Some((TOLD_AGAIN * 2, "slower".to_owned()))
        );
        tokio::time::advance(TOLD_AGAIN * 2).await;
        assert!(queue.news().is_none());
    }
}
