//! The transition table: the states of a queue and of a task, and the events that lead from one to the next.

use std::fmt;

/// The state of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueState {
    /// Waits behind an earlier queue of its session.
    Blocked,
    /// Its tasks are leased or may be leased.
    Open,
    /// Stopped on purpose, for a person to choose.
    Paused,
    /// A later request of the session took over its pending tasks.
    Continued,
    /// A line with changed content replaced it.
    Superseded,
    /// Finished, completely or in part.
    Done,
    /// Finished without a result; final until a retry.
    Failed,
}

/// An event that changes the state of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueEvent {
    /// No queue of its session is before it any more.
    Promoted,
    /// An earlier queue of its session came back, or its own line left the input.
    HeldBack,
    /// The last task settled.
    Finished,
    /// A task failed for good.
    Failed,
    /// `until` or `auto: false` stopped it.
    Paused,
    /// A later request of the session took over its pending tasks.
    Continued,
    /// The request that took over its pending tasks is no longer valid: they are pending again.
    Returned,
    /// A retry or a redo puts it back into the order of its session.
    Retried,
    /// A retry or a redo puts it back; it has no session to wait for.
    RetriedAlone,
    /// A line with changed content replaced it.
    Superseded,
    /// The change was undone: the queue has the result with this status again.
    Revived(Status),
    /// A redo failed or was cancelled: the queue has its earlier result, with this status, again.
    Kept(Status),
}

impl QueueEvent {
    /// Every event.
    pub const ALL: [Self; 19] = [
        Self::Promoted,
        Self::HeldBack,
        Self::Finished,
        Self::Failed,
        Self::Paused,
        Self::Continued,
        Self::Returned,
        Self::Retried,
        Self::RetriedAlone,
        Self::Superseded,
        Self::Revived(Status::Completed),
        Self::Revived(Status::Partial),
        Self::Revived(Status::Failed),
        Self::Revived(Status::Paused),
        Self::Revived(Status::Continued),
        Self::Kept(Status::Completed),
        Self::Kept(Status::Partial),
        Self::Kept(Status::Failed),
        Self::Kept(Status::Paused),
    ];
}

/// An event that is not allowed in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a queue that is `{from}` cannot be `{event:?}`")]
pub struct IllegalTransition {
    from: QueueState,
    event: QueueEvent,
}

impl QueueState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Blocked,
        Self::Open,
        Self::Paused,
        Self::Continued,
        Self::Superseded,
        Self::Done,
        Self::Failed,
    ];

    /// The name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Continued => "continued",
            Self::Superseded => "superseded",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Returns the state with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Returns the state after an event; any pair that is not listed is a bug of the caller.
    pub const fn after(self, event: QueueEvent) -> Result<Self, IllegalTransition> {
        use QueueEvent as E;
        match (self, event) {
            (Self::Blocked, E::Promoted) | (Self::Failed | Self::Done | Self::Paused, E::RetriedAlone) => {
                Ok(Self::Open)
            }
            (Self::Open, E::HeldBack)
            | (Self::Failed | Self::Done | Self::Paused | Self::Superseded, E::Retried) => Ok(Self::Blocked),
            (Self::Open, E::Finished) => Ok(Self::Done),
            (Self::Open, E::Failed) => Ok(Self::Failed),
            (Self::Open, E::Paused) => Ok(Self::Paused),
            (Self::Paused, E::Continued) => Ok(Self::Continued),
            (Self::Continued, E::Returned) => Ok(Self::Paused),
            (Self::Superseded, E::Revived(status))
            | (Self::Failed | Self::Open | Self::Blocked, E::Kept(status)) => Ok(status.state()),
            (
                Self::Blocked | Self::Open | Self::Paused | Self::Continued | Self::Done | Self::Failed,
                E::Superseded,
            ) => Ok(Self::Superseded),
            (from, event) => Err(IllegalTransition { from, event }),
        }
    }
}

