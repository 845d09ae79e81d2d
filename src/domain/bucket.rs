//! The arithmetic of a limit a minute whose reservations can be settled, as a generic cell rate algorithm (GCRA).
//!
//! A bucket keeps one number: the *theoretical arrival time*, the moment at which everything granted so far will
//! have been paid for at the sustained rate. A grant moves it forward, a settlement back by what was reserved and not
//! used. Times are nanoseconds of one clock, which begins at 0. `governor` does the arithmetic of that number
//! (`arrival.rs`). `store/schema/postgres/functions/limits.sql` does the same for many processes, and `tests/limit` holds both to
//! the same numbers.
//!
//! Strictness: a grant needs `arrival <= now + TOLERANCE` and moves `arrival` to at least `now + charge`. So the charges
//! of a window's grants without its last one are less than [`WINDOW`], which is a minute, the tolerance and the time on
//! the way together. One unit is charged `WINDOW / (limit - largest + 1)`: those without the last are at most
//! `limit - largest`, and with it at most `limit`. No charge is more than `WINDOW`, after which the minute is empty.
//! Where a call is larger than any before it, `arrival` first moves by the difference: its headroom is earned before it
//! is used. That makes it safe to forget a large call once it is a minute old. Several buckets with different limits may
//! share one arrival time: each grant is charged by its own limit, so that the strictest of them is kept too.
//!
//! A lower limit that is *learned* from a provider's answers charges more for each unit, and lapses. It has no headroom and
//! refuses no call: the provider has answered calls of that size, and what it names may be the limit of another window.
//!
//! What is given back is counted where it is given back: what was granted in a window less what was given back in it is
//! never above the limit.

use super::arrival::Arrival;

/// So much traffic may be granted at once: a tenth of a second.
pub const TOLERANCE: i64 = 100_000_000;

/// Calls may reach the provider so much later than they are granted, and at unequal speed, and still keep its minute.
const TRAVEL: i64 = 300_000_000;

/// What a whole limit is charged: less than one per cent over a minute.
pub const WINDOW: i64 = 60_000_000_000 + TOLERANCE + TRAVEL;

/// A learned limit lapses when no answer of the provider has named it for so long: ten minutes.
pub const KEPT: i64 = 600_000_000_000;

/// A bucket for a limit of so much a minute.
#[derive(Debug)]
pub struct Bucket {
    limit: u64,
    learned: Option<Learned>,
    /// The largest call of late; 0 before the first.
    largest: u64,
    largest_at: i64,
    arrival: Arrival,
}

/// A lower limit that the provider has named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Learned {
    limit: u64,
    until: i64,
}

/// What a grant was charged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charge {
    /// What was reserved.
    pub amount: u64,
    /// How much would have been charged a whole window; 0 where nothing is limited.
    pub units: u64,
}

/// A reservation that no wait can satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a call of about {asked} tokens can never pass a limit of {limit} tokens a minute")]
pub struct TooLarge {
    /// Tokens asked for.
    pub asked: u64,
    /// The limit.
    pub limit: u64,
}

impl Charge {
    /// Nanoseconds.
    pub fn ns(self) -> i64 {
        ns(self.amount, self.units)
    }

    /// By how much the arrival time moves when so much was used: back, or forward if it was more than reserved.
    pub fn correction(self, used: u64) -> i64 {
        ns(used, self.units) - self.ns()
    }
}

fn ns(amount: u64, units: u64) -> i64 {
    if amount >= units {
        return if units == 0 { 0 } else { WINDOW };
    }
    let whole = u128::from(WINDOW.unsigned_abs());
    i64::try_from((u128::from(amount) * whole).div_ceil(u128::from(units))).unwrap_or(WINDOW)
}

impl Bucket {
    /// An empty bucket: the first grant waits for its tolerance to fill, so that a restart in the middle of a minute
    /// never adds a burst to what the process before it was granted.
    pub fn new(limit: u64, now: i64) -> Self {
        Self {
            limit: limit.max(1),
            learned: None,
            largest: 0,
            largest_at: now,
            // The wait is `arrival - tolerance`; twice the tolerance makes the first grant wait for one.
            arrival: Arrival::at(now + 2 * TOLERANCE),
        }
    }

