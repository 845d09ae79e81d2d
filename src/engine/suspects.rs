//! When a queue under suspicion of killing processes may run: alone, when everybody else has had their turn.
//!
//! While it is there alone a death is its fault. So it is not there while its call only waits to be sent, which may take
//! hours and kills nobody: it is given back, and asked for again some time later.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::Claimable;

/// A suspect whose call waits at so many looks in a row is given back.
const LOOKS: u32 = 2;

/// One that was given back is not asked for again before.
const SNOOZE: Duration = Duration::from_secs(5);

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Everybody's but theirs.
    Others,
    /// One suspect may be asked for.
    Suspect,
    /// A suspect was asked for, or is at work: nobody else may start.
    Alone,
}

/// Lets suspects in one by one.
#[derive(Debug)]
pub(super) struct Suspects {
    turn: Turn,
    /// Whether lines have come in since the last tick.
    input_came: bool,
    /// Whether none came for a whole tick.
    input_is_quiet: bool,
    /// At how many ticks in a row the one at work was seen to wait.
    seen_waiting: u32,
    /// Until when the last one that was given back sleeps.
    snoozing: Option<Instant>,
}

impl Suspects {
    pub(super) const fn new() -> Self {
        Self {
            turn: Turn::Others,
            input_came: false,
            input_is_quiet: false,
            seen_waiting: 0,
            snoozing: None,
        }
    }

    /// Lines have come in.
    pub(super) const fn input(&mut self) {
        self.input_came = true;
        self.input_is_quiet = false;
    }

    /// Time goes by; `waiting` says that a call waits to be sent. Answers for how long the suspect at work is to sleep, if
    /// it is to be given back.
    pub(super) fn tick(&mut self, waiting: bool) -> Option<Duration> {
        self.input_is_quiet = !self.input_came;
        self.input_came = false;
        let waits = waiting && self.turn == Turn::Alone;
        self.seen_waiting = if waits { self.seen_waiting + 1 } else { 0 };
        if self.seen_waiting < LOOKS {
            return None;
        }
        self.seen_waiting = 0;
        self.snoozing = Some(Instant::now() + SNOOZE);
        Some(SNOOZE)
    }

    /// Whether one that was given back is still to be asked for.
    pub(super) fn has_snoozing(&self) -> bool {
        self.snoozing.is_some_and(|until| Instant::now() < until)
    }

    /// Which queues may be asked for, if any; `idle` says that nothing is in flight.
    pub(super) fn next(&mut self, plan_only: bool, idle: bool) -> Option<Claimable> {
        match self.turn {
            Turn::Suspect => {
                self.turn = Turn::Alone;
                return Some(Claimable::Suspect);
            }
            Turn::Alone if !idle => return None,
            Turn::Alone | Turn::Others => self.turn = Turn::Others,
        }
        Some(if plan_only {
            Claimable::Unplanned
        } else {
            Claimable::All
        })
    }

    /// Nothing could be claimed and nothing is in flight; answers whether a suspect may be asked for now. While the
    /// input is still being read that waits for a pause in it, because the next line may be anybody's.
    ///
    /// Plans are made in company only: a suspect has its own planned when it runs.
    pub(super) fn found_nothing(&mut self, plan_only: bool, ingested: bool) -> bool {
        let asked_already = self.turn == Turn::Alone;
        let due = !asked_already && !plan_only && (ingested || self.input_is_quiet);
        self.turn = if due { Turn::Suspect } else { Turn::Others };
        due
    }
}
