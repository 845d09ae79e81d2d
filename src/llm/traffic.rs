//! The calls of a route, counted for the display: in flight, sent in the last minute, and how long they take.
//!
//! The figures are for displays only and decide nothing. The memory does not grow with the number of calls.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::route::Route;
use crate::observe::{CallAge, RouteTraffic};

/// The time that counts as the last minute, in seconds.
const MINUTE: u64 = 60;

/// One slot for each second of a minute.
type LastMinute = [SecondCount; 60];

/// The longest duration that is told apart from longer ones, in milliseconds: one hour.
const LONGEST_MS: u64 = 3_600_000;

/// Counts the calls of one route.
#[derive(Debug)]
pub(super) struct Traffic {
    begun: Instant,
    counts: Mutex<TrafficCounts>,
}

#[derive(Debug)]
struct TrafficCounts {
    next: u64,
    /// The calls in flight: when each began, and its queue.
    in_flight: HashMap<u64, (Instant, Option<i64>)>,
    seconds: LastMinute,
    answered: u64,
    /// The durations of answered calls in milliseconds; `None` if the histogram could not be made.
    durations: Option<Histogram<u32>>,
}

/// The calls that were sent in one second.
#[derive(Debug, Clone, Copy, Default)]
struct SecondCount {
    /// The second, counted from the start of the process.
    second: u64,
    requests: u64,
    /// Reserved tokens, corrected when a call ends.
    tokens: i64,
}

/// A call in flight. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct CallInFlight<'t> {
    traffic: &'t Traffic,
    number: u64,
    began: Instant,
    reserved: u64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            counts: Mutex::new(TrafficCounts {
                next: 0,
                in_flight: HashMap::new(),
                seconds: [SecondCount::default(); 60],
                answered: 0,
                durations: Histogram::new_with_bounds(1, LONGEST_MS, 2).ok(),
            }),
        }
    }
}

impl Traffic {
    /// Counts a call that is being sent, with the tokens that it reserves.
    pub(super) fn begin(&self, queue: Option<i64>, tokens: u64) -> CallInFlight<'_> {
        let began = Instant::now();
        let mut counts = self.counts();
        counts.next += 1;
        let number = counts.next;
        counts.in_flight.insert(number, (began, queue));
        let second = counts.second(self.second(began));
        second.requests += 1;
        second.tokens += signed(tokens);
        CallInFlight {
            traffic: self,
            number,
            began,
            reserved: tokens,
        }
    }

    /// Seconds since the start. The first one is 1, so that an unused slot belongs to no second.
    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_secs() + 1
    }

    fn counts(&self) -> MutexGuard<'_, TrafficCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TrafficCounts {
    /// The slot of a second. A slot of an earlier minute begins anew.
    fn second(&mut self, second: u64) -> &mut SecondCount {
        let place = usize::try_from(second % MINUTE).unwrap_or_default();
        let slot = &mut self.seconds[place];
        if slot.second != second {
            *slot = SecondCount {
                second,
                ..SecondCount::default()
            };
        }
        slot
    }

    /// The requests and tokens of the minute that ends with this second.
    fn last_minute(&self, now: u64) -> (u64, u64) {
        let recent = self.seconds.iter().filter(|slot| slot.second + MINUTE > now);
        let (requests, tokens) = recent.fold((0, 0), |(requests, tokens), slot| {
            (requests + slot.requests, tokens + slot.tokens)
        });
        (requests, u64::try_from(tokens).unwrap_or_default())
    }

    fn quantile(&self, share: f64) -> Option<Duration> {
        let durations = self
            .durations
            .as_ref()
            .filter(|durations| !durations.is_empty())?;
        Some(Duration::from_millis(durations.value_at_quantile(share)))
    }
}

impl CallInFlight<'_> {
    /// Ends the call with an answer that used so many tokens.
    pub(super) fn answered(self, used: u64) {
        let now = Instant::now();
        let took = u64::try_from((now - self.began).as_millis()).unwrap_or(u64::MAX);
        let mut counts = self.traffic.counts();
        counts.answered += 1;
        counts.second(self.traffic.second(now)).tokens += signed(used) - signed(self.reserved);
        if let Some(durations) = &mut counts.durations {
            durations.saturating_record(took);
        }
    }
}

impl Drop for CallInFlight<'_> {
    fn drop(&mut self) {
        self.traffic.counts().in_flight.remove(&self.number);
    }
}

impl Route {
    /// Returns the calls of this process on the route, for the display.
    pub fn traffic(&self) -> RouteTraffic {
        let limits = self.limits.in_force();
        let now = Instant::now();
        let counts = self.traffic.counts();
        let (requests, tokens) = counts.last_minute(self.traffic.second(now));
        let slowest = counts.in_flight.values().min_by_key(|(began, _)| *began);
        RouteTraffic {
            route: self.settings.name.clone(),
            in_flight: counts.in_flight.len(),
            requests,
            rpm: limits.rpm,
            tokens,
            tpm: limits.tpm,
            answered: counts.answered,
            p50: counts.quantile(0.5),
            p95: counts.quantile(0.95),
            slowest: slowest.map(|(began, queue)| CallAge {
                queue: *queue,
                age: now.saturating_duration_since(*began),
            }),
            state: "closed",
            wait: None,
        }
    }
}

fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_minute_holds_the_calls_of_sixty_seconds() {
        let traffic = Traffic::default();
        let minute = |traffic: &Traffic| {
            let counts = traffic.counts();
            counts.last_minute(traffic.second(Instant::now()))
        };
        drop(traffic.begin(None, 100));
        tokio::time::advance(Duration::from_secs(59)).await;
        drop(traffic.begin(None, 10));
        assert_eq!(minute(&traffic), (2, 110));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(minute(&traffic), (1, 10), "the first call is a minute old");
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(minute(&traffic), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_corrects_the_tokens_and_its_duration_counts() {
        let traffic = Traffic::default();
        let (slow, quick) = (traffic.begin(Some(7), 100), traffic.begin(Some(8), 50));
        assert_eq!(traffic.counts().in_flight.len(), 2);
        tokio::time::advance(Duration::from_secs(1)).await;
        quick.answered(20);
        tokio::time::advance(Duration::from_secs(9)).await;
        slow.answered(130);
        let counts = traffic.counts();
        assert_eq!(counts.last_minute(traffic.second(Instant::now())), (2, 150));
        assert_eq!((counts.answered, counts.in_flight.len()), (2, 0));
        // Two digits are exact.
        let seconds = |share| counts.quantile(share).map(|time| (time.as_millis() + 50) / 1000);
        assert_eq!((seconds(0.5), seconds(0.95)), (Some(1), Some(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_has_no_duration() {
        let traffic = Traffic::default();
        drop(traffic.begin(None, 1));
        assert_eq!(traffic.counts().quantile(0.5), None);
    }
}
