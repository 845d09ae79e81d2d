//! The alert rules and the dashboard: they use metrics and labels that a real run has.

use std::collections::BTreeSet;
use std::path::Path;

use nova3::observe::METRICS;
use serde_json::Value;

use super::expressions::{Labels, annotated, faults, metrics, resulting};
use crate::cli::metrics::{eventful_run, scraped_run};
use crate::support::exposition::Exposition;

pub(super) fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The rules of `rules.yml`.
fn rules() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read("deploy/prometheus/rules.yml")).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect()
}

/// The expressions of the dashboard, each with the title of its panel.
pub(super) fn panels() -> Vec<(String, String)> {
    let file: Value = serde_json::from_str(&read("deploy/grafana/nova3.json")).unwrap();
    let panels = file["panels"].as_array().unwrap().iter();
    panels
        .flat_map(|panel| {
            let title = panel["title"].as_str().unwrap();
            let targets = panel["targets"].as_array().unwrap().iter();
            targets.map(move |target| (title.to_owned(), target["expr"].as_str().unwrap().to_owned()))
        })
        .collect()
}

/// The labels of each metric that real runs have shown.
fn known() -> Labels {
    let mut known = Exposition::read(&eventful_run()).labels();
    for (name, labels) in scraped_run().labels() {
        known.entry(name).or_default().extend(labels);
    }
    known
}

#[test]
fn rules_and_dashboard_use_metrics_that_a_real_run_has() {
    let known = known();
    let mut found = Vec::new();
    let (rules, panels) = (rules(), panels());
    assert!(
        rules.len() > 10 && panels.len() > 20,
        "{} {}",
        rules.len(),
        panels.len()
    );
    for rule in &rules {
        let (name, expression) = (rule["alert"].as_str().unwrap(), rule["expr"].as_str().unwrap());
        found.extend(
            faults(expression, &known)
                .into_iter()
                .map(|fault| format!("{name}: {fault}")),
        );
        let labels = resulting(expression, &known);
        let texts = rule["annotations"].as_object().unwrap().values();
        for label in texts.filter_map(Value::as_str).flat_map(annotated) {
            if !labels.contains(label) {
                found.push(format!("{name}: its result has no label `{label}`"));
            }
        }
    }
    for (title, expression) in &panels {
        found.extend(
            faults(expression, &known)
                .into_iter()
                .map(|fault| format!("{title}: {fault}")),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Every metric is on the dashboard or in an alert, except for those that only describe a command.
#[test]
fn every_metric_is_shown_or_watched() {
    let expressions: Vec<String> = panels()
        .into_iter()
        .map(|(_, expression)| expression)
        .chain(
            rules()
                .iter()
                .map(|rule| rule["expr"].as_str().unwrap().to_owned()),
        )
        .collect();
    let used: BTreeSet<&str> = expressions
        .iter()
        .flat_map(|expression| metrics(expression).map(|(_, name)| name.trim_end_matches("_bucket")))
        .collect();
    let of_command = [
        "nova3_run_start_timestamp_seconds",
        "nova3_run_end_timestamp_seconds",
        "nova3_run_duration_seconds",
    ];
    let unused: Vec<&str> = METRICS
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !used.contains(name) && !of_command.contains(name))
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}
