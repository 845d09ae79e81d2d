//! Failed requests that are retried.

use std::collections::BTreeSet;

use super::form::Form;
use super::harness::Scenario;
use super::input;
use super::oracle;

const RUN: [&str; 4] = ["run", "in.jsonl", "-o", "out.jsonl"];

/// A mock that gives many unreadable answers.
const FAULTY: [&str; 6] = ["--latency", "8ms", "--tail", "0.05", "--faults", "garbage=0.4"];

/// A run in which many requests failed. Returns the scenario and the number of failed requests.
fn failed(name: &'static str, form: Form) -> (Scenario, usize) {
    let mut scenario = Scenario::with(name, form, &FAULTY);
    scenario.input(&input::batch(form.requests));
    scenario.grind(&RUN, form.requests / 2, form.kills.div_ceil(2));
    let ended = scenario.nova3(&RUN);
    assert_eq!(ended.code, Some(100), "oracle `exit`: {}", ended.stderr);
    scenario.settle(&["out.jsonl"], false);
    let bytes = scenario.bytes("out.jsonl");
    let ids: BTreeSet<String> = oracle::whole_lines(&bytes)
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    assert_eq!(
        ids.len(),
        form.requests,
        "oracle `once`: a failed request has its line"
    );
    let good = oracle::answers(&bytes, &scenario.account.digests).len();
    let again = scenario.nova3(&RUN);
    assert_eq!(again.code, Some(100), "oracle `exit`: {}", again.stderr);
    assert!(
        scenario.settle(&["out.jsonl"], false).is_empty(),
        "oracle `final`: a failure ran again by itself"
    );
    (scenario, form.requests - good)
}

#[test]
fn failures_put_back_run_again_and_nothing_else_does() {
    let form = Form::get().smaller();
    let (mut scenario, count) = failed("retry", form);
    let retried = scenario.nova3(&["retry", "--store", "nova3.db"]);
    assert_eq!(retried.code, Some(0), "oracle `exit`: {}", retried.stderr);
    scenario.heal_mock();
    let before = scenario.account.calls;
    let lost = scenario.account.lost;
    scenario.grind(&RUN, form.requests, form.kills);
    scenario.finish(&RUN, "out.jsonl", &input::batch(form.requests), false);
    let calls = scenario.account.calls - before;
    assert!(
        calls <= count + scenario.account.lost - lost,
        "oracle `total`: {calls} calls for {count} failures"
    );
    println!(
        "crash-test: retry: {count} failures of {}, {calls} calls, {} kills",
        form.requests, scenario.account.kills
    );
}

#[test]
fn failures_are_put_back_by_the_run_itself() {
    let form = Form::get().smaller();
    let (mut scenario, count) = failed("--retry-failed", form);
    scenario.heal_mock();
    let before = scenario.account.calls;
    let lost = scenario.account.lost;
    let args = [&RUN[..], &["--retry-failed"]].concat();
    scenario.grind(&args, form.requests, form.kills);
    scenario.finish(&args, "out.jsonl", &input::batch(form.requests), false);
    let calls = scenario.account.calls - before;
    assert!(
        calls <= count + scenario.account.lost - lost,
        "oracle `total`: {calls} calls for {count} failures"
    );
    println!(
        "crash-test: --retry-failed: {count} failures, {calls} calls, {} kills",
        scenario.account.kills
    );
}
