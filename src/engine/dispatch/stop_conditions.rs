//! The conditions that end a run before its work is done: `--limit`, `--max-failures`, `--max-cost`, dead routes.
//!
//! This file counts and compares. The dispatcher ends the run.

use crate::domain::conditions::Conditions;
use crate::llm::Stopped;
use crate::observe::RunEnding;

/// The stop conditions of a run, and the counts that they are compared with.
#[derive(Debug)]
pub(in crate::engine) struct StopConditions {
    conditions: Conditions,
    /// Requests that may still begin.
    allowed: Option<u64>,
    /// Requests that failed in this invocation, without bad lines.
    failed: u64,
    finished: u64,
    /// The reason of the first chain that became unusable.
    reason: Option<String>,
}

impl StopConditions {
    pub(in crate::engine) const fn new(conditions: Conditions) -> Self {
        Self {
            conditions,
            allowed: conditions.limit,
            failed: 0,
            finished: 0,
            reason: None,
        }
    }

    /// How many of `free` queues may begin.
    pub(in crate::engine) fn at_most(&self, free: usize) -> usize {
        self.allowed
            .map_or(free, |allowed| free.min(usize::try_from(allowed).unwrap_or(free)))
    }

    /// Counts requests that began.
    pub(in crate::engine) fn begun(&mut self, queues: usize) {
        if let Some(allowed) = &mut self.allowed {
            *allowed = allowed.saturating_sub(queues as u64);
        }
    }

    /// Takes back the count of one request that began and was given back.
    pub(in crate::engine) fn given_back(&mut self) {
        if let Some(allowed) = &mut self.allowed {
            *allowed += 1;
        }
    }

    /// Whether no more requests may begin.
    pub(in crate::engine) fn is_used_up(&self) -> bool {
        self.allowed == Some(0)
    }

    /// Counts a finished request. Returns the ending if a failure limit is reached.
    pub(in crate::engine) fn finished(&mut self, ok: bool) -> Option<RunEnding> {
        self.finished += 1;
        self.failed += u64::from(!ok);
        let reached = self.conditions.max_failures?.reached(self.failed, self.finished);
        (reached && !ok).then_some(RunEnding::Failures { failed: self.failed })
    }

    /// Whether this many more failures would end the run.
    pub(in crate::engine) fn would_end(&self, failures: usize) -> bool {
        let more = failures as u64;
        self.conditions
            .max_failures
            .is_some_and(|most| most.reached(self.failed + more, self.finished + more))
    }

    /// The ending of a run that may spend no more money.
    pub(in crate::engine) fn no_money(&self) -> RunEnding {
        RunEnding::Budget {
            cap: self.conditions.max_cost.unwrap_or_default(),
        }
    }

    /// Whether the queue was given back because its chain is unusable. The reason of the first such chain is kept.
    pub(in crate::engine) fn is_about_routes(&mut self, why: &Stopped) -> bool {
        let reason = match why {
            Stopped::Ending | Stopped::NoMoney => return false,
            Stopped::NoRoute { reason } => reason.clone(),
            Stopped::GaveUp { reason } => format!(
                "out of use for longer than {:?} (`--give-up`): {reason}",
                self.conditions.give_up
            ),
        };
        self.reason.get_or_insert(reason);
        true
    }

    /// The ending of a run without a usable route.
    pub(in crate::engine) fn no_route(&self) -> RunEnding {
        RunEnding::NoRoute {
            reason: self.reason.clone().unwrap_or_default(),
        }
    }
}