    /// How long a call of that size has to wait; 0 if it may be taken now.
    pub fn wait(&mut self, now: i64, amount: u64) -> Result<i64, TooLarge> {
        if amount > self.limit {
            return Err(TooLarge {
                asked: amount,
                limit: self.limit,
            });
        }
        if self.largest > 1 && self.largest_at < now - WINDOW {
            self.largest = 1;
        }
        if amount > self.largest {
            let headroom = match self.largest {
                0 => 0,
                largest => ns(amount - largest, self.limit - largest + 1),
            };
            self.move_by(now, headroom);
            self.largest = amount;
            self.largest_at = now;
        }
        Ok(self.arrival.wait(now))
    }

    /// Takes what need not wait.
    pub fn take(&mut self, now: i64, amount: u64) -> Charge {
        let charge = self.charge(now, amount);
        if amount >= self.largest {
            self.largest_at = now;
        }
        self.arrival.take(now, charge.ns());
        charge
    }

    /// The arrival time.
    pub fn arrival(&self) -> i64 {
        self.arrival.ns()
    }

    /// The largest call of late; 0 before the first.
    pub const fn largest(&self) -> u64 {
        self.largest
    }

    /// Where the arrival time would be after a grant.
    pub fn after(&self, now: i64, amount: u64) -> i64 {
        self.arrival.ns().max(now) + self.charge(now, amount).ns()
    }

    fn charge(&self, now: i64, amount: u64) -> Charge {
        let units = self.limit - self.largest.max(1) + 1;
        let learned = self.learned.filter(|learned| learned.until > now);
        Charge {
            amount,
            units: learned.map_or(units, |learned| learned.limit.min(units)),
        }
    }

    /// The limit is this from now on; what was granted stays granted.
    pub fn keep(&mut self, limit: u64) {
        self.limit = limit.max(1);
        self.largest = self.largest.min(self.limit);
    }

    /// The provider has named this limit. A lower one that it has named before stays until it lapses; whether this is
    /// another one than was known.
    pub fn learn(&mut self, now: i64, limit: u64) -> bool {
        let known = self.learned.filter(|learned| learned.until > now);
        if limit == 0 || limit >= self.limit || known.is_some_and(|known| known.limit < limit) {
            return false;
        }
        let until = now + KEPT;
        self.learned = Some(Learned { limit, until });
        known.is_none_or(|known| known.limit != limit)
    }

    /// Moves the arrival time, but never so far that more than a whole window would have to pass.
    pub fn move_by(&mut self, now: i64, ns: i64) {
        self.arrival.set((self.arrival.ns() + ns).min(now + WINDOW));
    }

    /// An earlier process has granted up to that arrival time. No more than a window of it is believed.
    pub fn restore(&mut self, now: i64, arrival: i64) {
        self.arrival.set(self.arrival.ns().max(arrival).min(now + WINDOW));
    }

    /// The largest call of an earlier process had that size, a moment ago.
    pub fn restore_largest(&mut self, now: i64, largest: u64) {
        self.largest = largest.min(self.limit);
        self.largest_at = now;
    }
}

/// What may be asked in a minute; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests.
    pub rpm: Option<u32>,
    /// Tokens, input and output together.
    pub tpm: Option<u64>,
}

impl Limits {
    /// Of each, the lower one of both; the only one, where one is set.
    #[must_use]
    pub fn strictest(self, those: Self) -> Self {
        fn lower<T: Ord>(ours: Option<T>, theirs: Option<T>) -> Option<T> {
            match (ours, theirs) {
                (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
                (ours, theirs) => ours.or(theirs),
            }
        }
        Self {
            rpm: lower(self.rpm, those.rpm),
            tpm: lower(self.tpm, those.tpm),
        }
    }

    /// What of these is set, not 0, and lower than the one of `those` that is set.
    #[must_use]
    pub fn below(self, those: Self) -> Self {
        fn below<T: Ord + Default>(ours: Option<T>, theirs: Option<T>) -> Option<T> {
            let theirs = theirs?;
            ours.filter(|ours| *ours != T::default() && *ours < theirs)
        }
        Self {
            rpm: below(self.rpm, those.rpm),
            tpm: below(self.tpm, those.tpm),
        }
    }
}

/// What a call was charged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charges {
    /// For its request.
    pub request: Charge,
    /// For its tokens.
    pub tokens: Charge,
}

