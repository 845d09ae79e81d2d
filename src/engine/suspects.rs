//! When a queue under suspicion of killing processes may run: alone, when everybody else has had their turn.

use crate::store::Claimable;

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
}

impl Suspects {
    pub(super) const fn new() -> Self {
        Self {
            turn: Turn::Others,
            input_came: false,
            input_is_quiet: false,
        }
    }

    /// Lines have come in.
    pub(super) const fn input(&mut self) {
        self.input_came = true;
        self.input_is_quiet = false;
    }

    /// Time goes by.
    pub(super) const fn tick(&mut self) {
        self.input_is_quiet = !self.input_came;
        self.input_came = false;
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
