//! The states of a queue and of a task, and the only ways from one to the next.

use std::fmt;

/// Where a queue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueState {
    /// Waits behind an earlier queue of its session.
    Blocked,
    /// May be claimed once its `run_at` has come.
    Ready,
    /// A worker holds its lease.
    Leased,
    /// Stopped on purpose, for a person to choose.
    Paused,
    /// Its pending tasks were taken over by a later request of the session.
    Continued,
    /// A line with changed content took its place.
    Superseded,
    /// Finished, well or in part.
    Done,
    /// Finished without a result; final until a retry.
    Failed,
}

/// What happens to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueEvent {
    /// Nothing of its session is before it any more.
    Promoted,
    /// An earlier queue of its session came back, or its line left the input.
    HeldBack,
    /// A worker took the lease.
    Claimed,
    /// The worker gave the lease back, or lost it: the attempt is not counted.
    Released,
    /// A task settled and another follows.
    Stepped,
    /// The last task settled.
    Finished,
    /// A task failed for good.
    Failed,
    /// `until` or `auto: false` stopped it.
    Paused,
    /// A later request of the session took its pending tasks.
    Continued,
    /// The request that took its pending tasks is no longer true: they are pending again.
    Returned,
    /// A retry puts it back into the order of its session.
    Retried,
    /// A retry puts it back. It has no session to wait for.
    RetriedAlone,
    /// A line with changed content took its place.
    Superseded,
    /// The change was undone: the queue has the result with this status again.
    Revived(Status),
}

impl QueueEvent {
    /// Every event.
    pub const ALL: [Self; 18] = [
        Self::Promoted,
        Self::HeldBack,
        Self::Claimed,
        Self::Released,
        Self::Stepped,
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
    ];
}

/// An event that has no meaning in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a queue that is `{from}` cannot be `{event:?}`")]
pub struct IllegalTransition {
    from: QueueState,
    event: QueueEvent,
}

impl QueueState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Blocked,
        Self::Ready,
        Self::Leased,
        Self::Paused,
        Self::Continued,
        Self::Superseded,
        Self::Done,
        Self::Failed,
    ];

    /// The name as the store keeps it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Paused => "paused",
            Self::Continued => "continued",
            Self::Superseded => "superseded",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// The state after an event; every pair that is not listed is a fault of the caller.
    pub const fn after(self, event: QueueEvent) -> Result<Self, IllegalTransition> {
        use QueueEvent as E;
        match (self, event) {
            (Self::Blocked, E::Promoted) | (Self::Leased, E::Released) | (Self::Failed, E::RetriedAlone) => {
                Ok(Self::Ready)
            }
            (Self::Ready, E::HeldBack)
            | (Self::Failed | Self::Done | Self::Paused | Self::Superseded, E::Retried) => Ok(Self::Blocked),
            (Self::Ready, E::Claimed) | (Self::Leased, E::Stepped) => Ok(Self::Leased),
            (Self::Leased, E::Finished) => Ok(Self::Done),
            (Self::Leased, E::Failed) => Ok(Self::Failed),
            (Self::Leased, E::Paused) => Ok(Self::Paused),
            (Self::Paused, E::Continued) => Ok(Self::Continued),
            (Self::Continued, E::Returned) => Ok(Self::Paused),
            (Self::Superseded, E::Revived(status)) => Ok(status.state()),
            (
                Self::Blocked
                | Self::Ready
                | Self::Leased
                | Self::Paused
                | Self::Continued
                | Self::Done
                | Self::Failed,
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

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskStatus {
    /// Not settled yet.
    Pending,
    /// Its result is stored.
    Completed,
    /// Retries, chain and repair are used up.
    Failed,
    /// A task before it failed.
    Skipped,
}

impl TaskStatus {
    /// The name as the store and result lines keep it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Pending, Self::Completed, Self::Failed, Self::Skipped]
            .into_iter()
            .find(|status| status.as_str() == name)
    }
}

/// How a request ended, as its result line says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Every task completed.
    Completed,
    /// Some tasks failed and the run was told to go on.
    Partial,
    /// It failed.
    Failed,
    /// It stopped on purpose, for a person to choose.
    Paused,
    /// It had paused, and a later request of its session does the rest.
    Continued,
}

impl Status {
    /// The name as result lines and the store keep it.
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

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether the result line says `ok`.
    pub const fn is_ok(self) -> bool {
        matches!(self, Self::Completed | Self::Paused | Self::Continued)
    }

    /// The state of the queue that ended so.
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
        assert_eq!(QueueState::parse("available"), None);
    }

    #[test]
    fn a_finished_queue_is_never_claimed_or_finished_again() {
        for state in [
            QueueState::Done,
            QueueState::Failed,
            QueueState::Superseded,
            QueueState::Continued,
        ] {
            for event in [
                QueueEvent::Claimed,
                QueueEvent::Finished,
                QueueEvent::Stepped,
                QueueEvent::Promoted,
            ] {
                assert_eq!(state.after(event), Err(IllegalTransition { from: state, event }));
            }
        }
    }

    #[test]
    fn the_ordinary_life_of_a_queue() {
        let life = [
            (QueueEvent::Promoted, QueueState::Ready),
            (QueueEvent::Claimed, QueueState::Leased),
            (QueueEvent::Stepped, QueueState::Leased),
            (QueueEvent::Released, QueueState::Ready),
            (QueueEvent::Claimed, QueueState::Leased),
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
