//! Figures over time, in slots whose width grows with the span.

use std::collections::BTreeMap;

use serde::Serialize;

/// The most slots of a chart: more are not told apart on a screen.
pub(super) const MOST_SLOTS: i64 = 120;

/// The widths of a slot in milliseconds, each a multiple of the one before. Behind the last one they grow fourfold.
const WIDTHS: [i64; 15] = [
    100, 500, 1_000, 5_000, 10_000, 30_000, 60_000, 120_000, 600_000, 1_800_000, 3_600_000, 7_200_000,
    21_600_000, 43_200_000, 86_400_000,
];

/// The last millisecond of the year 9999. Times outside of the calendar are moved to its ends.
const LAST_MS: i64 = 253_402_300_799_999;

/// The figures of one slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Slot {
    /// Requests that ended well.
    pub(super) done: u64,
    /// Requests that failed, completely or in part.
    pub(super) failed: u64,
    /// Requests that paused or that another one continues.
    pub(super) paused: u64,
    /// The milliseconds for which calls were in flight, summed over the calls.
    pub(super) busy_ms: u64,
}

/// Slots of equal width. Their number is bounded, whatever times are added, and in whatever order.
#[derive(Debug)]
pub(super) struct Timeline {
    width: i64,
    slots: BTreeMap<i64, Slot>,
}

/// The slots as a chart shows them, without a gap.
#[derive(Debug, Serialize, PartialEq)]
pub(super) struct TimelineChart {
    /// Unix milliseconds of the first slot.
    start: i64,
    /// The width of a slot in milliseconds.
    width: i64,
    done: Vec<u64>,
    failed: Vec<u64>,
    paused: Vec<u64>,
    /// The calls in flight, as the mean over each slot.
    in_flight: Vec<f64>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            width: WIDTHS[0],
            slots: BTreeMap::new(),
        }
    }
}

impl Timeline {
    /// Returns the slot of this time.
    pub(super) fn at(&mut self, ms: i64) -> &mut Slot {
        let ms = ms.clamp(0, LAST_MS);
        self.make_room(ms, ms);
        self.slots.entry(ms / self.width).or_default()
    }

    /// Adds a call that was in flight from `start` on.
    pub(super) fn add_call(&mut self, start: i64, duration_ms: u64) {
        let start = start.clamp(0, LAST_MS);
        let end = start
            .saturating_add(i64::try_from(duration_ms).unwrap_or(LAST_MS))
            .min(LAST_MS);
        self.make_room(start, end);
        // A call that ends with a slot is not in flight in the next one.
        let last = end.saturating_sub(1).max(start);
        for index in start / self.width..=last / self.width {
            let (from, to) = (index * self.width, (index + 1) * self.width);
            let within = (end.min(to) - start.max(from)).max(0).unsigned_abs();
            self.slots.entry(index).or_default().busy_ms += within;
        }
    }

    /// Widens the slots until these times fit into them.
    fn make_room(&mut self, from: i64, to: i64) {
        loop {
            let first = self.slots.keys().next().copied();
            let last = self.slots.keys().next_back().copied();
            let first = first.map_or(from / self.width, |first| first.min(from / self.width));
            let last = last.map_or(to / self.width, |last| last.max(to / self.width));
            if last - first < MOST_SLOTS {
                return;
            }
            self.widen();
        }
    }

    fn widen(&mut self) {
        let next = WIDTHS.iter().copied().find(|&width| width > self.width);
        let next = next.unwrap_or_else(|| self.width.saturating_mul(4));
        let factor = next / self.width;
        let mut wide: BTreeMap<i64, Slot> = BTreeMap::new();
        for (index, slot) in std::mem::take(&mut self.slots) {
            let sum = wide.entry(index / factor).or_default();
            sum.done += slot.done;
            sum.failed += slot.failed;
            sum.paused += slot.paused;
            sum.busy_ms += slot.busy_ms;
        }
        self.slots = wide;
        self.width = next;
    }

    /// Returns the chart; `None` if nothing was added.
    #[expect(clippy::cast_precision_loss, reason = "a mean for a chart")]
    pub(super) fn chart(&self) -> Option<TimelineChart> {
        let first = *self.slots.keys().next()?;
        let last = *self.slots.keys().next_back()?;
        let slots: Vec<Slot> = (first..=last)
            .map(|index| self.slots.get(&index).copied().unwrap_or_default())
            .collect();
        let mean = |slot: &Slot| {
            let mean = slot.busy_ms as f64 / self.width as f64;
            (mean * 100.0).round() / 100.0
        };
        Some(TimelineChart {
            start: first * self.width,
            width: self.width,
            done: slots.iter().map(|slot| slot.done).collect(),
            failed: slots.iter().map(|slot| slot.failed).collect(),
            paused: slots.iter().map(|slot| slot.paused).collect(),
            in_flight: slots.iter().map(mean).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_in_flight_in_each_slot_that_it_covers() {
        let mut line = Timeline::default();
        line.at(1_000).done += 1;
        line.add_call(1_050, 200);
        let chart = line.chart().unwrap();
        assert_eq!((chart.start, chart.width), (1_000, 100));
        assert_eq!(chart.in_flight, [0.5, 1.0, 0.5]);
        assert_eq!(chart.done, [1, 0, 0]);
    }

    #[test]
    fn wider_slots_keep_the_sums() {
        let mut line = Timeline::default();
        for second in (0..1_000).rev() {
            line.at(second * 1_000).done += 1;
            line.add_call(second * 1_000, 1_000);
        }
        let chart = line.chart().unwrap();
        assert_eq!(chart.width, 10_000);
        assert_eq!(chart.done, [10; 100]);
        assert!(
            chart
                .in_flight
                .iter()
                .take(100)
                .all(|&mean| (mean - 1.0).abs() < 0.01)
        );
    }

    #[test]
    fn absurd_times_need_no_more_slots() {
        let mut line = Timeline::default();
        line.at(i64::MIN).failed += 1;
        line.add_call(i64::MAX - 5, u64::MAX);
        line.add_call(1_700_000_000_000, u64::MAX);
        let chart = line.chart().unwrap();
        assert!(chart.done.len() <= 120);
        assert_eq!(chart.failed.iter().sum::<u64>(), 1);
    }
}
