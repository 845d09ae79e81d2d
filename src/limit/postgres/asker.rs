//! The one task that asks the row, for all who wait in this process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::super::{Grant, Pause, prolong};
use super::desk::{Caller, Desk};
use super::row::{Answer, Question, Row, signed};
use crate::domain::bucket::{Charges, Correction};
use crate::postgres::{Fault, Passing};

/// So many calls are asked for at once: a statement that fits into a few packets.
const MOST: usize = 256;

/// What comes back is gathered for so long where nobody waits for it.
const GATHERED: Duration = Duration::from_millis(50);

/// While somebody waits, the row is looked at so often: others may have given back, or paused.
const LOOK: Duration = Duration::from_secs(1);

/// Between two tries where the database answers and refuses, at most.
const REFUSED: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Asker {
    row: Row,
    desk: Arc<Desk>,
    pauses: watch::Sender<Option<Pause>>,
}

impl Asker {
    pub(super) fn new(row: Row, desk: Arc<Desk>, pauses: watch::Sender<Option<Pause>>) -> Self {
        Self { row, desk, pauses }
    }

    /// Asks for as long as it is let.
    pub(super) async fn run(mut self) {
        loop {
            self.until_there_is_work().await;
            if let Err(fault) = self.ask().await {
                self.sit_out(&fault).await;
            }
        }
    }

    async fn until_there_is_work(&self) {
        let desk = &self.desk;
        let mut gathered = None;
        while !desk.has_callers() && desk.news().is_none() {
            if desk.has_correction() && gathered.is_none() {
                gathered = Some(Instant::now() + GATHERED);
            }
            tokio::select! {
                () = crate::clock::sleep_until(gathered) => return,
                () = desk.arrived.notified() => {}
                () = desk.changed.notified() => {}
            }
        }
    }

    /// Tells what is new, settles, and takes for those who wait; then waits for as long as they have to.
    async fn ask(&mut self) -> Result<(), Fault> {
        if let Some(news) = self.desk.news() {
            let asked = Instant::now();
            self.row.tell(&news).await?;
            self.desk.told(&news, asked);
        }
        let callers = self.desk.first(MOST);
        let question = Question {
            calls: callers.iter().map(|caller| signed(caller.tokens)).collect(),
            limits: self.desk.limits(),
            correction: self.desk.correction(),
        };
        if callers.is_empty() && question.correction == Correction::default() {
            return Ok(());
        }
        // Before it is sent: an answer that was long on its way is an old one.
        let asked = Instant::now();
        let answer = match self.row.ask(&question).await {
            Ok(answer) => answer,
            Err(unanswered) => {
                if failpoint!("limits-fail-open") {
                    for caller in callers {
                        drop(caller.grant(Grant::new(Charges::default(), Instant::now())));
                    }
                } else {
                    self.desk.put_back(callers);
                }
                let Correction { requests, tokens } = question.correction;
                self.desk.correct(if unanswered.perhaps_done {
                    // Charged twice at worst, and never given back twice.
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

    /// Answers whether somebody still waits.
    fn hand_out(&self, callers: Vec<Caller>, answer: &Answer, asked: Instant) -> bool {
        let mut callers = callers.into_iter();
        for caller in callers.by_ref().take(answer.taken) {
            let grant = Grant::new(answer.charges(caller.tokens), asked);
            if let Err(grant) = caller.grant(grant) {
                self.desk.give_back(&grant);
            }
        }
        // The limits may have changed since it came.
        let limit = self.desk.limits().tpm.unwrap_or(u64::MAX);
        let mut left = Vec::new();
        for caller in callers {
            if caller.tokens > limit {
                caller.refuse(limit);
            } else {
                left.push(caller);
            }
        }
        let somebody = !left.is_empty();
        self.desk.put_back(left);
        somebody
    }

    async fn until_there_is_room(&self, wait: Duration) {
        let mut until = Instant::now() + wait.min(LOOK);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                () = self.desk.changed.notified() => {}
            }
            if self.desk.news().is_some() {
                return;
            }
            if self.desk.has_correction() {
                until = until.min(Instant::now() + GATHERED);
            }
        }
    }

    /// Waits until there is a sense in asking again.
    async fn sit_out(&self, fault: &Fault) {
        let lasting = if fault.passing().is_some() || fault.is_cancelled() {
            match self.row.until_reachable().await {
                Ok(()) => GATHERED,
                Err(_) => REFUSED,
            }
        } else {
            tracing::warn!(
                limit = self.row.name(),
                "the database refuses to keep the limits, and no call is made without: {fault}"
            );
            REFUSED
        };
        tokio::time::sleep(lasting.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
}
