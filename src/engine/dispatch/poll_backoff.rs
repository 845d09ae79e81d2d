//! How often the store is polled for what others did, and for tasks that wake.
//!
//! There are no notifications: a message for each change would cost more than polling. The store is polled soon after a
//! poll that found something, then less and less often. The intervals are jittered, so that many workers do not poll at
//! once.

use std::time::Duration;

use tokio::time::Instant;

const SOON: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_secs(1);

/// The looks of one process.
pub(in crate::engine) struct PollBackoff {
    /// At most so long until the look after the next.
    wait: Duration,
    next: Instant,
}

impl PollBackoff {
    /// The first is due at once.
    pub(in crate::engine) fn new() -> Self {
        Self {
            wait: SOON,
            next: Instant::now(),
        }
    }

    /// There was something, so there may be more soon.
    pub(in crate::engine) fn found(&mut self) {
        self.wait = SOON;
        self.next = self.next.min(Instant::now() + SOON);
    }

    /// Ends when it is time for the next look. Cancel-safe.
    pub(in crate::engine) async fn due(&mut self) {
        tokio::time::sleep_until(self.next).await;
        self.next = Instant::now() + self.wait.mul_f64(f64::midpoint(1.0, fastrand::f64()));
        self.wait = (self.wait * 2).min(LATE);
    }
}
