//! The values that the ports take and return.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::claims::PendingTask;
use super::{ConfigFingerprint, RunConstraints};
use crate::domain::failure::{Class, Failure};
use crate::domain::lane::Lane;
use crate::domain::outcome::{Attempt, PlanOrigin, Provenance};
use crate::domain::request::{Claim, Digest, Identity, Request, Stops};
use crate::domain::task::TaskNo;
use crate::domain::usage::Cost;

/// The store's number of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunId(pub i64);

/// One reading of the input; a later reading has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub i64);

/// The name of a process that holds leases. It is drawn at random at each start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner(pub String);

/// The right to settle one task of a queue. A claim draws its fence from a counter of the queue that only grows, and
/// each write checks the fence. A settlement can hand the lease on to the next task of the queue under the same fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The queue.
    pub queue_id: i64,
    /// The fence. A claim never gives the same fence of a queue twice.
    pub fence: i64,
}

/// The parameters of opening a run.
#[derive(Debug, Clone)]
pub struct RunOpening {
    /// The run's name.
    pub name: String,
    /// The absolute path of the input; `None` for stdin.
    pub input: Option<PathBuf>,
    /// Whether the user chose the name. The input may then have another path than before.
    pub named: bool,
    /// Whether a mock server gives the answers. A store holds either rehearsals or real runs.
    pub rehearsal: bool,
    /// Everything besides the requests that shapes the answers.
    pub recipe: ConfigFingerprint,
    /// The terms that all workers of the run have to share.
    pub terms: RunConstraints,
    /// Whether to join although other workers use different terms. Their terms then apply.
    pub accept_drift: bool,
}

/// A run as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// Its name.
    pub name: String,
    /// The absolute path of its input.
    pub input: Option<PathBuf>,
    /// The mark of the last complete reading. `None` before the first complete one, and while a reading is under way.
    pub mark: Option<InputMark>,
    /// The number of the last complete reading.
    pub complete: i64,
    /// Whether a mock server gives the answers.
    pub rehearsal: bool,
    /// Its stored terms.
    pub terms: RunConstraints,
    /// The highest finish number so far.
    pub finished: i64,
    /// The highest event number so far.
    pub events: i64,
    /// Unix milliseconds of its first opening.
    pub created_at: i64,
    /// Unix milliseconds of its last opening.
    pub last_accessed: i64,
    /// Whether it has unfinished requests and was worked on under another recipe before.
    pub recipe_changed: bool,
}

/// Identifies an unchanged input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputMark {
    /// BLAKE3 of the bytes and of the options that decide how they are read.
    pub digest: [u8; 32],
    /// The number of bytes.
    pub bytes: u64,
    /// The number of requests and bad lines.
    pub requests: u64,
}

/// One line of the input on its way into the store.
#[derive(Debug, Clone)]
pub struct NewLine {
    /// The physical line number, from 1.
    pub line: u64,
    /// Place among the lines that are not blank, from 0.
    pub index: u64,
    /// The content of the line.
    pub content: NewRequest,
}

/// The content of an input line.
#[derive(Debug, Clone)]
pub enum NewRequest {
    /// A request with its plan.
    Good {
        /// The request.
        request: Box<Request>,
        /// Its identity in the run.
        identity: Identity,
        /// The digest of the fields that decide its result.
        content: Digest,
        /// The digest of the fields that do not.
        notes: Digest,
        /// Its tasks, when they are known without a model.
        plan: Vec<Planned>,
        /// The tasks behind which its queue pauses. The line's own setting comes before the flags.
        stops: Stops,
    },
    /// A line that is not a valid request. It is stored as failed.
    Bad {
        /// The digest of its bytes.
        digest: Digest,
        /// The identity that the line claims for itself.
        claim: Claim,
        /// Why it is not valid.
        failure: Failure,
    },
}

