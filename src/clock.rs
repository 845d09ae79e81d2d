//! The only home of wall-clock time.
//!
//! Durations inside a process are measured with the monotonic clock (`tokio::time::Instant`); what is
//! read here is for people and for rows in the store. A wall clock may jump: nothing waits on it.

use jiff::Timestamp;
use tokio::time::Instant;

/// The present moment, UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is the home of the wall clock"
)]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Milliseconds since the Unix epoch, as the store keeps them.
pub fn now_ms() -> i64 {
    now().as_millisecond()
}

/// RFC 3339 text, UTC, with milliseconds, of a stored time; `None` for a value no calendar has.
pub fn rfc3339(ms: i64) -> Option<String> {
    Timestamp::from_millisecond(ms).ok().map(|t| format!("{t:.3}"))
}

/// Waits until that moment of the monotonic clock; for ever, if there is none. Cancel-safe.
pub async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
