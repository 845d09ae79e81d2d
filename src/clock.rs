//! The only home of wall-clock time.
//!
//! Durations inside a process are measured with the monotonic clock (`tokio::time::Instant`); what is
//! read here is for people and for rows in the store. A wall clock may jump: nothing waits on it.

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

/// RFC 3339 text, UTC, with milliseconds, of a stored time; `None` for a value no calendar has.
pub fn rfc3339(ms: i64) -> Option<String> {
    Timestamp::from_millisecond(ms).ok().map(|t| format!("{t:.3}"))
}

/// How long this machine has been up, as a point in time.
pub type Uptime = std::time::Duration;

/// How long this machine has been up. Unlike the monotonic clock of tokio it goes on while the machine is suspended: what
/// others may have done meanwhile is measured with it. Where there is no `/proc`, the monotonic clock is what there is.
pub fn uptime() -> Uptime {
    static BEGAN: LazyLock<(Uptime, Instant)> =
        LazyLock::new(|| (proc_uptime().unwrap_or_default(), Instant::now()));
    let (before, began) = *BEGAN;
    let monotonic = before + began.elapsed();
    // A machine that never slept agrees with the finer clock, to a hundredth of a second.
    proc_uptime().map_or(monotonic, |proc| proc.max(monotonic))
}

/// The first number of `/proc/uptime`: seconds with two decimals, suspended time included (`proc_uptime(5)`).
fn proc_uptime() -> Option<Uptime> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    Uptime::try_from_secs_f64(text.split(' ').next()?.parse().ok()?).ok()
}

/// Waits until that moment of the monotonic clock; for ever, if there is none. Cancel-safe.
pub async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
