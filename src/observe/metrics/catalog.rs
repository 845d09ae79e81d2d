//! The metrics with their labels: the table that `docs/metrics.md` shows.

use super::label_values::LabelDomain;

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// It only grows while the process lives.
    Counter,
    /// It may fall.
    Gauge,
    /// A histogram with these upper bounds.
    Histogram(&'static [f64]),
}

/// A metric.
#[derive(Debug, PartialEq)]
pub struct MetricSpec {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// The names of its labels, each with the values that it may have.
    pub(super) labels: &'static [(&'static str, LabelDomain)],
    /// The unit of its value.
    pub unit: &'static str,
    /// The things that it counts or shows.
    pub meaning: &'static str,
}

impl MetricKind {
    /// The name in the exposition format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

impl MetricSpec {
    /// The names of its labels.
    pub fn label_names(&self) -> impl Iterator<Item = &'static str> {
        self.labels.iter().map(|(name, _)| *name)
    }
}

/// The upper bounds of durations, in seconds.
const SECONDS: &[f64] = &[
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0,
];

const AGENT: (&str, LabelDomain) = ("agent", LabelDomain::Agent);
const MODEL: (&str, LabelDomain) = ("model", LabelDomain::Model);
const ROUTE: (&str, LabelDomain) = ("route", LabelDomain::Route);
const PROVIDER: (&str, LabelDomain) = ("provider", LabelDomain::Provider);

/// Declares each metric as a constant, and the list of all of them.
macro_rules! catalog {
    ($($id:ident = $kind:expr, $name:literal, [$($label:expr),*], $unit:literal, $meaning:literal;)+) => {
        $(pub(super) const $id: &MetricSpec = &MetricSpec {
            name: $name,
            kind: $kind,
            labels: &[$($label),*],
            unit: $unit,
            meaning: $meaning,
        };)+
        /// Every metric, in the order of the documentation.
        pub const METRICS: &[&MetricSpec] = &[$($id),+];
    };
}

use LabelDomain::Word;
use MetricKind::{Counter, Gauge, Histogram};

