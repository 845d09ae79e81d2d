//! Failed requests, put back.

use std::collections::BTreeSet;

use super::bench::Bench;
use super::form::Form;
use super::input;
use super::oracle;

const RUN: [&str; 4] = ["run", "in.jsonl", "-o", "out.jsonl"];

/// A mock of which a good part of the calls fails.
const FAULTY: [&str; 6] = ["--latency", "8ms", "--tail", "0.05", "--faults", "500=0.4"];

/// A run in which many requests failed; answers the bench and how many did.
fn failed(name: &'static str, form: Form) -> (Bench, usize) {
    let mut bench = Bench::with(name, form, &FAULTY);
    bench.input(&input::batch(form.requests));
    bench.grind(&RUN, form.requests / 2, form.kills.div_ceil(2));
    let ended = bench.nova3(&RUN);
    assert_eq!(ended.code, Some(100), "oracle `exit`: {}", ended.stderr);
    bench.settle(&["out.jsonl"], false);
    let bytes = bench.bytes("out.jsonl");
    let ids: BTreeSet<String> = oracle::whole_lines(&bytes)
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    assert_eq!(
        ids.len(),
        form.requests,
        "oracle `once`: a failed request has its line"
    );
    let good = oracle::answers(&bytes, &bench.account.digests).len();
    let again = bench.nova3(&RUN);
    assert_eq!(again.code, Some(100), "oracle `exit`: {}", again.stderr);
    assert!(
        bench.settle(&["out.jsonl"], false).is_empty(),
        "oracle `final`: a failure ran again by itself"
    );
    (bench, form.requests - good)
}

#[test]
fn failures_put_back_run_again_and_nothing_else_does() {
    let form = Form::get().smaller();
    let (mut bench, count) = failed("retry", form);
    let retried = bench.nova3(&["retry", "--store", "nova3.db"]);
    assert_eq!(retried.code, Some(0), "oracle `exit`: {}", retried.stderr);
    bench.heal_mock();
    let before = bench.account.calls;
    let lost = bench.account.lost;
    bench.grind(&RUN, form.requests, form.kills);
    bench.finish(&RUN, "out.jsonl", &input::batch(form.requests), false);
    let calls = bench.account.calls - before;
    assert!(
        calls <= count + bench.account.lost - lost,
        "oracle `total`: {calls} calls for {count} failures"
    );
    println!(
        "crash-test: retry: {count} failures of {}, {calls} calls, {} kills",
        form.requests, bench.account.kills
    );
}

#[test]
fn failures_are_put_back_by_the_run_itself() {
    let form = Form::get().smaller();
    let (mut bench, count) = failed("--retry-failed", form);
    bench.heal_mock();
    let before = bench.account.calls;
    let lost = bench.account.lost;
    let args = [&RUN[..], &["--retry-failed"]].concat();
    bench.grind(&args, form.requests, form.kills);
    bench.finish(&args, "out.jsonl", &input::batch(form.requests), false);
    let calls = bench.account.calls - before;
    assert!(
        calls <= count + bench.account.lost - lost,
        "oracle `total`: {calls} calls for {count} failures"
    );
    println!(
        "crash-test: --retry-failed: {count} failures, {calls} calls, {} kills",
        bench.account.kills
    );
}
