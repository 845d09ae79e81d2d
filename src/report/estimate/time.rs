//! The time that calls take, and the limit that decides it.

use std::collections::BTreeMap;

use super::sums::{CallSums, Estimate, number};
use crate::domain::bucket::Limits;
use crate::domain::usage::Cost;

/// The limit that decides how long a run takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindingLimit {
    /// The input has no work left.
    Nothing,
    /// The requests a minute of a route.
    Requests {
        /// The route.
        route: String,
        /// Its limit.
        rpm: u32,
    },
    /// The tokens a minute of a route.
    Tokens {
        /// The route.
        route: String,
        /// Its limit.
        tpm: u64,
    },
    /// The calls in flight at once.
    Concurrency(usize),
    /// The tasks of one request, which wait for each other.
    LongestRequest,
    /// The cost cap, which stops the run.
    CostCap,
}

/// The expected time of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeEstimate {
    /// Seconds from the first call to the last answer.
    pub seconds: f64,
    /// The limit that decides it.
    pub binds: BindingLimit,
}

impl TimeEstimate {
    /// Estimates the time of calls. `limits` are those of a route, `cap` is the rest of the cost cap.
    pub fn of(
        estimate: &Estimate,
        limits: &dyn Fn(&str) -> Limits,
        concurrency: usize,
        cap: Option<Cost>,
    ) -> Self {
        let total = estimate.total();
        let nothing = Self {
            seconds: 0.0,
            binds: BindingLimit::Nothing,
        };
        if total.calls <= 0.0 {
            return nothing;
        }
        let slots = number(concurrency.max(1) as u64);
        let mut slowest = Self {
            seconds: estimate.serial_ms / 1000.0,
            binds: BindingLimit::LongestRequest,
        };
        let mut bound = |seconds: f64, binds: BindingLimit| {
            if seconds > slowest.seconds {
                slowest = Self { seconds, binds };
            }
        };
        bound(
            total.busy_ms / 1000.0 / slots,
            BindingLimit::Concurrency(concurrency),
        );
        for (route, sums) in by_route(estimate) {
            let limits = limits(&route);
            if let Some(rpm) = limits.rpm {
                let seconds = sums.calls / f64::from(rpm.max(1)) * 60.0;
                let route = route.clone();
                bound(seconds, BindingLimit::Requests { route, rpm });
            }
            if let Some(tpm) = limits.tpm {
                let seconds = (sums.input + sums.output) / number(tpm.max(1)) * 60.0;
                bound(seconds, BindingLimit::Tokens { route, tpm });
            }
        }
        match cap.map(|cap| number(cap.0)) {
            // The cap stops the run early.
            Some(cap) if cap < total.cost => Self {
                seconds: slowest.seconds * cap / total.cost,
                binds: BindingLimit::CostCap,
            },
            _ => slowest,
        }
    }
}

fn by_route(estimate: &Estimate) -> BTreeMap<String, CallSums> {
    let mut routes: BTreeMap<String, Estimate> = BTreeMap::new();
    for (key, sums) in &estimate.rows {
        routes.entry(key.route.clone()).or_default().put("", "", sums);
    }
    routes
        .into_iter()
        .map(|(route, sums)| (route, sums.total()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate() -> Estimate {
        let sums = CallSums {
            calls: 100.0,
            input: 50_000.0,
            output: 10_000.0,
            cost: 1e12,
            busy_ms: 400_000.0,
            ..CallSums::default()
        };
        let mut estimate = Estimate {
            serial_ms: 8000.0,
            ..Estimate::default()
        };
        estimate.put("insight", "primary", &sums);
        estimate
    }

    #[test]
    fn the_slowest_limit_binds() {
        let bound = |rpm, tpm, concurrency| {
            let time = TimeEstimate::of(&estimate(), &|_| Limits { rpm, tpm }, concurrency, None);
            (time.seconds, time.binds)
        };
        let route = || "primary".to_owned();
        assert_eq!(bound(None, None, 20), (20.0, BindingLimit::Concurrency(20)));
        assert_eq!(bound(None, None, 200), (8.0, BindingLimit::LongestRequest));
        assert_eq!(
            bound(Some(60), None, 20),
            (
                100.0,
                BindingLimit::Requests {
                    route: route(),
                    rpm: 60
                }
            )
        );
        assert_eq!(
            bound(Some(60), Some(1000), 20),
            (
                3600.0,
                BindingLimit::Tokens {
                    route: route(),
                    tpm: 1000
                }
            )
        );
    }

    #[test]
    fn a_cost_cap_below_the_expectation_stops_the_run() {
        let time = |cap| TimeEstimate::of(&estimate(), &|_| Limits::default(), 20, Some(Cost(cap)));
        let stopped = TimeEstimate {
            seconds: 5.0,
            binds: BindingLimit::CostCap,
        };
        assert_eq!(time(250_000_000_000), stopped);
        assert_eq!(time(2_000_000_000_000).binds, BindingLimit::Concurrency(20));
        let nothing = TimeEstimate::of(&Estimate::default(), &|_| Limits::default(), 20, None);
        assert_eq!(nothing.binds, BindingLimit::Nothing);
    }
}