catalog! {
    REQUESTS = Counter, "nova3_requests_total", [("status", Word), AGENT, MODEL], "tasks",
        "Pieces of agent work that this process settled: plans (agent `supervisor`), tasks, parts and joins, not searches. `status` is completed, failed or skipped. `model` is the model that the last call asked for, or `none` without a call.";
    DURATION = Histogram(SECONDS), "nova3_request_duration_seconds", [AGENT, MODEL], "seconds",
        "Time from the begin of a piece of agent work to its settlement, retries and waits included.";
    FINISHED = Counter, "nova3_requests_finished_total", [("status", Word)], "requests",
        "Whole requests that this process finished or paused.";
    QUEUES = Gauge, "nova3_active_queues", [], "requests",
        "Requests that this process works on.";
    MEMORY = Gauge, "nova3_memory_usage_bytes", [], "bytes",
        "Resident memory of this process.";
    MEMORY_LIMIT = Gauge, "nova3_memory_limit_bytes", [], "bytes",
        "The memory limit that nova3 stays below: `--memory-limit`, or that of the container or machine.";
    CALLS = Counter, "nova3_llm_calls_total", [ROUTE, MODEL, ("outcome", Word)], "calls",
        "Calls of models that ended. `outcome` is answered, abandoned, or the error class.";
    CALL_DURATION = Histogram(SECONDS), "nova3_llm_call_duration_seconds", [ROUTE], "seconds",
        "Time of a call that was answered.";
    FIRST_TOKEN = Histogram(SECONDS), "nova3_llm_first_token_seconds", [ROUTE], "seconds",
        "Time from the begin of a call to the first token of its streamed answer.";
    TOKENS = Counter, "nova3_llm_tokens_total", [("direction", Word), MODEL], "tokens",
        "Tokens of calls. `direction` is input, output, cached_input or cache_write; the last two are parts of input.";
    COST = Counter, "nova3_cost_usd_total", [ROUTE, MODEL], "US dollars",
        "Cost of model calls whose price is known.";
    RETRIES = Counter, "nova3_llm_retries_total", [("reason", Word)], "calls",
        "Calls that were repeated on the same route. `reason` is the error class of the failed call.";
    FALLBACKS = Counter, "nova3_fallback_total", [("from", LabelDomain::Route), ("to", LabelDomain::Route)], "tasks",
        "Tasks that went on with a later route of their chain.";
    IN_FLIGHT = Gauge, "nova3_llm_calls_in_flight", [ROUTE], "calls",
        "Calls in flight.";
    RPM = Gauge, "nova3_route_requests_per_minute", [ROUTE], "calls a minute",
        "Calls that this process sent in the last minute.";
    RPM_LIMIT = Gauge, "nova3_route_requests_per_minute_limit", [ROUTE], "calls a minute",
        "The limit of calls a minute of all processes together; absent without a limit.";
    TPM = Gauge, "nova3_route_tokens_per_minute", [ROUTE], "tokens a minute",
        "Tokens of the calls that this process sent in the last minute.";
    TPM_LIMIT = Gauge, "nova3_route_tokens_per_minute_limit", [ROUTE], "tokens a minute",
        "The limit of tokens a minute of all processes together; absent without a limit.";
    CIRCUIT = Gauge, "nova3_circuit_state", [("target", LabelDomain::Route)], "state",
        "The breaker of a route: 0 closed, 1 half-open, 2 open. A latched route is 2.";
    PAUSED = Gauge, "nova3_route_paused", [ROUTE], "0 or 1",
        "Whether the provider asked for a pause of the route (429).";
    LATCHED = Gauge, "nova3_route_latched", [ROUTE], "0 or 1",
        "Whether the route is dead for this run: its key, balance or model was refused.";
    SEARCHES = Counter, "nova3_search_requests_total", [PROVIDER, ("outcome", Word)], "queries",
        "Links of a search chain that were asked for a query. `outcome` is answered, or the kind of the failure.";
    RUN_REQUESTS = Gauge, "nova3_run_requests", [("state", Word)], "requests",
        "Requests of the present run's input as this process knows them. `state` is good, failed or unfinished. A worker knows only the requests that it finished.";
    RUN_COST = Gauge, "nova3_run_cost_usd", [], "US dollars",
        "Cost of the present run so far, of all invocations and processes.";
    RUN_COST_LIMIT = Gauge, "nova3_run_cost_limit_usd", [], "US dollars",
        "The cost cap of the present run; absent or infinite without a cap.";
    RUN_ACTIVE = Gauge, "nova3_run_active", [], "0 or 1",
        "1 while the command works, 0 after its end.";
    RUN_START = Gauge, "nova3_run_start_timestamp_seconds", [], "Unix seconds",
        "When the command began.";
    RUN_PROGRESS = Gauge, "nova3_run_last_progress_timestamp_seconds", [], "Unix seconds",
        "When this process last settled a task; before the first one, when the command began.";
    RUN_END = Gauge, "nova3_run_end_timestamp_seconds", [], "Unix seconds",
        "When the command ended; absent while it works.";
    RUN_DURATION = Gauge, "nova3_run_duration_seconds", [], "seconds",
        "How long the command has worked.";
    RUN_EXIT_CODE = Gauge, "nova3_run_exit_code", [], "exit code",
        "The exit code of the command; absent while it works.";
    RUN_SUCCESS = Gauge, "nova3_run_last_success_timestamp_seconds", [], "Unix seconds",
        "When a command with this metrics file last ended with exit code 0. A failed command keeps the time of the file before.";
    CLAIMABLE = Gauge, "nova3_claimable_tasks", [], "tasks",
        "Tasks of the store that a worker can claim now, over all runs. At most 10000 requests are counted. The value is read every 15 seconds.";
    CLAIMABLE_READ = Gauge, "nova3_claimable_tasks_read_timestamp_seconds", [], "Unix seconds",
        "When the store last answered with the number of claimable tasks.";
    EVENTS_DROPPED = Counter, "nova3_events_dropped_total", [("sink", Word)], "events",
        "Events that a display or log was too slow to receive.";
    TRACES_DROPPED = Counter, "nova3_trace_dropped_total", [], "traces",
        "Traces of requests that were not delivered.";
    BUILD = Gauge, "nova3_build_info", [("version", Word)], "1",
        "The version of nova3.";
}
