//! Traces of a run or a worker, which variables of the environment switch on.

use std::sync::Arc;

use crate::config::{Config, process_env, trace_settings};
use crate::engine::Signals;
use crate::observe::{DroppedTraces, EventTap, tell};
use crate::store::Store;
use crate::trace::{RouteNames, TraceExporter};

/// Starts the exporter of traces. `None` if no destination is named, or none can be used: an observer never stops a run.
pub(super) fn start(
    config: &Config,
    store: &Arc<dyn Store>,
    dropped: &DroppedTraces,
) -> Option<Arc<TraceExporter>> {
    let settings = trace_settings(&process_env);
    for warning in &settings.warnings {
        tell(warning);
    }
    if settings.destinations.is_empty() {
        return None;
    }
    let routes = RouteNames::of(&config.routes);
    match TraceExporter::start(settings.destinations, store, &routes, dropped) {
        Ok(exporter) => Some(Arc::new(exporter)),
        Err(error) => {
            tell(&format!("traces are not sent: {error}"));
            None
        }
    }
}

/// The exporter as an observer of events.
pub(super) fn taps(traces: Option<&Arc<TraceExporter>>) -> Vec<Arc<dyn EventTap>> {
    let traces = traces.map(|traces| Arc::clone(traces) as Arc<dyn EventTap>);
    traces.into_iter().collect()
}

/// Waits until the traces are delivered, for at most ten seconds. A signal ends the wait.
pub(super) async fn close(traces: Option<&Arc<TraceExporter>>, signals: &mut Signals) {
    let Some(traces) = traces else { return };
    tokio::select! {
        () = traces.close() => {}
        _ = signals.next() => {}
    }
}