impl QueueState {
    /// Whether some event leads from this state to the other one.
    pub fn can_become(self, other: Self) -> bool {
        QueueEvent::ALL
            .into_iter()
            .any(|event| self.after(event) == Ok(other))
    }
}

impl fmt::Display for QueueState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskStatus {
    /// Waits for tasks that it needs.
    Pending,
    /// May be leased once its `wake_at` has come.
    Ready,
    /// A worker holds its lease.
    Leased,
    /// An outside job works on it: it holds no lease and no slot.
    Submitted,
    /// Its result is stored.
    Completed,
    /// Retries, chain and repair are used up.
    Failed,
    /// A task that it needs failed, or its condition is false.
    Skipped,
}

/// An event that changes the state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskTransition {
    /// The last task that it needs is settled.
    Met,
    /// A worker took the lease.
    Claimed,
    /// The last task that it needs is settled, and the same worker leases it in that transaction.
    HandedOn,
    /// The worker gave the lease back or lost it. The attempt is not counted.
    Released,
    /// It was split into parts, and joins them when they are settled.
    FannedOut,
    /// Its outside job began.
    Submitted,
    /// Its outside job is gone: it runs with live calls.
    TakenBack,
    /// Its result is stored.
    Completed,
    /// It failed for good.
    Failed,
    /// A task that it needs failed, its condition is false, or its queue failed as poison.
    Skipped,
    /// A retry puts it back.
    Retried,
    /// A retry puts it back behind a task that it needs.
    RetriedBehind,
    /// A redo makes it anew.
    Redone,
    /// A redo makes it anew, behind a task that it needs.
    RedoneBehind,
}

impl TaskTransition {
    /// Every event.
    pub const ALL: [Self; 14] = [
        Self::Met,
        Self::Claimed,
        Self::HandedOn,
        Self::Released,
        Self::FannedOut,
        Self::Submitted,
        Self::TakenBack,
        Self::Completed,
        Self::Failed,
        Self::Skipped,
        Self::Retried,
        Self::RetriedBehind,
        Self::Redone,
        Self::RedoneBehind,
    ];
}

impl TaskStatus {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Ready,
        Self::Leased,
        Self::Submitted,
        Self::Completed,
        Self::Failed,
        Self::Skipped,
    ];

    /// The name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Submitted => "submitted",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// Returns the state with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether it is pending or ready: neither a worker nor an outside job works on it, and it is not settled.
    pub const fn is_waiting(self) -> bool {
        matches!(self, Self::Pending | Self::Ready)
    }

    /// The name in result lines: a task that is not settled is `pending`.
    pub const fn shown(self) -> &'static str {
        match self {
            Self::Pending | Self::Ready | Self::Leased | Self::Submitted => "pending",
            Self::Completed | Self::Failed | Self::Skipped => self.as_str(),
        }
    }

    /// Returns the state after an event; `None` for a pair that is not listed, which is a bug of the caller.
    pub const fn after(self, event: TaskTransition) -> Option<Self> {
        use TaskTransition as E;
        match (self, event) {
            (Self::Pending, E::Met)
            | (Self::Leased, E::Released)
            | (Self::Submitted, E::TakenBack)
            | (Self::Failed | Self::Skipped, E::Retried)
            | (Self::Completed | Self::Failed | Self::Skipped, E::Redone) => Some(Self::Ready),
            (Self::Ready, E::Claimed) | (Self::Pending, E::HandedOn) => Some(Self::Leased),
            (Self::Leased, E::FannedOut)
            | (Self::Failed | Self::Skipped, E::RetriedBehind)
            | (Self::Ready | Self::Completed | Self::Failed | Self::Skipped, E::RedoneBehind) => {
                Some(Self::Pending)
            }
            (Self::Leased, E::Submitted) => Some(Self::Submitted),
            (Self::Leased | Self::Submitted, E::Completed) => Some(Self::Completed),
            (Self::Leased | Self::Submitted, E::Failed) => Some(Self::Failed),
            (Self::Pending | Self::Ready | Self::Leased, E::Skipped) => Some(Self::Skipped),
            _ => None,
        }
    }

    /// Whether some event leads from this state to the other one.
    pub fn can_become(self, other: Self) -> bool {
        TaskTransition::ALL
            .into_iter()
            .any(|event| self.after(event) == Some(other))
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The status of a finished request in its result line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Every task completed.
    Completed,
    /// Some tasks failed, and the run was configured to go on.
    Partial,
    /// The request failed.
    Failed,
    /// The request stopped on purpose, for a person to choose.
    Paused,
    /// The request had paused, and a later request of its session does the rest.
    Continued,
}

