//! The cost of a call: a formula of its tokens, its size, the hour and the service tier.
//!
//! The arithmetic uses integers only, and every factor keeps the order of amounts: the worst case of a call is never
//! below its real cost.

use super::usage::{Cost, Usage};

/// The most that one call may cost: ten thousand dollars. The cap keeps the sums of a run far below the largest number
/// of the stores.
pub const MOST_OF_A_CALL: Cost = Cost(10_000_000_000_000_000);

const MINUTE_MS: i64 = 60_000;

/// Minutes of a day.
pub const DAY: u16 = 24 * 60;

/// The prices of a route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Price {
    /// Picodollars for a prompt token that was neither read from the provider's cache nor written to it.
    pub input: u64,
    /// For a prompt token that was read from the cache.
    pub cached_input: u64,
    /// For a prompt token that was written to the cache.
    pub cache_write: u64,
    /// For a token of the answer.
    pub output: u64,
    /// The prices of larger requests, in rising order of `above`.
    pub steps: Vec<PriceStep>,
    /// Hours at which all prices are multiplied.
    pub hours: Vec<Hours>,
    /// The factors of service tiers, by their names in lower case.
    pub tiers: Vec<(String, Factor)>,
}

/// A multiple of a price, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Factor(pub u64);

impl Factor {
    /// Factor one: the price itself.
    pub const ONE: Self = Self(1_000_000);

    /// The greatest factor in settings.
    pub const MOST: Self = Self(1_000_000_000);

    fn times(self, amount: u128) -> u128 {
        amount
            .saturating_mul(u128::from(self.0))
            .div_ceil(u128::from(Self::ONE.0))
    }
}

/// A price step: a request with more prompt tokens than `above` is charged these factors on all its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceStep {
    /// The step applies to requests with more prompt tokens than this.
    pub above: u64,
    /// For prompt tokens of every kind.
    pub input: Factor,
    /// For tokens of the answer.
    pub output: Factor,
}

/// A time of the week, in UTC, at which prices are multiplied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// The days on which it begins, Monday first.
    pub days: [bool; 7],
    /// The first minute of the day.
    pub from: u16,
    /// The minute at which it ends; on the next day if it is not after `from`.
    pub to: u16,
    /// The factor on the price.
    pub factor: Factor,
}

impl Hours {
    /// Whether it covers this minute since 1970.
    fn holds(&self, minute: i64) -> bool {
        let day = minute.div_euclid(i64::from(DAY));
        // 1970 began on a Thursday.
        let begins = |day: i64| usize::try_from((day + 3).rem_euclid(7)).is_ok_and(|day| self.days[day]);
        let now = minute.rem_euclid(i64::from(DAY));
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        if from < to {
            return begins(day) && (from..to).contains(&now);
        }
        (begins(day) && now >= from) || (begins(day - 1) && now < to)
    }
}

/// When a call was made, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// When it was sent.
    pub from: i64,
    /// When its answer was complete.
    pub to: i64,
}

impl Price {
    /// Returns the cost of a usage that was served in `tier` during `span`. The minute in which the tokens were made is
    /// unknown, so the most expensive minute counts.
    pub fn of(&self, usage: Usage, tier: Option<&str>, span: Span) -> Cost {
        let cached = usage.cached_input_tokens.min(usage.input_tokens);
        let written = usage.cache_write_tokens.min(usage.input_tokens - cached);
        let fresh = usage.input_tokens - cached - written;
        let step = self
            .steps
            .iter()
            .rev()
            .find(|step| step.above < usage.input_tokens);
        let input = product(fresh, self.input)
            .saturating_add(product(cached, self.cached_input))
            .saturating_add(product(written, self.cache_write));
        let output = product(usage.output_tokens, self.output);
        bounded(
            self.tier(tier)
                .times(self.hour(span).times(stepped(step, input, output))),
        )
    }

    /// Returns the most that a call of this many tokens may cost, for any cache state, hour and tier.
    pub fn worst(&self, input_tokens: u64, output_tokens: u64) -> Cost {
        let dearest = self.input.max(self.cached_input).max(self.cache_write);
        let input = product(input_tokens, dearest);
        let output = product(output_tokens, self.output);
        let reached = self.steps.iter().filter(|step| step.above < input_tokens);
        let sized = reached
            .map(|step| stepped(Some(step), input, output))
            .fold(stepped(None, input, output), u128::max);
        let most = |factors: &mut dyn Iterator<Item = Factor>| factors.fold(Factor::ONE, Factor::max);
        let hour = most(&mut self.hours.iter().map(|hours| hours.factor));
        let tier = most(&mut self.tiers.iter().map(|(_, factor)| *factor));
        bounded(tier.times(hour.times(sized)))
    }