/// A task of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The name of its action.
    pub action: String,
    /// Its description for people, one line. Empty when none was given.
    pub description: String,
    /// Its input.
    pub input: String,
    /// The tasks of the plan that it needs, by index, all before it. `None`: the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<usize>>,
}

impl Planned {
    /// Returns the numbers of the tasks that it needs as the task with this index.
    pub(super) fn needed(&self, index: usize) -> Vec<i32> {
        let before = || index.checked_sub(1).into_iter().collect();
        let needs: Vec<usize> = self.needs.clone().unwrap_or_else(before);
        let before_it = needs.into_iter().filter(|needed| *needed < index);
        before_it.map(|needed| TaskNo::planned(needed).0).collect()
    }
}

/// How a line whose content changed is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// It replaces its old version.
    Replace,
    /// It stops the reading with [`crate::store::StoreError::Frozen`].
    Refuse,
}

/// The outcome of adding a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddOutcome {
    /// It is new and queued.
    Queued,
    /// It is known and not finished. The number is its queue's.
    Waiting(i64),
    /// It is known and finished. The number is its queue's.
    Finished(i64),
    /// It is a new version of a known request, queued in place of the old one.
    Changed,
    /// It is a bad line, now stored as failed. The number is its queue's.
    Bad(i64),
    /// An earlier line of this input has the same `custom_id`, so it is stored as a bad line. The number is its
    /// queue's.
    Duplicate(i64),
}

/// The outcome of planning. It is fenced like a settlement.
#[derive(Debug, Clone)]
pub struct PlanSettlement {
    /// The lease of the planning task.
    pub lease: Lease,
    /// How it ended.
    pub end: PlanEnd,
    /// How it was made.
    pub making: Provenance,
    /// All calls that were made for it.
    pub attempts: Vec<Attempt>,
}

/// How planning ends.
#[derive(Debug, Clone)]
pub enum PlanEnd {
    /// The queue has these tasks.
    Planned(PlanOrigin, Vec<Planned>),
    /// Planning failed, and so the queue fails.
    Failed(Failure),
}

/// The outcome of taking over a session's pending tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakeOver {
    /// These tasks belong to this queue now.
    Taken(Vec<PendingTask>),
    /// The session has no pending tasks.
    Nothing,
    /// The lease was lost.
    LostLease,
}

/// A lease that is given back, and the calls that were made for its task.
#[derive(Debug, Clone)]
pub struct ReleasedLease {
    /// The lease.
    pub lease: Lease,
    /// The task for which the calls were made.
    pub task: TaskNo,
    /// The calls.
    pub attempts: Vec<Attempt>,
    /// How long no process can claim the task, by the store's clock.
    pub snooze: Duration,
}

impl ReleasedLease {
    /// A released lease without calls. Its task may be claimed at once.
    pub const fn untouched(lease: Lease) -> Self {
        Self {
            lease,
            task: TaskNo::PLAN,
            attempts: Vec::new(),
            snooze: Duration::ZERO,
        }
    }

    /// The snooze in milliseconds, capped so that its sum with a time stays a valid time.
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
    /// The name of the outside job.
    pub handle: String,
}

/// The money that a lease reserves from the budget of its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The lease.
    pub lease: Lease,
    /// The task.
    pub task: TaskNo,
    /// The route of the call.
    pub route: String,
    /// The model of the call.
    pub model: String,
    /// The lane that the call asks for.
    pub lane: Lane,
    /// The most that the task's earlier calls may have cost.
    pub spent: Cost,
    /// The most that this call can cost.
    pub worst: Cost,
}

/// The outcome of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The money is reserved.
    Held,
    /// The cap leaves no room for it.
    NoRoom {
        /// Whether other processes have reservations. Some of that money will be free again.
        others_hold: bool,
    },
    /// The lease was lost.
    LostLease,
}

/// A filter: the failed requests to retry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failures {
    /// Only these error classes. Empty means any.
    pub classes: Vec<Class>,
    /// Only these `custom_id`s. Empty means any.
    pub ids: Vec<String>,
}
