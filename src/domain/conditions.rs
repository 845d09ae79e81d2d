//! The conditions that stop a run before its work is done: cost, failures and time.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::usage::Cost;

/// A failure rate is judged only after this many finished requests: else the first failure alone would be 100 %.
const FEWEST_JUDGED: u64 = 20;

/// The stop conditions of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// The run's cost cap, all its invocations together.
    pub max_cost: Option<Cost>,
    /// How many requests may fail in this invocation.
    pub max_failures: Option<MaxFailures>,
    /// When this invocation ends.
    pub deadline: Option<Deadline>,
    /// How long every route of a chain may be unavailable before the run gives up.
    pub give_up: Duration,
    /// How many requests this invocation works on.
    pub limit: Option<u64>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            max_cost: None,
            max_failures: None,
            deadline: None,
            give_up: Duration::from_secs(3600),
            limit: None,
        }
    }
}

/// How a queue goes on after a failed task (`--on-task-failure`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The queue fails, and its remaining tasks are skipped.
    #[default]
    Fail,
    /// The queue goes on, and ends as `partial`.
    Continue,
}

impl OnFailure {
    /// The name in flags and settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Continue => "continue",
        }
    }

    /// Returns the variant with this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Fail, Self::Continue]
            .into_iter()
            .find(|known| known.as_str() == name)
    }
}

/// How many requests may fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxFailures {
    /// This number; the run stops when it is reached.
    Count(u64),
    /// A percentage of the finished requests; the run stops above it, once twenty requests have finished.
    Percent(f64),
}

impl MaxFailures {
    /// Reads `10` or `5%`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        match text.strip_suffix('%') {
            Some(share) => {
                let share: f64 = share.trim().parse().ok()?;
                (0.0..100.0).contains(&share).then_some(Self::Percent(share))
            }
            None => text.parse().ok().filter(|count| *count > 0).map(Self::Count),
        }
    }

    /// Returns whether `failed` of `finished` requests are too many.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn reached(self, failed: u64, finished: u64) -> bool {
        match self {
            Self::Count(most) => failed >= most,
            Self::Percent(share) => {
                finished >= FEWEST_JUDGED && failed as f64 * 100.0 > share * finished as f64
            }
        }
    }
}

impl fmt::Display for MaxFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Percent(share) => write!(f, "{share}%"),
        }
    }
}

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// This long after its start.
    After(Duration),
    /// At this moment.
    At(Timestamp),
}

impl Deadline {
    /// Reads a duration (`30m`) or a moment in RFC 3339 (`2026-11-25T06:00:00Z`).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let span: Option<jiff::SignedDuration> = text.parse().ok();
        match span {
            Some(span) => Duration::try_from(span).ok().map(Self::After),
            None => text.parse().ok().map(Self::At),
        }
    }

    /// Returns the time that is left; zero after the deadline.
    pub fn left(self, now: Timestamp) -> Duration {
        match self {
            Self::After(span) => span,
            Self::At(moment) => Duration::try_from(moment.duration_since(now)).unwrap_or_default(),
        }
    }
}

/// Reads a number of bytes: `1073741824`, `512MB`, `2GiB`. Prefixes are powers of 1024, as memory is counted.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim().to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_or_judged_by_their_share() {
        assert_eq!(MaxFailures::parse(" 10 "), Some(MaxFailures::Count(10)));
        assert_eq!(MaxFailures::parse("2.5%"), Some(MaxFailures::Percent(2.5)));
        for wrong in ["", "0", "-1", "100%", "x%", "1.5"] {
            assert_eq!(MaxFailures::parse(wrong), None, "{wrong}");
        }
        let three = MaxFailures::Count(3);
        assert!(!three.reached(2, 1000) && three.reached(3, 3));
        let tenth = MaxFailures::Percent(10.0);
        assert!(!tenth.reached(19, 19), "too few to judge");
        assert!(!tenth.reached(2, 20) && tenth.reached(3, 20));
    }

    #[test]
    fn a_deadline_is_a_span_or_a_moment() {
        let now: Timestamp = "2026-11-25T06:00:00Z".parse().unwrap();
        let left = |text: &str| Deadline::parse(text).unwrap().left(now);
        assert_eq!(left("90s"), Duration::from_secs(90));
        assert_eq!(left("2026-11-25T07:00:00Z"), Duration::from_secs(3600));
        assert_eq!(left("2026-11-25T05:00:00Z"), Duration::ZERO);
        assert_eq!(Deadline::parse("tomorrow"), None);
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(parse_bytes("128MB"), Some(128 << 20));
        assert_eq!(parse_bytes("2 GiB"), Some(2 << 30));
        assert_eq!(parse_bytes("4096"), Some(4096));
        for wrong in ["", "MB", "12 parsecs", "99999999999999G"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
    }
}
