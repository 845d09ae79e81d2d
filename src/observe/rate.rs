//! How fast requests finish now, and how long the rest takes.

use std::collections::VecDeque;
use std::time::Duration;

use super::event::Snapshot;

/// The time over which the rate is taken.
const WINDOW: Duration = Duration::from_secs(60);

/// The shortest time between two samples. It bounds their number.
const STEP: Duration = Duration::from_secs(1);

/// Requests that must have finished in the window before a time is estimated.
const FEWEST: u64 = 3;

/// The time that must have passed before a time is estimated.
const EARLIEST: Duration = Duration::from_secs(3);

/// Slices of a window whose counts are compared.
const SLICES: u32 = 6;

/// Standard deviations to both sides of the rate: nine of ten estimates are within them.
const SPREAD: f64 = 1.645;

/// The number of finished requests at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
struct FinishedAt {
    elapsed: Duration,
    finished: u64,
}

/// The rate of the last minute.
#[derive(Debug)]
pub(super) struct MovingRate {
    /// The first one is at the beginning of the window or before it.
    samples: VecDeque<FinishedAt>,
    latest: FinishedAt,
}

/// A range of times within which the rest is probably done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TimeLeft {
    pub(super) least: Duration,
    /// `None` if the rate varies so much that it has no upper bound.
    pub(super) most: Option<Duration>,
}

impl Default for MovingRate {
    fn default() -> Self {
        let start = FinishedAt {
            elapsed: Duration::ZERO,
            finished: 0,
        };
        Self {
            samples: VecDeque::from([start]),
            latest: start,
        }
    }
}

impl MovingRate {
    /// Takes the snapshot into account.
    pub(super) fn take(&mut self, snapshot: &Snapshot) {
        self.latest = FinishedAt {
            elapsed: snapshot.elapsed,
            finished: snapshot.finished_now,
        };
        let last = self
            .samples
            .back()
            .map_or(Duration::ZERO, |sample| sample.elapsed);
        if self.latest.elapsed >= last + STEP {
            self.samples.push_back(self.latest);
        }
        // The second sample is still at or before the window's beginning, so the first one is not needed.
        while self
            .samples
            .get(1)
            .is_some_and(|second| second.elapsed + WINDOW <= self.latest.elapsed)
        {
            self.samples.pop_front();
        }
    }

    /// Finished requests a second; 0 if nothing has finished in the window.
    pub(super) fn per_second(&self) -> f64 {
        let start = self.start();
        rate(
            self.finished_since(start),
            self.latest.elapsed.saturating_sub(start.elapsed),
        )
    }

    /// How long so many more requests take. `None` while too little is known.
    pub(super) fn left(&self, requests: u64) -> Option<TimeLeft> {
        let finished = self.finished_since(self.start());
        if requests == 0 || finished < FEWEST || self.latest.elapsed < EARLIEST {
            return None;
        }
        let rate = self.per_second();
        let doubt = SPREAD * self.error(finished);
        let at = |rate: f64| Duration::try_from_secs_f64(count(requests) / rate).ok();
        Some(TimeLeft {
            least: at(rate * (1.0 + doubt))?,
            most: (doubt < 0.9).then(|| at(rate * (1.0 - doubt))).flatten(),
        })
    }

    /// The standard error of the rate, as a share of it. It is at least that of independent events, and more if the
    /// slices of the window differ.
    fn error(&self, finished: u64) -> f64 {
        let independent = 1.0 / count(finished).sqrt();
        let start = self.start();
        let slice = (self.latest.elapsed.saturating_sub(start.elapsed)) / SLICES;
        if slice < STEP {
            return independent;
        }
        let at = |number: u32| self.finished_at(start.elapsed + slice * number);
        let counts: Vec<f64> = (0..SLICES).map(|number| at(number + 1) - at(number)).collect();
        let slices = f64::from(SLICES);
        let mean = counts.iter().sum::<f64>() / slices;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / (slices - 1.0);
        independent.max((variance / slices).sqrt() / mean)
    }