impl Status {
    /// The name in result lines and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Paused => "paused",
            Self::Continued => "continued",
        }
    }

    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Completed,
        Self::Partial,
        Self::Failed,
        Self::Paused,
        Self::Continued,
    ];

    /// Returns the status with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// The value of `ok` in the result line.
    pub const fn is_ok(self) -> bool {
        matches!(self, Self::Completed | Self::Paused | Self::Continued)
    }

    /// The state of a queue that ended with this status.
    pub const fn state(self) -> QueueState {
        match self {
            Self::Completed | Self::Partial => QueueState::Done,
            Self::Failed => QueueState::Failed,
            Self::Paused => QueueState::Paused,
            Self::Continued => QueueState::Continued,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for state in QueueState::ALL {
            assert_eq!(QueueState::parse(state.as_str()), Some(state));
        }
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        for status in TaskStatus::ALL {
            assert_eq!(TaskStatus::parse(status.as_str()), Some(status));
        }
        assert_eq!(QueueState::parse("available"), None);
    }

    #[test]
    fn a_settled_task_is_never_leased_or_settled_again() {
        for status in [TaskStatus::Completed, TaskStatus::Failed, TaskStatus::Skipped] {
            for event in TaskTransition::ALL {
                let retried = matches!(event, TaskTransition::Retried | TaskTransition::RetriedBehind);
                let redone = matches!(event, TaskTransition::Redone | TaskTransition::RedoneBehind);
                if !redone && (!retried || status == TaskStatus::Completed) {
                    assert_eq!(status.after(event), None, "{status} {event:?}");
                }
            }
        }
    }

    #[test]
    fn the_life_of_a_task_that_is_split() {
        let life = [
            (TaskTransition::Met, TaskStatus::Ready),
            (TaskTransition::Claimed, TaskStatus::Leased),
            (TaskTransition::FannedOut, TaskStatus::Pending),
            (TaskTransition::HandedOn, TaskStatus::Leased),
            (TaskTransition::Failed, TaskStatus::Failed),
            (TaskTransition::RetriedBehind, TaskStatus::Pending),
        ];
        let mut status = TaskStatus::Pending;
        for (event, expected) in life {
            status = status.after(event).unwrap();
            assert_eq!(status, expected);
        }
    }

    #[test]
    fn a_finished_queue_is_never_claimed_or_finished_again() {
        for state in [
            QueueState::Done,
            QueueState::Failed,
            QueueState::Superseded,
            QueueState::Continued,
        ] {
            for event in [QueueEvent::Finished, QueueEvent::Promoted] {
                assert_eq!(state.after(event), Err(IllegalTransition { from: state, event }));
            }
        }
    }

    #[test]
    fn the_ordinary_life_of_a_queue() {
        let life = [
            (QueueEvent::Promoted, QueueState::Open),
            (QueueEvent::HeldBack, QueueState::Blocked),
            (QueueEvent::Promoted, QueueState::Open),
            (QueueEvent::Failed, QueueState::Failed),
            (QueueEvent::Retried, QueueState::Blocked),
            (QueueEvent::Superseded, QueueState::Superseded),
        ];
        let mut state = QueueState::Blocked;
        for (event, expected) in life {
            state = state.after(event).unwrap();
            assert_eq!(state, expected);
        }
    }
}
