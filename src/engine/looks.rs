//! When a store that others share is looked at for what they have done.
//!
//! Nobody tells: a message for each change would cost more than looking. So it is looked at soon after there was
//! something, then more and more rarely, and jittered, so that many workers do not ask at once.

use std::time::Duration;

use tokio::time::Instant;

const SOON: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_secs(1);

/// The looks of one process.
pub(super) struct Looks {
    /// At most so long until the look after the next.
    wait: Duration,
    next: Instant,
}

impl Looks {
    /// The first is due at once.
    pub(super) fn new() -> Self {
        Self {
            wait: SOON,
            next: Instant::now(),
        }
    }

    /// There was something, so there may be more soon.
    pub(super) fn found(&mut self) {
        self.wait = SOON;
        self.next = self.next.min(Instant::now() + SOON);
    }

    /// Ends when it is time for the next look. Cancel-safe.
    pub(super) async fn due(&mut self) {
        tokio::time::sleep_until(self.next).await;
        self.next = Instant::now() + self.wait.mul_f64(f64::midpoint(1.0, fastrand::f64()));
        self.wait = (self.wait * 2).min(LATE);
    }
}