/// By how many nanoseconds arrival times move.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Correction {
    /// That of requests.
    pub requests: i64,
    /// That of tokens.
    pub tokens: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;

    /// Runs calls of the given sizes as fast as the bucket allows, each settled at once; answers (time, used) of each.
    fn grants(limit: u64, calls: impl Iterator<Item = (u64, u64)>, seconds: i64) -> Vec<(i64, u64)> {
        let mut bucket = Bucket::new(limit, 0);
        let (mut now, mut granted) = (0, Vec::new());
        for (reserved, used) in calls {
            now += bucket.wait(now, reserved).unwrap();
            if now > seconds * SECOND {
                break;
            }
            let charge = bucket.take(now, reserved);
            bucket.move_by(now, charge.correction(used));
            granted.push((now, used));
            if used < reserved {
                now += 1_000_000;
            }
        }
        granted
    }

    fn largest_window(granted: &[(i64, u64)]) -> u64 {
        let (mut from, mut sum, mut largest) = (0, 0, 0);
        for &(at, amount) in granted {
            sum += amount;
            while granted[from].0 + 60 * SECOND <= at {
                sum -= granted[from].1;
                from += 1;
            }
            largest = largest.max(sum);
        }
        largest
    }

    #[test]
    fn every_minute_is_nearly_filled_and_none_holds_more() {
        for limit in [1, 2, 3, 59, 60, 100, 240, 241, 600, 5_000, 30_000, 900_000] {
            let granted = grants(limit, std::iter::repeat((1, 1)), 185);
            let most = largest_window(&granted);
            assert!((limit * 99 / 100..=limit).contains(&most), "{limit}: {most}");
            let used = granted.iter().filter(|(at, _)| *at >= 5 * SECOND).count() as u64;
            assert!(used >= 3 * limit * 99 / 100, "{limit}: {used}");
        }
    }

    #[test]
    fn small_calls_use_nearly_all_tokens() {
        let granted = grants(1_000_000, std::iter::repeat((3_000, 1_200)), 185);
        let used: u64 = granted
            .iter()
            .filter(|(at, _)| *at >= 5 * SECOND)
            .map(|(_, used)| used)
            .sum();
        assert!(used >= 2_970_000, "{used}");
        assert!(largest_window(&granted) <= 1_000_000);
    }

    #[test]
    fn a_call_of_the_whole_limit_passes_once_a_minute() {
        let granted = grants(1_000, std::iter::repeat((1_000, 1_000)), 185);
        assert_eq!(granted.len(), 4);
    }

    #[test]
    fn a_large_call_after_small_ones_waits_for_its_headroom() {
        let small = std::iter::repeat_n((1, 1), 100_000);
        let granted = grants(1_000, small.take(990).chain([(500, 500)]), 600);
        assert_eq!(granted.last().unwrap().1, 500);
        assert!(largest_window(&granted) <= 1_000);
    }

    #[test]
    fn a_large_call_is_forgotten_after_a_minute() {
        let rate = |calls: Vec<u64>| {
            let used = calls.into_iter().chain(std::iter::repeat_n(10, 100_000));
            let granted = grants(6_000, used.map(|n| (n, n)), 400);
            granted.iter().filter(|(at, _)| *at > 200 * SECOND).count()
        };
        assert!(rate(vec![3_000]) * 100 >= rate(vec![]) * 99);
    }

    #[test]
    fn begins_empty() {
        let mut bucket = Bucket::new(60_000, 0);
        assert_eq!(bucket.wait(0, 100), Ok(TOLERANCE));
        assert_eq!(bucket.wait(TOLERANCE, 100), Ok(0));
    }

    #[test]
    fn a_call_above_the_limit_is_refused_not_delayed() {
        let refusal = TooLarge {
            asked: 101,
            limit: 100,
        };
        assert_eq!(Bucket::new(100, 0).wait(0, 101), Err(refusal));
    }

    /// How long the next call waits after one of 1,000 at a moment.
    fn wait_after(bucket: &mut Bucket, now: i64) -> i64 {
        bucket.take(now, 1_000);
        bucket.wait(now, 1).unwrap() + TOLERANCE
    }

    #[test]
    fn a_learned_limit_slows_down_and_lapses() {
        let mut bucket = Bucket::new(60_000, 0);
        assert!(!bucket.learn(0, 60_000), "it is no lower");
        assert!(!bucket.learn(0, 0), "it says nothing");
        assert!(bucket.learn(0, 6_000));
        assert!(!bucket.learn(1, 30_000), "the lower one stays");
        assert_eq!(wait_after(&mut bucket, SECOND), ns(1_000, 6_000));
        assert!(bucket.learn(KEPT, 30_000), "the lower one has lapsed");
        assert_eq!(wait_after(&mut bucket, KEPT + SECOND), ns(1_000, 30_000));
        assert_eq!(wait_after(&mut bucket, 3 * KEPT), ns(1_000, 60_000));
    }

    #[test]
    fn a_call_above_a_learned_limit_is_charged_a_window() {
        let mut bucket = Bucket::new(60_000, 0);
        assert!(bucket.learn(0, 100));
        assert_eq!(bucket.wait(SECOND, 1_000), Ok(0));
        let charge = bucket.take(SECOND, 1_000);
        assert_eq!(charge.ns(), WINDOW);
        // What it did not use is free again, by the same limit.
        bucket.move_by(SECOND, charge.correction(1));
        assert_eq!(bucket.wait(SECOND, 1_000), Ok(ns(1, 100) - TOLERANCE));
    }

    #[test]
    fn the_strictest_of_two_limits_is_taken() {
        let limits = |rpm, tpm| Limits { rpm, tpm };
        let ours = limits(Some(60), None);
        assert_eq!(ours.strictest(limits(Some(6), Some(9))), limits(Some(6), Some(9)));
        assert_eq!(ours.strictest(limits(Some(600), None)), ours);
        assert_eq!(ours.strictest(Limits::default()), ours);
    }

    #[test]
    fn only_lower_limits_of_what_is_limited_count() {
        let limits = |rpm, tpm| Limits { rpm, tpm };
        let ours = limits(Some(60), None);
        assert_eq!(limits(Some(6), Some(9)).below(ours), limits(Some(6), None));
        assert_eq!(limits(Some(600), None).below(ours), Limits::default());
        assert_eq!(limits(Some(0), None).below(ours), Limits::default());
    }

    #[test]
    fn nothing_given_back_makes_it_fuller_than_empty_traffic() {
        let mut bucket = Bucket::new(60_000, 0);
        bucket.move_by(SECOND, -1_000 * SECOND);
        let together =
            std::iter::repeat_with(|| bucket.wait(SECOND, 1).map(|wait| (wait, bucket.take(SECOND, 1))))
                .take_while(|taken| matches!(taken, Ok((0, _))))
                .count();
        assert_eq!(together, 100);
    }

    proptest! {
        #[test]
        fn no_minute_exceeds_the_limit(
            limit in 500_u64..200_000,
            sizes in prop::collection::vec((1_u64..500, 0.0_f64..=1.0, 1_usize..400), 1..12),
        ) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small numbers")]
            let calls: Vec<(u64, u64)> = sizes
                .iter()
                .flat_map(|&(n, share, times)| std::iter::repeat_n((n, (n as f64 * share) as u64), times))
                .collect();
            prop_assert!(largest_window(&grants(limit, calls.into_iter().cycle(), 200)) <= limit);
        }
    }
}
