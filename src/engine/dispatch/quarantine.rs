//! Decides when quarantined queues run: in groups, after all other queues.
//!
//! The store decides which queues are quarantined and how large a group may be (`store/sqlite/quarantine.rs`). A
//! process runs a group alone, and claims nothing else until the group has ended. If all calls of a group wait to be
//! sent, which may take hours, the group is released and claimed again later.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::Claimable;

/// A group is released when all its calls wait at this many ticks in a row.
const LOOKS: u32 = 2;

/// The pause before a released group may be claimed again.
const SNOOZE: Duration = Duration::from_secs(5);

/// Which queues may be claimed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NextClaim {
    /// All queues that are not quarantined.
    Others,
    /// A group may be claimed.
    Due,
    /// A group was claimed or is running. Nothing else may start.
    Group,
}

/// Lets quarantined groups run one after the other.
#[derive(Debug)]
pub(in crate::engine) struct Quarantine {
    turn: NextClaim,
    /// Whether lines were stored since the last tick.
    input_came: bool,
    /// Whether no line was stored for a whole tick.
    input_is_quiet: bool,
    /// At how many ticks in a row all calls of the group waited.
    seen_waiting: u32,
    /// The time until which the last released group is not claimed.
    snoozing: Option<Instant>,
}

impl Quarantine {
    pub(in crate::engine) const fn new() -> Self {
        Self {
            turn: NextClaim::Others,
            input_came: false,
            input_is_quiet: false,
            seen_waiting: 0,
            snoozing: None,
        }
    }

    /// Notes that lines were stored.
    pub(in crate::engine) const fn input(&mut self) {
        self.input_came = true;
        self.input_is_quiet = false;
    }

    /// Counts a tick; `waiting` says that all calls in flight wait to be sent. Returns a pause if the running group is
    /// to be released; the group is not claimed again before the pause is over.
    pub(in crate::engine) fn tick(&mut self, waiting: bool) -> Option<Duration> {
        self.input_is_quiet = !self.input_came;
        self.input_came = false;
        let waits = waiting && self.turn == NextClaim::Group;
        self.seen_waiting = if waits { self.seen_waiting + 1 } else { 0 };
        if self.seen_waiting < LOOKS {
            return None;
        }
        self.seen_waiting = 0;
        self.snoozing = Some(Instant::now() + SNOOZE);
        Some(SNOOZE)
    }

    /// Whether a released group still has to wait before it is claimed again.
    pub(in crate::engine) fn has_snoozing(&self) -> bool {
        self.snoozing.is_some_and(|until| Instant::now() < until)
    }

    /// Which queues may be claimed, if any; `idle` says that nothing is in flight.
    pub(in crate::engine) fn next(&mut self, plan_only: bool, idle: bool) -> Option<Claimable> {
        match self.turn {
            NextClaim::Due => {
                self.turn = NextClaim::Group;
                return Some(Claimable::Quarantined);
            }
            NextClaim::Group if !idle => return None,
            NextClaim::Group | NextClaim::Others => self.turn = NextClaim::Others,
        }
        Some(if plan_only {
            Claimable::Unplanned
        } else {
            Claimable::All
        })
    }

    /// Notes that nothing could be claimed and nothing is in flight. Returns whether a group may be claimed now. While
    /// the input is being read, a group waits for a pause in it, because the next line may be another queue.
    ///
    /// `nova3 plan --call` does not plan quarantined queues: they are planned when they run.
    pub(in crate::engine) fn found_nothing(&mut self, plan_only: bool, ingested: bool) -> bool {
        let claimed_already = self.turn == NextClaim::Group;
        let due = !claimed_already && !plan_only && (ingested || self.input_is_quiet);
        self.turn = if due { NextClaim::Due } else { NextClaim::Others };
        due
    }
}