    /// The finished requests at a time, in a straight line between two samples.
    fn finished_at(&self, time: Duration) -> f64 {
        let mut before = self.start();
        for sample in self.samples.iter().chain([&self.latest]) {
            if sample.elapsed >= time {
                let part = sample.elapsed.saturating_sub(before.elapsed);
                if part.is_zero() {
                    return count(sample.finished);
                }
                let share = time.saturating_sub(before.elapsed).as_secs_f64() / part.as_secs_f64();
                return count(before.finished) + share * count(sample.finished - before.finished);
            }
            before = *sample;
        }
        count(before.finished)
    }

    fn start(&self) -> FinishedAt {
        self.samples.front().copied().unwrap_or(self.latest)
    }

    fn finished_since(&self, start: FinishedAt) -> u64 {
        self.latest.finished.saturating_sub(start.finished)
    }
}

fn rate(finished: u64, time: Duration) -> f64 {
    if time.is_zero() {
        return 0.0;
    }
    count(finished) / time.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
const fn count(n: u64) -> f64 {
    n as f64
}

impl TimeLeft {
    /// The range in the unit that fits its end: `4–6 min`, `20–40 s`, `over 2 h`.
    pub(super) fn shown(self) -> String {
        let end = self.most.unwrap_or(self.least).as_secs();
        let (unit, name): (u32, _) = match end {
            0..90 => (1, "s"),
            90..5_400 => (60, "min"),
            5_400..172_800 => (3_600, "h"),
            _ => (86_400, "days"),
        };
        let least = self.least.as_secs() / u64::from(unit);
        let Some(most) = self.most else {
            return format!("over {least} {name}");
        };
        let most = most.as_secs_f64() / f64::from(unit);
        let most = format!("{:.0}", most.ceil().max(1.0));
        match least {
            0 => format!("under {most} {name}"),
            least if most == least.to_string() => format!("about {most} {name}"),
            least => format!("{least}–{most} {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rate after one snapshot a second.
    fn after(finished: impl IntoIterator<Item = u64>) -> MovingRate {
        let mut rate = MovingRate::default();
        for (second, finished_now) in (1..).zip(finished) {
            rate.take(&Snapshot {
                elapsed: Duration::from_secs(second),
                finished_now,
                ..Snapshot::default()
            });
        }
        rate
    }

    fn range(rate: &MovingRate, left: u64) -> String {
        rate.left(left).map_or_else(String::new, TimeLeft::shown)
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        // One request a second for five minutes, then ten a second for one.
        let faster = after((1..=300).chain((1..=60).map(|second| 300 + 10 * second)));
        assert!(
            (faster.per_second() - 10.0).abs() < 0.01,
            "{}",
            faster.per_second()
        );
        let idle = after((1..=300).chain([300; 61]));
        assert!(idle.per_second().abs() < 0.01);
        assert_eq!(range(&idle, 100), "", "nothing is known about the rest");
        assert!(faster.samples.len() <= 62, "{}", faster.samples.len());
    }

    #[test]
    fn a_steady_run_has_a_narrow_range_and_a_bursty_one_a_wide_one() {
        let steady = after((1..=120).map(|second| 10 * second));
        assert_eq!(range(&steady, 3_600), "5–7 min");
        // The same number of requests, all within ten seconds of each minute.
        let burst = |second: u64| second / 60 * 600 + (second % 60).min(10) * 60;
        let bursty = after((1..=120).map(burst));
        assert_eq!(range(&bursty, 3_600), "over 2 min");
    }

    #[test]
    fn a_time_is_given_in_the_unit_that_fits() {
        let seconds = |least, most: Option<u64>| {
            let least = Duration::from_secs(least);
            TimeLeft {
                least,
                most: most.map(Duration::from_secs),
            }
            .shown()
        };
        assert_eq!(seconds(20, Some(40)), "20–40 s");
        assert_eq!(seconds(0, Some(1)), "under 1 s");
        assert_eq!(seconds(20, Some(100)), "under 2 min");
        assert_eq!(seconds(3_600, Some(7_300)), "1–3 h");
        assert_eq!(seconds(300, Some(300)), "about 5 min");
        assert_eq!(seconds(400_000, Some(500_000)), "4–6 days");
        assert_eq!(seconds(150, None), "over 2 min");
    }

    #[test]
    fn no_time_is_given_before_three_requests_are_finished() {
        assert_eq!(after([1, 2]).left(10), None);
        assert!(after([1, 2, 3]).left(10).is_some());
        assert_eq!(after([1, 2, 3]).left(0), None);
    }
}
