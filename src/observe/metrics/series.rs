//! The handles of series, by metric and label values.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::catalog::{METRICS, MetricKind, MetricSpec};
use super::label_values::{LabelNames, LabelValues, OTHER_ID, ValueId};

/// The most series. Later ones have `other` in every label.
const MOST_SERIES: usize = 5_000;

/// The most labels of a metric.
const MOST_LABELS: usize = 3;

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// A metric and the values of its labels.
type SeriesKey = (&'static str, [ValueId; MOST_LABELS]);

/// All series of this process. An update is a few map lookups and an atomic addition.
pub(super) struct SeriesTable {
    recorder: PrometheusRecorder,
    values: LabelValues,
    handles: RwLock<HashMap<SeriesKey, SeriesHandle>>,
}

#[derive(Clone)]
enum SeriesHandle {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl SeriesTable {
    /// A table without a series. `own` are labels that every series has.
    pub(super) fn new(names: &LabelNames, own: &[(String, String)]) -> Self {
        let mut builder = PrometheusBuilder::new();
        for spec in METRICS {
            if let MetricKind::Histogram(bounds) = spec.kind {
                let matcher = Matcher::Full(spec.name.to_owned());
                // The only error is an empty list of bounds.
                builder = builder
                    .set_buckets_for_metric(matcher, bounds)
                    .unwrap_or_else(|_| PrometheusBuilder::new());
            }
        }
        for (name, value) in own {
            builder = builder.add_global_label(name, value);
        }
        let recorder = builder.build_recorder();
        for spec in METRICS {
            let (name, meaning) = (spec.name.into(), spec.meaning.into());
            match spec.kind {
                MetricKind::Counter => recorder.describe_counter(name, None, meaning),
                MetricKind::Gauge => recorder.describe_gauge(name, None, meaning),
                MetricKind::Histogram(_) => recorder.describe_histogram(name, None, meaning),
            }
        }
        Self {
            recorder,
            values: LabelValues::new(names),
            handles: RwLock::default(),
        }
    }

    pub(super) fn handle(&self) -> PrometheusHandle {
        self.recorder.handle()
    }

    /// Adds to a counter. Adding 0 makes its series visible.
    pub(super) fn add(&self, metric: &'static MetricSpec, labels: &[&str], number: u64) {
        if let SeriesHandle::Counter(counter) = self.series(metric, labels) {
            counter.increment(number);
        }
    }

    /// Sets a counter to a sum that was made elsewhere, unless it is larger already.
    pub(super) fn raise(&self, metric: &'static MetricSpec, sum: u64) {
        if let SeriesHandle::Counter(counter) = self.series(metric, &[]) {
            counter.absolute(sum);
        }
    }

    /// Sets a gauge.
    pub(super) fn set(&self, metric: &'static MetricSpec, labels: &[&str], value: f64) {
        if let SeriesHandle::Gauge(gauge) = self.series(metric, labels) {
            gauge.set(value);
        }
    }

    /// Adds to a sum with a fraction.
    pub(super) fn add_fraction(&self, metric: &'static MetricSpec, labels: &[&str], value: f64) {
        if let SeriesHandle::Gauge(gauge) = self.series(metric, labels) {
            gauge.increment(value);
        }
    }

    /// Adds a duration to a histogram.
    pub(super) fn record(&self, metric: &'static MetricSpec, labels: &[&str], duration: Duration) {
        if let SeriesHandle::Histogram(histogram) = self.series(metric, labels) {
            histogram.record(duration.as_secs_f64());
        }
    }

    /// The handle of a series. A new series is registered.
    fn series(&self, metric: &'static MetricSpec, labels: &[&str]) -> SeriesHandle {
        let mut ids = [OTHER_ID; MOST_LABELS];
        let domains = metric.labels.iter().map(|(_, domain)| *domain);
        for ((id, domain), label) in ids.iter_mut().zip(domains).zip(labels) {
            *id = self.values.id(domain, label);
        }
        let known = |ids| {
            let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
            let found = handles.get(&(metric.name, ids)).cloned();
            found.ok_or(handles.len() >= MOST_SERIES)
        };
        let is_full = match known(ids) {
            Ok(found) => return found,
            Err(is_full) => is_full,
        };
        if is_full {
            ids = [OTHER_ID; MOST_LABELS];
            if let Ok(found) = known(ids) {
                return found;
            }
        }
        let handle = self.registered(metric, ids);
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        handles.entry((metric.name, ids)).or_insert(handle).clone()
    }

    fn registered(&self, metric: &MetricSpec, ids: [ValueId; MOST_LABELS]) -> SeriesHandle {
        let labels = metric.labels.iter().zip(ids);
        let labels: Vec<Label> = labels
            .map(|((name, domain), id)| Label::new(*name, self.values.text(*domain, id)))
            .collect();
        let key = Key::from_parts(metric.name, labels);
        match metric.kind {
            // The recorder's counters are whole numbers. The exporter writes the type of this one.
            MetricKind::Counter if metric.name == super::catalog::COST.name => {
                SeriesHandle::Gauge(self.recorder.register_gauge(&key, &METADATA))
            }
            MetricKind::Counter => SeriesHandle::Counter(self.recorder.register_counter(&key, &METADATA)),
            MetricKind::Gauge => SeriesHandle::Gauge(self.recorder.register_gauge(&key, &METADATA)),
            MetricKind::Histogram(_) => {
                SeriesHandle::Histogram(self.recorder.register_histogram(&key, &METADATA))
            }
        }
    }
}
