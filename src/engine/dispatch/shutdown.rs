//! How a run ends: by itself, drained, cancelled, or at once.
//!
//! The first signal drains: no new call is sent, and calls in flight are awaited because they are paid. The second
//! signal, or the end of the grace, cancels the calls. The third signal, or the end of the time after that, ends the
//! run at once: it only records the calls that were sent. The store is consistent at every moment.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock;
use crate::engine::RunError;
use crate::engine::job::Driven;
use crate::llm::{Doubts, Stop};
use crate::observe::{Commonest, EventBus, RunEnding, RunEvent};
use crate::store::WorkerProgress;

/// How long a cancelled run waits for a store that does not answer, or for a reader that does not read. A supervisor
/// whose grace is ten seconds longer than ours does not kill the process.
pub(in crate::engine) const LAST_WAIT: Duration = Duration::from_secs(7);

/// How long a run that ends at once takes to record the calls that it sent.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The phase of the run's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ShutdownPhase {
    Running,
    Draining,
    Cancelled,
    Abandoned,
}

/// The end of a run.
pub(in crate::engine) struct Shutdown<'a> {
    events: &'a EventBus,
    stop: Stop,
    grace: Duration,
    phase: ShutdownPhase,
    grace_over: Option<Instant>,
    /// The time at which all waiting ends.
    ends: Option<Instant>,
    deadline: Option<Instant>,
    ending: RunEnding,
    failed: Option<RunError>,
}

impl<'a> Shutdown<'a> {
    pub(in crate::engine) const fn new(
        events: &'a EventBus,
        stop: Stop,
        grace: Duration,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            events,
            stop,
            grace,
            phase: ShutdownPhase::Running,
            grace_over: None,
            ends: None,
            deadline,
            ending: RunEnding::Finished,
            failed: None,
        }
    }

    /// The stop of one queue: it stops with all others, or alone.
    pub(in crate::engine) fn stop_for_one(&self, queue: i64) -> Stop {
        self.stop.of_queue(queue)
    }

    /// The requests whose failure waits for proof.
    pub(in crate::engine) const fn doubts(&self) -> &Doubts {
        self.stop.doubts()
    }

    /// Whether the run is ending before its work is done.
    pub(in crate::engine) fn has_begun(&self) -> bool {
        self.phase > ShutdownPhase::Running
    }

    /// Whether the run ends at once and waits for nothing more.
    pub(in crate::engine) fn is_abandoned(&self) -> bool {
        self.phase == ShutdownPhase::Abandoned
    }

    /// Whether an error ended the run. Leases cannot be released to a store that failed.
    pub(in crate::engine) const fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    pub(in crate::engine) fn signal(&mut self, signal: i32, calls: usize) {
        match self.phase {
            ShutdownPhase::Running => {
                self.drain(RunEnding::Signal(signal), "stopping", calls);
                if failpoint!("first-signal-cancels") {
                    self.cancel();
                }
            }
            ShutdownPhase::Draining => self.cancel(),
            ShutdownPhase::Cancelled | ShutdownPhase::Abandoned => self.abandon(),
        }
    }

    /// Ends the run. Calls in flight are paid, so they are awaited and settled.
    pub(in crate::engine) fn drain(&mut self, ending: RunEnding, cause: &str, calls: usize) {
        if self.has_begun() {
            return;
        }
        self.ending = ending;
        self.phase = ShutdownPhase::Draining;
        self.grace_over = Some(Instant::now() + self.grace);
        self.stop.drain.cancel();
        if calls > 0 {
            let cause = cause.to_owned();
            self.events.publish_run(RunEvent::Draining { cause, calls });
        }
    }

    /// Drains the run after an error that leaves the store usable. Ends the run at once if the store has failed.
    pub(in crate::engine) fn fail_gently(&mut self, error: RunError, calls: usize) {
        if error.is_end_of_store() {
            return self.fail(error);
        }
        self.note(error);
        self.drain(RunEnding::Finished, "stopping after an error", calls);
    }

    /// Ends the run at once: the store could keep no further answer.
    pub(in crate::engine) fn fail(&mut self, error: RunError) {
        self.note(error);
        self.stop.drain.cancel();
        self.stop.cancel.cancel();
        self.abandon();
    }

    /// Ends the run at once. Calls that were sent are still recorded, if the store accepts it.
    fn abandon(&mut self) {
        let ends = Instant::now() + AT_ONCE;
        self.phase = ShutdownPhase::Abandoned;
        self.ends = Some(
            self.ends
                .map_or(ends, |before| before.clamp(Instant::now(), ends)),
        );
    }

    /// Ends a cancelled run whose time is over. Work that it could not store is done again under the next lease.
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
            RunEnding::Signal(number) => Some(number),
            _ => None,
        }
    }

    /// The time until which the run may still wait for the store and for the output.
    pub(in crate::engine) fn ends(&self) -> Instant {
        self.ends.unwrap_or_else(|| Instant::now() + LAST_WAIT)
    }

    /// Keeps the first error, because it causes the others.
    pub(in crate::engine) fn note(&mut self, error: RunError) {
        if self.failed.is_none() {
            self.failed = Some(error);
        }
    }

    pub(in crate::engine) fn cancel(&mut self) {
        self.grace_over = None;
        if self.phase < ShutdownPhase::Cancelled {
            self.phase = ShutdownPhase::Cancelled;
            self.ends = Some(Instant::now() + LAST_WAIT);
            self.stop.cancel.cancel();
            self.events.publish_run(RunEvent::Cancelled);
        }
    }

    /// Waits for the end of the grace; for ever, if none has begun. Cancel-safe.
    pub(in crate::engine) async fn grace_over(&self) {
        clock::sleep_until(self.grace_over).await;
    }

    /// Waits for the end of a cancelled run's time; for ever, if the run is not cancelled or has already ended.
    /// Cancel-safe.
    pub(in crate::engine) async fn end_of_time(&self) {
        clock::sleep_until(self.ends.filter(|_| self.phase == ShutdownPhase::Cancelled)).await;
    }

    /// Waits for the deadline of a run that is not ending yet; for ever, if it has none. Cancel-safe.
    pub(in crate::engine) async fn deadline(&self) {
        clock::sleep_until(self.deadline.filter(|_| !self.has_begun())).await;
    }

    pub(in crate::engine) fn into_driven(self, done: WorkerProgress, commonest: Option<Commonest>) -> Driven {
        Driven {
            done,
            commonest,
            change: None,
            ends: self.ends.map(|ends| ends.max(Instant::now() + AT_ONCE / 2)),
            ending: self.ending,
            failed: self.failed,
        }
    }
}
