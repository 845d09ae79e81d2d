//! What goes through the ports.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::claims::PendingTask;
use super::{Recipe, Terms};
use crate::domain::failure::{Class, Failure};
use crate::domain::outcome::{Attempt, Making, PlanOrigin};
use crate::domain::request::{Claim, Digest, Identity, Request, Stops};
use crate::domain::task::TaskNo;
use crate::domain::usage::Cost;

/// The store's number of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunId(pub i64);

/// One reading of the input; a later reading has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub i64);

/// A process that holds leases: its name is random for each start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner(pub String);

/// The right to settle one task of a queue. A claim draws its fence from a counter of the queue that only grows, and each
/// write checks it. A settlement can hand the lease on to the next task of the queue, under the same fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The queue.
    pub queue_id: i64,
    /// The fence. No other lease of the queue has it.
    pub fence: i64,
}

/// What to open.
#[derive(Debug, Clone)]
pub struct RunOpening {
    /// Its name.
    pub name: String,
    /// The absolute path of the input; `None` for stdin.
    pub input: Option<PathBuf>,
    /// Whether the name was chosen by the user: then the input may have another path than before.
    pub named: bool,
    /// Whether the answers are a mock server's. A store holds rehearsals or real runs, never both.
    pub rehearsal: bool,
    /// What makes answers what they are beside the requests.
    pub recipe: Recipe,
    /// What everybody who works on it has to agree on.
    pub terms: Terms,
    /// Whether other terms are accepted, where others work under them.
    pub accept_drift: bool,
}

/// A run as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// Its name.
    pub name: String,
    /// The absolute path of its input.
    pub input: Option<PathBuf>,
    /// What the last complete reading saw; `None` before one was complete, and while one is under way.
    pub mark: Option<InputMark>,
    /// The last reading of its input that came to its end.
    pub complete: i64,
    /// Whether its answers are a mock server's.
    pub rehearsal: bool,
    /// Its terms.
    pub terms: Terms,
    /// The highest finish number given so far.
    pub finished: i64,
    /// The highest number of an event so far.
    pub events: i64,
    /// Unix milliseconds of its first opening.
    pub created_at: i64,
    /// Unix milliseconds of its last opening.
    pub last_accessed: i64,
    /// Whether requests that were begun under another recipe are still unfinished.
    pub recipe_changed: bool,
}

/// What recognises an unchanged input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputMark {
    /// BLAKE3 of the bytes and of the options that decide how they are read.
    pub digest: [u8; 32],
    /// Their number.
    pub bytes: u64,
    /// Requests and bad lines in them.
    pub requests: u64,
}

/// One line of the input on its way into the store.
#[derive(Debug, Clone)]
pub struct NewLine {
    /// Physical line, from 1.
    pub line: u64,
    /// Place among the lines that are not blank, from 0.
    pub index: u64,
    /// What it says.
    pub content: NewRequest,
}

/// A request, or what came in the place of one.
#[derive(Debug, Clone)]
pub enum NewRequest {
    /// A request with its plan.
    Good {
        /// The request.
        request: Box<Request>,
        /// What it is known by.
        identity: Identity,
        /// Digest of what decides its result.
        content: Digest,
        /// Digest of what does not.
        notes: Digest,
        /// Its tasks, where they need no model to be known.
        plan: Vec<Planned>,
        /// Where its queue pauses: what the line says, else what the flags say.
        stops: Stops,
    },
    /// A line that is no request: it is stored as failed.
    Bad {
        /// Digest of its bytes.
        digest: Digest,
        /// What it says of itself.
        claim: Claim,
        /// What is wrong.
        failure: Failure,
    },
}

/// A task of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// What is to be done.
    pub action: String,
    /// What it is, in a line for people; empty where nobody said.
    pub description: String,
    /// What it is given.
    pub input: String,
}

/// What a line with changed content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// It takes the place of its old version.
    Replace,
    /// It stops the reading with [`crate::store::StoreError::Frozen`].
    Refuse,
}

/// What became of an added line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddOutcome {
    /// It is new and queued.
    Queued,
    /// It is known and not finished: the queue of that number.
    Waiting(i64),
    /// It is known and finished: the queue of that number.
    Finished(i64),
    /// It is a new version of a known request, queued in its place.
    Changed,
    /// It is a bad line, stored as failed now; the queue of that number.
    Bad(i64),
    /// Its `custom_id` stands on an earlier line of this input; it is stored as a bad line of that number.
    Duplicate(i64),
}

/// What planning came to; fenced as a settlement is.
#[derive(Debug, Clone)]
pub struct PlanSettlement {
    /// The right to do it.
    pub lease: Lease,
    /// How it ended.
    pub end: PlanEnd,
    /// How it was made.
    pub making: Making,
    /// Every call.
    pub attempts: Vec<Attempt>,
}

/// The two ends of planning.
#[derive(Debug, Clone)]
pub enum PlanEnd {
    /// The queue has these tasks.
    Planned(PlanOrigin, Vec<Planned>),
    /// There is no plan, and the queue fails.
    Failed(Failure),
}

/// What became of the wish to go on with a session's pending tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakeOver {
    /// They are this queue's tasks now.
    Taken(Vec<PendingTask>),
    /// Nothing is pending.
    Nothing,
    /// The lease was lost.
    LostLease,
}

/// A lease that is given back, and the calls that were made for its task.
#[derive(Debug, Clone)]
pub struct Left {
    /// The lease.
    pub lease: Lease,
    /// The task that the calls were made for.
    pub task: TaskNo,
    /// The calls.
    pub attempts: Vec<Attempt>,
    /// For so long nobody can claim it, by the store's clock.
    pub snooze: Duration,
}

impl Left {
    /// A lease under which nothing was called, and whose task may be claimed at once.
    pub const fn untouched(lease: Lease) -> Self {
        Self {
            lease,
            task: TaskNo::PLAN,
            attempts: Vec::new(),
            snooze: Duration::ZERO,
        }
    }

    /// How long it sleeps, as the databases keep it: no sum of a time and it is too large.
    pub(super) fn snooze_ms(&self) -> i64 {
        let longest = i64::MAX / 4;
        i64::try_from(self.snooze.as_millis()).map_or(longest, |asked| asked.min(longest))
    }
}

/// A task that an outside job works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The right to settle it together with its handle.
    pub lease: Lease,
    /// The task.
    pub task: TaskNo,
    /// By which the outside job is known.
    pub handle: String,
}

/// What a lease holds back of the money of its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The lease.
    pub lease: Lease,
    /// The task.
    pub task: TaskNo,
    /// The route of the call.
    pub route: String,
    /// The model it asks.
    pub model: String,
    /// What the task's calls before it may have cost.
    pub spent: Cost,
    /// What it may cost itself.
    pub worst: Cost,
}

/// The store's answer to a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The money is held back.
    Held,
    /// There is no room for it below the cap.
    NoRoom {
        /// Whether other processes hold money back, of which some will be free again.
        others_hold: bool,
    },
    /// The lease was lost.
    LostLease,
}

/// Which failed requests to put back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failures {
    /// Only of these classes; any if empty.
    pub classes: Vec<Class>,
    /// Only of these `custom_id`s; any if empty.
    pub ids: Vec<String>,
}
