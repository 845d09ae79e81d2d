//! How a run ends: of itself, drained, cancelled, or at once.
//!
//! A first signal drains: nothing new is sent, what is on its way is paid and therefore awaited. A second
//! one, or the end of the grace, cancels. A third one, or the end of the time that is left then, leaves everything as it
//! stands but for what was sent, which is booked; the store is consistent at every moment.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock;
use crate::engine::RunError;
use crate::engine::job::Driven;
use crate::llm::{Doubts, Stop};
use crate::observe::{Announcer, Commonest, Ending, RunEvent};
use crate::store::Done;

/// How long a run that gave up its calls waits for what is left to do: for a store that does not answer, or a reader that
/// does not read. A grace of a supervisor that is ten seconds longer than ours is kept.
pub(in crate::engine) const LAST_WAIT: Duration = Duration::from_secs(7);

/// How long a run that ends at once takes to book what it has sent.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How far the run is on its way to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    Draining,
    Cancelled,
    Abandoned,
}

/// The end of a run in the making.
pub(in crate::engine) struct Shutdown<'a> {
    announcer: &'a Announcer,
    stop: Stop,
    grace: Duration,
    phase: Phase,
    grace_over: Option<Instant>,
    /// When nothing is waited for any more.
    ends: Option<Instant>,
    deadline: Option<Instant>,
    ending: Ending,
    failed: Option<RunError>,
}

impl<'a> Shutdown<'a> {
    pub(in crate::engine) const fn new(
        announcer: &'a Announcer,
        stop: Stop,
        grace: Duration,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            announcer,
            stop,
            grace,
            phase: Phase::Running,
            grace_over: None,
            ends: None,
            deadline,
            ending: Ending::Finished,
            failed: None,
        }
    }

    /// What stops one queue: as all the others, or alone.
    pub(in crate::engine) fn stop_for_one(&self, queue: i64) -> Stop {
        self.stop.of_queue(queue)
    }

    /// The requests whose failure waits for proof.
    pub(in crate::engine) const fn doubts(&self) -> &Doubts {
        self.stop.doubts()
    }

    /// Whether the run is ending before its work is done.
    pub(in crate::engine) fn has_begun(&self) -> bool {
        self.phase > Phase::Running
    }

    /// Whether nothing is awaited any more.
    pub(in crate::engine) fn is_abandoned(&self) -> bool {
        self.phase == Phase::Abandoned
    }

    /// Whether leases can still be given back: not to a store that has failed.
    pub(in crate::engine) const fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    pub(in crate::engine) fn signal(&mut self, signal: i32, calls: usize) {
        match self.phase {
            Phase::Running => {
                self.drain(Ending::Signal(signal), "stopping", calls);
                if failpoint!("first-signal-cancels") {
                    self.cancel();
                }
            }
            Phase::Draining => self.cancel(),
            Phase::Cancelled | Phase::Abandoned => self.abandon(),
        }
    }

    /// Ends the run; what is on its way is paid, so it is awaited and settled.
    pub(in crate::engine) fn drain(&mut self, ending: Ending, cause: &str, calls: usize) {
        if self.has_begun() {
            return;
        }
        self.ending = ending;
        self.phase = Phase::Draining;
        self.grace_over = Some(Instant::now() + self.grace);
        self.stop.drain.cancel();
        if calls > 0 {
            let cause = cause.to_owned();
            self.announcer.announce(RunEvent::Draining { cause, calls });
        }
    }

    /// As [`Self::drain`], after an error that leaves the store whole; with a store that takes nothing more, at once.
    pub(in crate::engine) fn fail_gently(&mut self, error: RunError, calls: usize) {
        if error.is_end_of_store() {
            return self.fail(error);
        }
        self.note(error);
        self.drain(Ending::Finished, "stopping after an error", calls);
    }

    /// Ends the run at once: nothing that comes in could be kept.
    pub(in crate::engine) fn fail(&mut self, error: RunError) {
        self.note(error);
        self.stop.drain.cancel();
        self.stop.cancel.cancel();
        self.abandon();
    }

    /// Ends the run at once; what was sent is still booked, if the store takes it.
    fn abandon(&mut self) {
        let ends = Instant::now() + AT_ONCE;
        self.phase = Phase::Abandoned;
        self.ends = Some(
            self.ends
                .map_or(ends, |before| before.clamp(Instant::now(), ends)),
        );
    }

    /// The time of a run that was cancelled is over. What it could not store is done again by whoever has the lease next.
    pub(in crate::engine) fn time_is_over(&mut self, trouble: Option<String>) {
        if let Some(trouble) = trouble {
            let signal = self.signalled();
            self.note(RunError::OutOfReach { trouble, signal });
        }
        self.abandon();
    }

    /// The signal that ended the run, if one did.
    const fn signalled(&self) -> Option<i32> {
        match self.ending {
            Ending::Signal(number) => Some(number),
            _ => None,
        }
    }

    /// Until when the store and others may still be waited for.
    pub(in crate::engine) fn ends(&self) -> Instant {
        self.ends.unwrap_or_else(|| Instant::now() + LAST_WAIT)
    }

    /// The first error is the cause of the others.
    pub(in crate::engine) fn note(&mut self, error: RunError) {
        if self.failed.is_none() {
            self.failed = Some(error);
        }
    }

    pub(in crate::engine) fn cancel(&mut self) {
        self.grace_over = None;
        if self.phase < Phase::Cancelled {
            self.phase = Phase::Cancelled;
            self.ends = Some(Instant::now() + LAST_WAIT);
            self.stop.cancel.cancel();
            self.announcer.announce(RunEvent::Cancelled);
        }
    }

    /// Waits for the end of the grace; for ever, if none has begun. Cancel-safe.
    pub(in crate::engine) async fn grace_over(&self) {
        clock::sleep_until(self.grace_over).await;
    }

    /// Waits for the end of what a cancelled run has time for; for ever, if it is not cancelled or over already.
    /// Cancel-safe.
    pub(in crate::engine) async fn end_of_time(&self) {
        clock::sleep_until(self.ends.filter(|_| self.phase == Phase::Cancelled)).await;
    }

    /// Waits for the deadline of a run that is not ending yet; for ever, if it has none. Cancel-safe.
    pub(in crate::engine) async fn deadline(&self) {
        clock::sleep_until(self.deadline.filter(|_| !self.has_begun())).await;
    }

    pub(in crate::engine) fn into_driven(self, done: Done, commonest: Option<Commonest>) -> Driven {
        Driven {
            done,
            commonest,
            ends: self.ends.map(|ends| ends.max(Instant::now() + AT_ONCE / 2)),
            ending: self.ending,
            failed: self.failed,
        }
    }
}
