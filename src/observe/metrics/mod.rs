//! The metrics of a process, for Prometheus.
//!
//! ```text
//! engine, llm ── Event ──▶ EventBus ──▶ RunMetrics::count (in place: lookups and additions)
//!                                            ▲ render
//!                                            ├── MetricsEndpoint: own thread, `GET /metrics`
//!                                            └── metrics file: own thread, every 15 seconds
//! ```
//!
//! Counters are exact, because no queue is between them and the publisher. A reader only renders. Label values are from
//! bounded sets: names of the settings, words of the program, and `other`.

mod catalog;
mod counting;
mod endpoint;
mod label_values;
mod series;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use metrics_exporter_prometheus::PrometheusHandle;

use self::catalog as id;
use self::series::SeriesTable;
use crate::clock;
use crate::domain::failure::Class;
use crate::domain::memory;
use crate::domain::state::Status;
use crate::domain::usage::Cost;

pub use catalog::{METRICS, MetricKind, MetricSpec};
pub use endpoint::MetricsEndpoint;
pub use label_values::LabelNames;

/// The first line of a metrics file. Prometheus reads it as a comment.
pub const METRICS_BEGIN: &str = "# nova3 metrics\n";

/// The traces that were not delivered. Clones share the number.
#[derive(Debug, Clone, Default)]
pub struct DroppedTraces(Arc<AtomicU64>);

impl DroppedTraces {
    /// Counts traces that were not delivered.
    pub fn add(&self, traces: u64) {
        self.0.fetch_add(traces, Ordering::Relaxed);
    }

    /// The number of traces that were not delivered so far.
    pub fn traces(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The metrics of this process. It counts the events of a bus, and renders them as text.
pub struct RunMetrics {
    series: SeriesTable,
    handle: PrometheusHandle,
    routes: Vec<String>,
    dropped_traces: DroppedTraces,
    begun: Instant,
    /// Whether a run of this process had a cost cap.
    has_cap: AtomicBool,
    /// The run that this process works on.
    run: Mutex<Option<String>>,
}

impl fmt::Debug for RunMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunMetrics").finish_non_exhaustive()
    }
}

impl RunMetrics {
    /// Metrics of a command that begins now. `own` are labels that every series has.
    pub fn new(names: &LabelNames, own: &[(String, String)], dropped_traces: DroppedTraces) -> Self {
        let series = SeriesTable::new(names, own);
        let metrics = Self {
            handle: series.handle(),
            series,
            routes: names.routes.clone(),
            dropped_traces,
            begun: Instant::now(),
            has_cap: AtomicBool::new(false),
            run: Mutex::default(),
        };
        metrics.begin();
        metrics
    }

    /// The counter of traces that are not delivered, which the exporter of traces increases.
    pub fn dropped_traces(&self) -> DroppedTraces {
        self.dropped_traces.clone()
    }

    /// Makes the series visible whose labels are known, so that their first increase is seen as one.
    fn begin(&self) {
        let series = &self.series;
        let now = now();
        series.set(id::BUILD, &[env!("CARGO_PKG_VERSION")], 1.0);
        series.set(id::RUN_ACTIVE, &[], 1.0);
        series.set(id::RUN_START, &[], now);
        series.set(id::RUN_PROGRESS, &[], now);
        series.set(id::QUEUES, &[], 0.0);
        for status in Status::ALL {
            series.add(id::FINISHED, &[status.as_str()], 0);
        }
        for class in Class::ALL {
            series.add(id::RETRIES, &[class.as_str()], 0);
        }
        for route in &self.routes {
            for metric in [
                id::IN_FLIGHT,
                id::RPM,
                id::TPM,
                id::CIRCUIT,
                id::PAUSED,
                id::LATCHED,
            ] {
                series.set(metric, &[route], 0.0);
            }
        }
    }

    /// The run that this process works on, if it works on one.
    pub fn run(&self) -> Option<String> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the number of tasks that the store just gave as claimable.
    pub fn set_claimable(&self, tasks: u64) {
        self.series.set(id::CLAIMABLE, &[], float(tasks));
        self.series.set(id::CLAIMABLE_READ, &[], now());
    }

    /// Sets the cost of the present run, and its cap.
    pub fn set_run_cost(&self, cost: Cost, cap: Option<Cost>) {
        self.series.set(id::RUN_COST, &[], cost.usd());
        let had_cap = self.has_cap.fetch_or(cap.is_some(), Ordering::Relaxed);
        if cap.is_some() || had_cap {
            // A worker may go from a run with a cap to one without.
            let cap = cap.map_or(f64::INFINITY, Cost::usd);
            self.series.set(id::RUN_COST_LIMIT, &[], cap);
        }
    }

