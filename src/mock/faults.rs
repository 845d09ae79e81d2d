//! The fault and the latency of each call.
//!
//! Every draw depends on the seed and the number of the call only. A run with one connection at a time therefore
//! repeats exactly. With many connections the same numbers fail, but the order of arrival decides which prompts have
//! these numbers.

use fastrand::Rng;

use super::config::Latency;

/// The probability of each fault, 0..=1. A call has at most one fault. If the sum is above 1, the last faults are
/// rarer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Faults {
    /// 429 `rate_limit_exceeded`, with the time to wait.
    pub rate_limited: f64,
    /// 500 with an error of the dialect, or sometimes 503 with the HTML page of a proxy.
    pub server_error: f64,
    /// The connection breaks in the middle of the answer, or sometimes before its headers.
    pub disconnect: f64,
    /// The answer ends cleanly in its middle: no finish reason, no `[DONE]`, or half a JSON object.
    pub truncate: f64,
    /// Half of the answer, then silence until the client leaves.
    pub stall: f64,
    /// A text that is not JSON replaces a piece of a stream, or a whole answer.
    pub garbage: f64,
    /// An error object inside an answer that began with status 200.
    pub error_in_stream: f64,
    /// 529 `overloaded_error` of the Messages API, 503 `server_is_overloaded` of Chat Completions.
    pub overloaded: f64,
}

/// The one fault of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MockFault {
    RateLimited,
    ServerError,
    Disconnect,
    Truncate,
    Stall,
    Garbage,
    ErrorInStream,
    Overloaded,
}

/// The shape of the long tail. One in nine of its calls takes more than four times as long.
const SHAPE: f64 = 1.5;

/// The random draws of one call.
pub(crate) struct Chance(Rng);

impl Chance {
    pub(crate) fn new(seed: u64, call: u64) -> Self {
        // The first constant is 2^64 divided by the golden ratio. Both are odd and separate neighbouring seeds and
        // calls.
        Self(Rng::with_seed(
            seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
                ^ call.wrapping_mul(0xD1B5_4A32_D192_ED03),
        ))
    }

    /// Returns the fault of this call, if it has one.
    pub(crate) fn fault(&mut self, faults: &Faults) -> Option<MockFault> {
        let table = [
            (faults.rate_limited, MockFault::RateLimited),
            (faults.server_error, MockFault::ServerError),
            (faults.disconnect, MockFault::Disconnect),
            (faults.truncate, MockFault::Truncate),
            (faults.stall, MockFault::Stall),
            (faults.garbage, MockFault::Garbage),
            (faults.error_in_stream, MockFault::ErrorInStream),
            (faults.overloaded, MockFault::Overloaded),
        ];
        let mut left = self.0.f64();
        for (probability, fault) in table {
            if left < probability {
                return Some(fault);
            }
            left -= probability.max(0.0);
        }
        None
    }

    /// Returns whether a fault has its rarer form, which is drawn for one call in four.
    pub(crate) fn rare_face(&mut self) -> bool {
        self.0.u8(..) < 64
    }

    /// Returns the waits of this call. A call in the tail is longer by a Pareto factor of at most ten.
    pub(crate) fn latency(&mut self, latency: Latency) -> Latency {
        if latency.tail <= 0.0 || self.0.f64() >= latency.tail {
            return latency;
        }
        let share = self.0.f64() * (1.0 - 10f64.powf(-SHAPE));
        latency.stretched((1.0 - share).powf(-1.0 / SHAPE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_same_call_draws_the_same_fault() {
        let faults = Faults {
            stall: 0.3,
            garbage: 0.3,
            ..Faults::default()
        };
        let draw = |call| Chance::new(7, call).fault(&faults);
        let first: Vec<_> = (0..200).map(draw).collect();
        assert_eq!(first, (0..200).map(draw).collect::<Vec<_>>());
        assert!(first.contains(&None) && first.contains(&Some(MockFault::Stall)));
    }

    #[test]
    fn shares_come_out_near_their_probability() {
        let faults = Faults {
            rate_limited: 0.2,
            error_in_stream: 0.1,
            ..Faults::default()
        };
        let drawn: Vec<_> = (0..10_000)
            .filter_map(|call| Chance::new(1, call).fault(&faults))
            .collect();
        let limited = drawn
            .iter()
            .filter(|&&fault| fault == MockFault::RateLimited)
            .count();
        assert!(
            (1_800..2_200).contains(&limited),
            "expected about 2000, got {limited}"
        );
        assert!(
            (2_700..3_300).contains(&drawn.len()),
            "expected about 3000, got {}",
            drawn.len()
        );
    }

    #[test]
    fn a_certain_fault_never_misses_and_an_absent_one_never_comes() {
        let certain = Faults {
            truncate: 1.0,
            ..Faults::default()
        };
        assert!((0..1000).all(|call| Chance::new(3, call).fault(&certain) == Some(MockFault::Truncate)));
        assert!((0..1000).all(|call| Chance::new(3, call).fault(&Faults::default()).is_none()));
    }

    #[test]
    fn the_tail_stretches_up_to_ten_times() {
        let latency = Latency {
            first_token: Duration::from_secs(1),
            per_token: Duration::ZERO,
            tail: 1.0,
        };
        let waits: Vec<_> = (0..2000)
            .map(|call| Chance::new(1, call).latency(latency).first_token)
            .collect();
        assert!(
            waits
                .iter()
                .all(|wait| (1.0..=10.001).contains(&wait.as_secs_f64()))
        );
        assert!(waits.iter().any(|wait| wait.as_secs_f64() > 5.0));
    }
}
