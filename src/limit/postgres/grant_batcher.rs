//! The one task of this process that asks the row, for all waiting callers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::super::{Grant, Pause, prolong};
use super::row::{LimitAnswer, LimitRow, Question, signed};
use super::wait_queue::{Caller, WaitQueue};
use crate::domain::bucket::{Charges, Correction};
use crate::postgres::{DatabaseFault, Passing};

/// The most calls of one statement: it fits into a few packets.
const MOST: usize = 256;

/// How long corrections are gathered before a statement sends them.
const GATHERED: Duration = Duration::from_millis(50);

/// How often the row is polled while a caller waits: other processes may have given back, or paused.
const LOOK: Duration = Duration::from_secs(1);

/// The longest wait between two tries while the database answers and refuses.
const REFUSED: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct GrantBatcher {
    row: LimitRow,
    queue: Arc<WaitQueue>,
    pauses: watch::Sender<Option<Pause>>,
}

impl GrantBatcher {
    pub(super) fn new(row: LimitRow, queue: Arc<WaitQueue>, pauses: watch::Sender<Option<Pause>>) -> Self {
        Self { row, queue, pauses }
    }

    /// Asks until it is aborted.
    pub(super) async fn run(mut self) {
        loop {
            self.until_there_is_work().await;
            if let Err(fault) = self.ask().await {
                self.sit_out(&fault).await;
            }
        }
    }

    async fn until_there_is_work(&self) {
        let queue = &self.queue;
        let mut gathered = None;
        while !queue.has_callers() && queue.news().is_none() {
            if queue.has_correction() && gathered.is_none() {
                gathered = Some(Instant::now() + GATHERED);
            }
            tokio::select! {
                () = crate::clock::sleep_until(gathered) => return,
                () = queue.arrived.notified() => {}
                () = queue.changed.notified() => {}
            }
        }
    }

    /// Sends news, settles corrections and takes grants for waiting callers. Then it waits as long as the row demands.
    async fn ask(&mut self) -> Result<(), DatabaseFault> {
        if let Some(news) = self.queue.news() {
            let asked = Instant::now();
            self.row.tell(&news).await?;
            self.queue.told(&news, asked);
        }
        let callers = self.queue.first(MOST);
        let question = Question {
            calls: callers.iter().map(|caller| signed(caller.tokens)).collect(),
            limits: self.queue.limits(),
            correction: self.queue.correction(),
        };
        if callers.is_empty() && question.correction == Correction::default() {
            return Ok(());
        }
        // Read before sending: an answer that was delayed on its way must count as old.
        let asked = Instant::now();
        let answer = match self.row.ask(&question).await {
            Ok(answer) => answer,
            Err(unanswered) => {
                if failpoint!("limits-fail-open") {
                    for caller in callers {
                        drop(caller.grant(Grant::new(Charges::default(), Instant::now())));
                    }
                } else {
                    self.queue.put_back(callers);
                }
                let Correction { requests, tokens } = question.correction;
                self.queue.correct(if unanswered.perhaps_done {
                    // If the statement was done, a charge counts twice at worst; a refund never counts twice.
                    Correction {
                        requests: requests.max(0),
                        tokens: tokens.max(0),
                    }
                } else {
                    question.correction
                });
                return Err(unanswered.fault);
            }
        };
        if let Some((left, reason)) = &answer.paused {
            prolong(&self.pauses, asked, *left, reason);
        }
        if self.hand_out(callers, &answer, asked) {
            self.until_there_is_room(answer.wait).await;
        }
        Ok(())
    }

    /// Hands out the grants of an answer. Returns whether a caller still waits.
    fn hand_out(&self, callers: Vec<Caller>, answer: &LimitAnswer, asked: Instant) -> bool {
        let mut callers = callers.into_iter();
        for caller in callers.by_ref().take(answer.taken) {
            let grant = Grant::new(answer.charges(caller.tokens), asked);
            if let Err(grant) = caller.grant(grant) {
                self.queue.give_back(&grant);
            }
        }
        // The limits may have changed since the call was queued.
        let limit = self.queue.limits().tpm.unwrap_or(u64::MAX);
        let mut left = Vec::new();
        for caller in callers {
            if caller.tokens > limit {
                caller.refuse(limit);
            } else {
                left.push(caller);
            }
        }
        let somebody = !left.is_empty();
        self.queue.put_back(left);
        somebody
    }

    async fn until_there_is_room(&self, wait: Duration) {
        let mut until = Instant::now() + wait.min(LOOK);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                () = self.queue.changed.notified() => {}
            }
            if self.queue.news().is_some() {
                return;
            }
            if self.queue.has_correction() {
                until = until.min(Instant::now() + GATHERED);
            }
        }
    }

    /// Waits until another try makes sense.
    async fn sit_out(&self, fault: &DatabaseFault) {
        let lasting = if fault.passing().is_some() || fault.is_cancelled() {
            match self.row.until_reachable().await {
                Ok(()) => GATHERED,
                Err(_) => REFUSED,
            }
        } else {
            tracing::warn!(
                limit = self.row.name(),
                "the database does not keep the limits, so no call is made: {fault}"
            );
            REFUSED
        };
        tokio::time::sleep(lasting.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
}
