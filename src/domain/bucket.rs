//! The arithmetic of a limit per minute as a generic cell rate algorithm (GCRA) whose reservations can be settled.
//!
//! A bucket keeps one number, the *theoretical arrival time*: the moment at which all grants so far are paid for at the
//! sustained rate. A grant moves it forward. A settlement moves it back by the unused part of the reservation. Times
//! are nanoseconds of one clock, which begins at 0. `governor` does the arithmetic of that number (`arrival.rs`).
//! `store/schema/postgres/functions/limits.sql` does the same for many processes, and `tests/limit` checks that both
//! give the same numbers.
//!
//! Strictness: a grant needs `arrival <= now + TOLERANCE` and moves `arrival` to at least `now + charge`. So the
//! charges of all grants of a minute but the last are together less than [`WINDOW`], which is the sum of a minute, the
//! tolerance and the travel time. One unit is charged `WINDOW / (limit - largest + 1)`: the grants before the last one
//! have at most `limit - largest` units, and all grants of the minute at most `limit`. No charge is more than `WINDOW`,
//! after which the minute is empty. A call that is larger than all calls before it first moves `arrival` by the
//! difference: its headroom is earned before it is used. A large call may therefore be dropped from `largest` once it
//! is a minute old. Several buckets with different limits may share one arrival time: each grant is charged by its own
//! limit, so that the strictest limit is kept too.
//!
//! A lower limit that is *learned* from a provider's answers charges more for each unit, and expires. It has no
//! headroom and refuses no call: the provider has answered calls of that size, and the number may be the limit of a
//! window other than a minute.
//!
//! A refund counts at the time of the refund: the grants of a window minus the refunds of that window are never above
//! the limit.

use super::arrival::Arrival;

/// The traffic that may be granted at once: a tenth of a second.
pub const TOLERANCE: i64 = 100_000_000;

/// The travel time: calls that reach the provider up to this much later than their grants, at unequal speed, still keep
/// its limit per minute.
const TRAVEL: i64 = 300_000_000;

/// The charge of a whole limit: less than one per cent above a minute.
pub const WINDOW: i64 = 60_000_000_000 + TOLERANCE + TRAVEL;

/// A learned limit expires when no answer of the provider has named it for this long: ten minutes.
pub const KEPT: i64 = 600_000_000_000;

/// A bucket for one limit per minute.
#[derive(Debug)]
pub struct Bucket {
    limit: u64,
    learned: Option<LoweredLimit>,
    /// The largest recent call; 0 before the first call.
    largest: u64,
    largest_at: i64,
    arrival: Arrival,
}

/// A lower limit that the provider has named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LoweredLimit {
    limit: u64,
    until: i64,
}

/// The charge of one grant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charge {
    /// The reserved amount.
    pub amount: u64,
    /// The amount that is charged a whole window; 0 if nothing is limited.
    pub units: u64,
}

/// A reservation that the limit can never satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a call of about {asked} tokens can never pass a limit of {limit} tokens a minute")]
pub struct TooLarge {
    /// Tokens asked for.
    pub asked: u64,
    /// The limit.
    pub limit: u64,
}

impl Charge {
    /// The charge in nanoseconds.
    pub fn ns(self) -> i64 {
        ns(self.amount, self.units)
    }

    /// Returns how far the arrival time moves when `used` units were used: back, or forward if the call used more than
    /// it reserved.
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
    /// Creates an empty bucket. The first grant waits until the tolerance has filled, so that a restart in the middle
    /// of a minute adds no burst to the grants of the process before.
    pub fn new(limit: u64, now: i64) -> Self {
        Self {
            limit: limit.max(1),
            learned: None,
            largest: 0,
            largest_at: now,
            // The wait is `arrival - now - tolerance`; twice the tolerance makes the first grant wait one tolerance.
            arrival: Arrival::at(now + 2 * TOLERANCE),
        }
    }

    /// Returns how long a call of this size has to wait; 0 if it may be taken now.
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

    /// Takes a call that need not wait and returns its charge.
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

    /// The largest recent call; 0 before the first call.
    pub const fn largest(&self) -> u64 {
        self.largest
    }

    /// Returns the arrival time as it would be after a grant.
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

    /// Sets the limit. Earlier grants stay as they were charged.
    pub fn keep(&mut self, limit: u64) {
        self.limit = limit.max(1);
        self.largest = self.largest.min(self.limit);
    }

    /// Records a limit that the provider has named. A lower one that it named before stays until it expires. Returns
    /// whether the learned limit changed.
    pub fn learn(&mut self, now: i64, limit: u64) -> bool {
        let known = self.learned.filter(|learned| learned.until > now);
        if limit == 0 || limit >= self.limit || known.is_some_and(|known| known.limit < limit) {
            return false;
        }
        let until = now + KEPT;
        self.learned = Some(LoweredLimit { limit, until });
        known.is_none_or(|known| known.limit != limit)
    }

    /// Moves the arrival time, but never further than one window from now.
    pub fn move_by(&mut self, now: i64, ns: i64) {
        self.arrival.set((self.arrival.ns() + ns).min(now + WINDOW));
    }

    /// Goes on from the arrival time of an earlier process, up to one window from now.
    pub fn restore(&mut self, now: i64, arrival: i64) {
        self.arrival.set(self.arrival.ns().max(arrival).min(now + WINDOW));
    }

    /// Sets the largest recent call to that of an earlier process, as if it were made now.
    pub fn restore_largest(&mut self, now: i64, largest: u64) {
        self.largest = largest.min(self.limit);
        self.largest_at = now;
    }
}

/// Limits per minute; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests.
    pub rpm: Option<u32>,
    /// Tokens, input and output together.
    pub tpm: Option<u64>,
}

impl Limits {
    /// Returns the lower limit of both, for requests and for tokens; the one that is set if only one is.
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

    /// Returns those limits that are not 0 and lower than the limit in `those`. A limit that `those` does not set is
    /// left out.
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

/// The charges of one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charges {
    /// For its request.
    pub request: Charge,
    /// For its tokens.
    pub tokens: Charge,
}

/// How many nanoseconds the arrival times move.
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

    /// Runs calls of the given sizes as fast as the bucket allows and settles each at once; returns (time, used) of
    /// each.
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

    /// Returns how long the next call waits after one of 1,000 at this moment.
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
        // The unused part is free again, at the same limit.
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
