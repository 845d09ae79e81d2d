//! When queues in quarantine run: in groups, after all others have had their turn.
//!
//! The store decides who is in quarantine and how large a group may be (`store/sqlite/quarantine.rs`). A group is all that its
//! process holds, so others wait until it has ended. A group whose calls all wait to be sent, which may take hours, is given
//! back and claimed again some time later.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::Claimable;

/// A group whose calls all wait at so many ticks in a row is given back.
const LOOKS: u32 = 2;

/// A group that was given back is not claimed again before.
const SNOOZE: Duration = Duration::from_secs(5);

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The turn of all queues that are not in quarantine.
    Others,
    /// A group may be claimed.
    Due,
    /// A group was claimed, or is at work: nothing else may start.
    Group,
}

/// Lets groups in one by one.
#[derive(Debug)]
pub(in crate::engine) struct Quarantine {
    turn: Turn,
    /// Whether lines have come in since the last tick.
    input_came: bool,
    /// Whether none came for a whole tick.
    input_is_quiet: bool,
    /// At how many ticks in a row all calls of the group waited.
    seen_waiting: u32,
    /// Until when the last group that was given back sleeps.
    snoozing: Option<Instant>,
}

impl Quarantine {
    pub(in crate::engine) const fn new() -> Self {
        Self {
            turn: Turn::Others,
            input_came: false,
            input_is_quiet: false,
            seen_waiting: 0,
            snoozing: None,
        }
    }

    /// Lines have come in.
    pub(in crate::engine) const fn input(&mut self) {
        self.input_came = true;
        self.input_is_quiet = false;
    }

    /// Time goes by; `waiting` says that all calls in flight wait to be sent. Answers for how long the group at work is to
    /// sleep, if it is to be given back.
    pub(in crate::engine) fn tick(&mut self, waiting: bool) -> Option<Duration> {
        self.input_is_quiet = !self.input_came;
        self.input_came = false;
        let waits = waiting && self.turn == Turn::Group;
        self.seen_waiting = if waits { self.seen_waiting + 1 } else { 0 };
        if self.seen_waiting < LOOKS {
            return None;
        }
        self.seen_waiting = 0;
        self.snoozing = Some(Instant::now() + SNOOZE);
        Some(SNOOZE)
    }

    /// Whether a group that was given back is still to be claimed.
    pub(in crate::engine) fn has_snoozing(&self) -> bool {
        self.snoozing.is_some_and(|until| Instant::now() < until)
    }

    /// Which queues may be claimed, if any; `idle` says that nothing is in flight.
    pub(in crate::engine) fn next(&mut self, plan_only: bool, idle: bool) -> Option<Claimable> {
        match self.turn {
            Turn::Due => {
                self.turn = Turn::Group;
                return Some(Claimable::Quarantined);
            }
            Turn::Group if !idle => return None,
            Turn::Group | Turn::Others => self.turn = Turn::Others,
        }
        Some(if plan_only {
            Claimable::Unplanned
        } else {
            Claimable::All
        })
    }

    /// Nothing could be claimed and nothing is in flight; answers whether a group may be claimed now. While the input is
    /// still being read the group waits for a pause in it, because the next line may be any other's.
    ///
    /// `nova3 plan --call` makes no plans in quarantine: a queue there is planned when it runs.
    pub(in crate::engine) fn found_nothing(&mut self, plan_only: bool, ingested: bool) -> bool {
        let claimed_already = self.turn == Turn::Group;
        let due = !claimed_already && !plan_only && (ingested || self.input_is_quiet);
        self.turn = if due { Turn::Due } else { Turn::Others };
        due
    }
}