    /// Sets the time of the last success, in Unix seconds, as an earlier metrics file has it.
    pub fn keep_last_success(&self, seconds: f64) {
        self.series.set(id::RUN_SUCCESS, &[], seconds);
    }

    /// Records the end of the command. Exit code 0 is a success.
    pub fn end(&self, exit_code: u8) {
        let series = &self.series;
        series.set(id::RUN_ACTIVE, &[], 0.0);
        series.set(id::RUN_END, &[], now());
        series.set(id::RUN_DURATION, &[], self.begun.elapsed().as_secs_f64());
        series.set(id::RUN_EXIT_CODE, &[], f64::from(exit_code));
        if exit_code == 0 {
            series.set(id::RUN_SUCCESS, &[], now());
        }
    }

    /// The text of all series, in the exposition format 0.0.4. It begins with [`METRICS_BEGIN`] and ends with a line end.
    pub fn render(&self) -> String {
        let used = std::fs::read_to_string("/proc/self/status").ok();
        if let Some(used) = used.and_then(|status| memory::resident(&status)) {
            self.series.set(id::MEMORY, &[], float(used));
        }
        self.series
            .raise(id::TRACES_DROPPED, self.dropped_traces.traces());
        let [gauge, counter] = ["gauge", "counter"].map(|kind| format!("# TYPE {} {kind}\n", id::COST.name));
        let text = self.handle.render().replacen(&gauge, &counter, 1);
        format!("{METRICS_BEGIN}{text}")
    }

    /// Moves the samples of histograms into their buckets, so that they need no memory while nothing is rendered.
    pub fn tidy(&self) {
        self.handle.run_upkeep();
    }
}

/// The time of the last success that the text of a metrics file has.
pub fn last_success(text: &str) -> Option<f64> {
    let value = |line: &str| {
        let rest = line.strip_prefix(id::RUN_SUCCESS.name)?;
        // The labels of the line may contain spaces.
        rest.starts_with([' ', '{'])
            .then(|| rest.rsplit(' ').next()?.parse().ok())?
    };
    text.lines()
        .find_map(value)
        .filter(|seconds: &f64| seconds.is_finite())
}

/// The present moment in Unix seconds.
fn now() -> f64 {
    std::time::Duration::from_millis(clock::now_ms().unsigned_abs()).as_secs_f64()
}

/// A whole number as the value of a gauge.
#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; 2^53 bytes or tasks are out of reach"
)]
const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_success_is_read_as_it_is_written() {
        let own = [("job_name".to_owned(), "a \"b\" c".to_owned())];
        for own in [&[][..], &own] {
            let metrics = RunMetrics::new(&LabelNames::default(), own, DroppedTraces::default());
            assert_eq!(last_success(&metrics.render()), None);
            metrics.keep_last_success(1_790_000_000.25);
            metrics.end(1);
            assert_eq!(last_success(&metrics.render()), Some(1_790_000_000.25));
            metrics.end(0);
            assert!(last_success(&metrics.render()) > Some(1_790_000_000.25));
        }
        assert_eq!(last_success("nova3_run_last_success_timestamp_seconds x\n"), None);
    }

    #[test]
    fn a_run_without_a_cap_has_no_limit_of_a_run_before() {
        let metrics = RunMetrics::new(&LabelNames::default(), &[], DroppedTraces::default());
        let limit = || {
            let text = metrics.render();
            let line = text
                .lines()
                .find(|line| line.starts_with(id::RUN_COST_LIMIT.name));
            line.map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned())
        };
        metrics.set_run_cost(Cost::ZERO, None);
        assert_eq!(limit(), None);
        metrics.set_run_cost(Cost::ZERO, Some(Cost::ZERO));
        assert_eq!(limit().as_deref(), Some("0"));
        metrics.set_run_cost(Cost::ZERO, None);
        assert_eq!(limit().as_deref(), Some("inf"));
    }

    #[test]
    fn spans_that_were_not_exported_are_counted_where_both_sides_see_them() {
        let dropped = DroppedTraces::default();
        let metrics = RunMetrics::new(&LabelNames::default(), &[], dropped.clone());
        dropped.add(3);
        assert!(metrics.render().contains("\nnova3_trace_dropped_total 3\n"));
    }
}
