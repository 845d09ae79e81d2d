//! The only home of wall-clock time.
//!
//! Durations inside a process are measured with the monotonic clock (`tokio::time::Instant`). The times read here are
//! for people and for rows in the store. A wall clock may jump, so no wait depends on it.

use std::sync::LazyLock;

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

/// Returns a stored time as RFC 3339 text, UTC, with milliseconds; `None` if no calendar date has this value.
pub fn rfc3339(ms: i64) -> Option<String> {
    Timestamp::from_millisecond(ms).ok().map(|t| format!("{t:.3}"))
}

/// The uptime of this machine, as a point in time.
pub type Uptime = std::time::Duration;

/// Returns the uptime of this machine. Unlike tokio's monotonic clock it goes on while the machine is suspended, so it
/// measures how long other processes could act meanwhile. Without `/proc` it is the monotonic clock.
pub fn uptime() -> Uptime {
    static BEGAN: LazyLock<(Uptime, Instant)> =
        LazyLock::new(|| (proc_uptime().unwrap_or_default(), Instant::now()));
    let (before, began) = *BEGAN;
    let monotonic = before + began.elapsed();
    // On a machine that was never suspended, `/proc/uptime` agrees with the finer clock to a hundredth of a second.
    proc_uptime().map_or(monotonic, |proc| proc.max(monotonic))
}

/// Reads the first number of `/proc/uptime`: seconds with two decimals, suspended time included (`proc_uptime(5)`).
fn proc_uptime() -> Option<Uptime> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    Uptime::try_from_secs_f64(text.split(' ').next()?.parse().ok()?).ok()
}

/// Waits until this moment of the monotonic clock; for ever if there is none. Cancel-safe.
pub async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