    /// Returns the factor of a tier. A tier without a price of its own has factor one.
    fn tier(&self, name: Option<&str>) -> Factor {
        let known = name.and_then(|name| {
            let is = |(tier, _): &&(String, Factor)| tier.eq_ignore_ascii_case(name);
            self.tiers.iter().find(is)
        });
        known.map_or(Factor::ONE, |(_, factor)| *factor)
    }

    fn hour(&self, span: Span) -> Factor {
        if self.hours.is_empty() {
            return Factor::ONE;
        }
        let (first, last) = (span.from.div_euclid(MINUTE_MS), span.to.div_euclid(MINUTE_MS));
        // One week contains every minute of the week.
        let last = last.clamp(first, first.saturating_add(7 * i64::from(DAY)));
        let dearest = (first..=last).map(|minute| self.at(minute)).max();
        dearest.unwrap_or(Factor::ONE)
    }

    /// Returns the highest factor of all hours that cover this minute.
    fn at(&self, minute: i64) -> Factor {
        let holding = self.hours.iter().filter(|hours| hours.holds(minute));
        holding.map(|hours| hours.factor).max().unwrap_or(Factor::ONE)
    }
}

fn product(tokens: u64, price: u64) -> u128 {
    u128::from(tokens) * u128::from(price)
}

fn stepped(step: Option<&PriceStep>, input: u128, output: u128) -> u128 {
    match step {
        Some(step) => step.input.times(input).saturating_add(step.output.times(output)),
        None => input.saturating_add(output),
    }
}

