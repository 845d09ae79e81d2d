//! Polls the store for work of other processes and for tasks whose wait is over.
//!
//! There are no notifications: a message for each change would cost more than polling. The store is polled soon after a
//! poll that found something, then less and less often. The intervals are jittered, so that many workers do not poll at
//! once.

use std::time::Duration;

use tokio::time::Instant;

const SOON: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_secs(1);

/// The poll times of one process.
pub(in crate::engine) struct PollBackoff {
    /// The longest interval between the next poll and the one after it.
    wait: Duration,
    next: Instant,
}

impl PollBackoff {
    /// The first poll is due at once.
    pub(in crate::engine) fn new() -> Self {
        Self {
            wait: SOON,
            next: Instant::now(),
        }
    }

    /// Polls soon again, because the last poll found something.
    pub(in crate::engine) fn found(&mut self) {
        self.wait = SOON;
        self.next = self.next.min(Instant::now() + SOON);
    }

    /// Returns when the next poll is due. Cancel-safe.
    pub(in crate::engine) async fn due(&mut self) {
        tokio::time::sleep_until(self.next).await;
        self.next = Instant::now() + self.wait.mul_f64(f64::midpoint(1.0, fastrand::f64()));
        self.wait = (self.wait * 2).min(LATE);
    }
}
