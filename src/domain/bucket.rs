//! The arithmetic of a limit a minute whose reservations can be settled, as a generic cell rate algorithm (GCRA).
//!
//! A bucket remembers one number: the *theoretical arrival time*, the moment at which everything granted so far will
//! have been paid for at the sustained rate. A grant moves it forward, a settlement back by what was reserved and not
//! used. Times are nanoseconds of one clock. `store/schema/postgres/007_limits.sql` does the same for many processes, and
//! `tests/limit` holds both to the same numbers.
//!
//! Strictness: a grant needs `arrival <= now + TOLERANCE` and moves `arrival` to at least `now + charge`. So the charges
//! of a window's grants without its last one are less than [`WINDOW`], which is a minute, the tolerance and the time on
//! the way together. One unit is charged `WINDOW / (limit - largest + 1)`: those without the last are at most
//! `limit - largest`, and with it at most `limit`. No charge is more than `WINDOW`, after which the minute is empty.
//! Where a call is larger than any before it, `arrival` first moves by the difference: its headroom is earned before it
//! is used. That makes it safe to forget a large call once it is a minute old. Several buckets with different limits may
//! share one arrival time: each grant is charged by its own limit, so that the strictest of them is kept too.
//!
//! What is given back is counted where it is given back: what was granted in a window less what was given back in it is
//! never above the limit.

use std::time::Duration;

/// So much traffic may be granted at once: a tenth of a second.
pub const TOLERANCE: i64 = 100_000_000;

/// Calls may reach the provider so much later than they are granted, and at unequal speed, and still keep its minute.
const TRAVEL: i64 = 300_000_000;

/// What a whole limit is charged: less than one per cent over a minute.
pub const WINDOW: i64 = 60_000_000_000 + TOLERANCE + TRAVEL;

/// A bucket for a limit of so much a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    limit: u64,
    /// The largest call of late; 0 before the first.
    largest: u64,
    largest_at: i64,
    arrival: i64,
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
            largest: 0,
            largest_at: now,
            // The wait is `arrival - tolerance`; twice the tolerance makes the first grant wait for one.
            arrival: now + 2 * TOLERANCE,
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
        Ok((self.arrival - TOLERANCE - now).max(0))
    }

    /// Takes what need not wait.
    pub fn take(&mut self, now: i64, amount: u64) -> Charge {
        let units = self.limit - self.largest.max(1) + 1;
        let charge = Charge { amount, units };
        if amount >= self.largest {
            self.largest_at = now;
        }
        self.arrival = self.arrival.max(now) + charge.ns();
        charge
    }

    /// The limit is this from now on, if it was higher; what was granted stays granted.
    pub fn lower(&mut self, limit: u64) {
        self.limit = self.limit.min(limit.max(1));
        self.largest = self.largest.min(self.limit);
    }

    /// Moves the arrival time, but never so far that more than a whole window would have to pass.
    pub fn move_by(&mut self, now: i64, ns: i64) {
        self.arrival = (self.arrival + ns).min(now + WINDOW);
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
    /// These, and of those the ones that are lower; what has no limit gets none.
    #[must_use]
    pub fn lowered(self, those: Self) -> Self {
        fn lower<T: Ord + From<u8>>(ours: Option<T>, theirs: Option<T>) -> Option<T> {
            let ours = ours?;
            match theirs.filter(|theirs| *theirs > T::from(0)) {
                Some(theirs) => Some(ours.min(theirs)),
                None => Some(ours),
            }
        }
        Self {
            rpm: lower(self.rpm, those.rpm),
            tpm: lower(self.tpm, those.tpm),
        }
    }
}

/// Both limits of a route: a call takes of both or of none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    limits: Limits,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
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

impl Pace {
    /// Empty buckets.
    pub fn new(limits: Limits, now: i64) -> Self {
        let bucket = |limit: u64| Bucket::new(limit, now);
        Self {
            limits,
            requests: limits.rpm.map(u64::from).map(bucket),
            tokens: limits.tpm.map(bucket),
        }
    }

    /// Takes a request of so many tokens, or says how long to wait before asking again.
    pub fn take(&mut self, now: i64, tokens: u64) -> Result<Result<Charges, Duration>, TooLarge> {
        let mut wait = 0;
        if let Some(bucket) = &mut self.tokens {
            wait = bucket.wait(now, tokens)?;
        }
        if let Some(bucket) = &mut self.requests {
            wait = wait.max(bucket.wait(now, 1)?);
        }
        if wait > 0 {
            return Ok(Err(Duration::from_nanos(wait.unsigned_abs())));
        }
        let take = |bucket: &mut Option<Bucket>, amount| {
            bucket
                .as_mut()
                .map_or_else(Charge::default, |bucket| bucket.take(now, amount))
        };
        Ok(Ok(Charges {
            request: take(&mut self.requests, 1),
            tokens: take(&mut self.tokens, tokens),
        }))
    }

    /// Those that are lower are the limits from now on; whether any is.
    pub fn lower(&mut self, limits: Limits) -> bool {
        let before = self.limits;
        self.limits = before.lowered(limits);
        if let (Some(bucket), Some(rpm)) = (&mut self.requests, self.limits.rpm) {
            bucket.lower(rpm.into());
        }
        if let (Some(bucket), Some(tpm)) = (&mut self.tokens, self.limits.tpm) {
            bucket.lower(tpm);
        }
        self.limits != before
    }

    /// Gives back, or charges for, what a call did not take as it was reserved.
    pub fn correct(&mut self, now: i64, by: Correction) {
        if let Some(bucket) = &mut self.requests {
            bucket.move_by(now, by.requests);
        }
        if let Some(bucket) = &mut self.tokens {
            bucket.move_by(now, by.tokens);
        }
    }
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

    #[test]
    fn a_lower_limit_is_kept_and_a_higher_one_is_not() {
        let wait = |limit: u64| {
            let mut bucket = Bucket::new(60_000, 0);
            bucket.lower(limit);
            bucket.take(SECOND, 1_000);
            bucket.wait(SECOND, 1).unwrap() + TOLERANCE
        };
        assert!(wait(6_000) >= 10 * wait(60_000) - 10);
        assert_eq!(wait(600_000), wait(60_000));
    }

    #[test]
    fn limits_are_lowered_where_there_are_any() {
        let limits = |rpm, tpm| Limits { rpm, tpm };
        let ours = limits(Some(60), None);
        assert_eq!(ours.lowered(limits(Some(6), Some(9))), limits(Some(6), None));
        assert_eq!(ours.lowered(limits(Some(600), None)), ours);
        assert_eq!(ours.lowered(limits(Some(0), None)), ours);
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