fn bounded(amount: u128) -> Cost {
    u64::try_from(amount).map_or(MOST_OF_A_CALL, |amount| Cost(amount).min(MOST_OF_A_CALL))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: Span = Span {
        from: 12 * 3_600_000,
        to: 12 * 3_600_000,
    };

    fn usage(input: u64, cached: u64, written: u64, output: u64) -> Usage {
        Usage {
            input_tokens: input,
            cached_input_tokens: cached,
            cache_write_tokens: written,
            output_tokens: output,
        }
    }

    fn plain() -> Price {
        Price {
            input: 100,
            cached_input: 10,
            cache_write: 125,
            output: 400,
            ..Price::default()
        }
    }

    #[test]
    fn each_kind_of_token_has_its_price() {
        assert_eq!(
            plain().of(usage(10, 4, 3, 2), None, NOON),
            Cost(300 + 40 + 375 + 800)
        );
        // Cached and written tokens are more than the prompt has: no token is paid twice.
        assert_eq!(plain().of(usage(10, 8, 8, 0), None, NOON), Cost(80 + 250));
    }

    #[test]
    fn a_large_request_costs_its_step_as_a_whole() {
        let step = |above, input, output| PriceStep {
            above,
            input: Factor(input),
            output: Factor(output),
        };
        let price = Price {
            steps: vec![step(10, 2_000_000, 1_500_000), step(20, 3_000_000, 1_000_000)],
            ..plain()
        };
        let of = |input| price.of(usage(input, 0, 0, 2), None, NOON);
        assert_eq!(of(10), Cost(1000 + 800));
        assert_eq!(of(11), Cost(2200 + 1200));
        assert_eq!(of(21), Cost(6300 + 800));
    }

    #[test]
    fn the_tier_that_served_is_the_one_that_is_paid() {
        let price = Price {
            tiers: vec![("flex".to_owned(), Factor(500_000))],
            ..plain()
        };
        let of = |tier| price.of(usage(10, 0, 0, 0), tier, NOON);
        assert_eq!(
            [of(Some("Flex")), of(Some("default")), of(None)].map(|cost| cost.0),
            [500, 1000, 1000]
        );
    }

    #[test]
    fn hours_hold_on_their_days_and_over_midnight() {
        let minute = |day: i64, hour: i64, minute: i64| (day * 24 + hour) * 60 + minute;
        let weekdays = Hours {
            days: [true, true, true, true, true, false, false],
            from: 60,
            to: 240,
            factor: Factor(2_000_000),
        };
        // Day 0 was a Thursday, day 2 a Saturday, day 4 a Monday.
        let held = [
            (0, 0, 59),
            (0, 1, 0),
            (0, 3, 59),
            (0, 4, 0),
            (2, 2, 0),
            (4, 2, 0),
            (-3, 2, 0),
        ];
        let held = held.map(|(day, hour, at)| weekdays.holds(minute(day, hour, at)));
        assert_eq!(held, [false, true, true, false, false, true, true]);
        let night = Hours {
            days: [false, false, false, true, false, false, false],
            from: 23 * 60,
            to: 60,
            ..weekdays
        };
        let held = [
            (0, 22, 59),
            (0, 23, 0),
            (1, 0, 59),
            (1, 1, 0),
            (0, 0, 30),
            (1, 23, 30),
        ];
        let held = held.map(|(day, hour, at)| night.holds(minute(day, hour, at)));
        assert_eq!(held, [false, true, true, false, false, false]);
    }

    #[test]
    fn a_call_that_reaches_into_dear_hours_is_taken_for_dear() {
        let price = Price {
            hours: vec![Hours {
                days: [true; 7],
                from: 60,
                to: 120,
                factor: Factor(2_000_000),
            }],
            ..plain()
        };
        let of = |from: i64, to: i64| {
            let span = Span {
                from: from * MINUTE_MS,
                to: to * MINUTE_MS,
            };
            price.of(usage(10, 0, 0, 0), None, span).0
        };
        assert_eq!(
            [of(50, 59), of(59, 60), of(50, 200), of(120, 130), of(70, 50)],
            [1000, 2000, 2000, 1000, 2000]
        );
    }

    fn prices() -> impl Strategy<Value = Price> {
        let amount = 0_u64..=1_000_000_000_000;
        let factor = (0_u64..=Factor::MOST.0).prop_map(Factor);
        let step = (0_u64..400_000, factor.clone(), factor.clone());
        let hours = (
            prop::array::uniform7(any::<bool>()),
            0..DAY,
            0..DAY,
            factor.clone(),
        );
        (
            (amount.clone(), amount.clone(), amount.clone(), amount),
            prop::collection::vec(step, 0..3),
            prop::collection::vec(hours, 0..3),
            prop::collection::vec(("[a-c]", factor), 0..3),
        )
            .prop_map(
                |((input, cached_input, cache_write, output), steps, hours, tiers)| {
                    let mut steps: Vec<PriceStep> = steps
                        .into_iter()
                        .map(|(above, input, output)| PriceStep { above, input, output })
                        .collect();
                    steps.sort_by_key(|step| step.above);
                    let hours = hours.into_iter().map(|(days, from, to, factor)| Hours {
                        days,
                        from,
                        to,
                        factor,
                    });
                    Price {
                        input,
                        cached_input,
                        cache_write,
                        output,
                        steps,
                        hours: hours.collect(),
                        tiers,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn nothing_costs_more_than_the_worst_case(
            price in prices(),
            most in (0_u64..1_000_000, 0_u64..1_000_000),
            parts in (0.0..=1.0, 0.0..=1.0, 0.0..=1.0, 0.0..=1.0),
            tier in prop::option::of("[a-d]"),
            from in 0_i64..1_000_000_000_000,
            lasts in 0_i64..1_000_000,
        ) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a part of a small number")]
            let part = |whole: u64, share: f64| (whole as f64 * share) as u64;
            let input = part(most.0, parts.0);
            let used = usage(input, part(input, parts.1), part(input, parts.2), part(most.1, parts.3));
            let cost = price.of(used, tier.as_deref(), Span { from, to: from + lasts });
            let worst = price.worst(most.0, most.1);
            prop_assert!(cost <= worst, "{cost:?} > {worst:?}");
            prop_assert!(worst <= MOST_OF_A_CALL);
        }

        #[test]
        fn no_number_is_too_large(price in prices(), used in any::<[u64; 4]>(), span in any::<[i64; 2]>()) {
            let [input, cached, written, output] = used;
            let span = Span { from: span[0], to: span[1] };
            prop_assert!(price.of(usage(input, cached, written, output), Some("a"), span) <= MOST_OF_A_CALL);
            prop_assert!(price.worst(input, output) <= MOST_OF_A_CALL);
        }
    }
}
