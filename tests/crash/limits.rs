//! Per-minute limits of requests and tokens, counted by the mock. These tests take minutes and run in the long form
//! only.

use super::evidence;
use super::form::Form;
use super::harness::{Moment, Scenario};
use super::input::{self, Line, Shape};
use crate::support::evidence::Call;

const RUN: [&str; 4] = ["run", "in.jsonl", "-o", "out.jsonl"];

const MINUTE: i64 = 60_000;

/// Returns the most that any window of a minute holds, by the starts of calls.
fn fullest(calls: &[Call], weight: impl Fn(&Call) -> u64) -> u64 {
    let mut sorted: Vec<&Call> = calls.iter().collect();
    sorted.sort_by_key(|call| call.began_ms);
    let (mut from, mut sum, mut most) = (0, 0, 0);
    for call in &sorted {
        sum += weight(call);
        while sorted[from].began_ms <= call.began_ms - MINUTE {
            sum -= weight(sorted[from]);
            from += 1;
        }
        most = most.max(sum);
    }
    most
}

/// Runs under the limit. With `kill`, the process is killed and restarted in the middle of a minute.
fn limited(name: &'static str, flags: &[&str], lines: &[Line], kill: bool) -> Vec<Call> {
    let form = Form::get();
    let mut scenario = Scenario::with(
        name,
        form,
        &["--latency", "80ms", "--tail", "0.05", "--tokens", "60"],
    );
    scenario.input(lines);
    let args = [&RUN[..], flags].concat();
    if kill {
        let first = scenario.rng.usize(lines.len() / 3..lines.len() / 2);
        assert!(
            scenario.life(&args, Moment::Calls(first), lines.len()),
            "killed in the middle of a minute"
        );
        let second = first + scenario.rng.usize(20..150);
        assert!(
            scenario.life(&args, Moment::Calls(second), lines.len()),
            "killed in the middle of a minute"
        );
    }
    scenario.finish(&args, "out.jsonl", lines, false);
    scenario.mock.calls()
}

fn requests(name: &'static str, kill: bool) {
    let calls = limited(name, &["--rpm", "600"], &input::batch(1300), kill);
    let most = fullest(&calls, |_| 1);
    println!(
        "crash-test: {name}: {} calls, {most} in the fullest minute (570 to 600)",
        calls.len()
    );
    assert!(most <= 600, "oracle `limit`: {most} calls in a minute");
    assert!(
        most >= 570,
        "oracle `limit`: only {most} calls in the best minute"
    );
}

/// The tokens per minute. An answer of the mock has about 60 tokens, a question about 25.
const TOKENS: u64 = 40_000;

fn tokens(name: &'static str, kill: bool) {
    let line = |id| Line {
        id,
        version: 1,
        form: Shape::Limited(64),
    };
    let lines: Vec<Line> = (0..1000).map(line).collect();
    let calls = limited(name, &["--tpm", "40000"], &lines, kill);
    let most = fullest(&calls, evidence::tokens);
    println!(
        "crash-test: {name}: {} calls, {most} tokens in the fullest minute ({} to {TOKENS})",
        calls.len(),
        TOKENS * 95 / 100
    );
    assert!(most <= TOKENS, "oracle `limit`: {most} tokens in a minute");
    assert!(
        most >= TOKENS * 95 / 100,
        "oracle `limit`: only {most} tokens in the best minute"
    );
}

#[test]
#[ignore = "takes minutes; the long form of scripts/crash-test runs it"]
fn requests_a_minute() {
    requests("--rpm", false);
}

#[test]
#[ignore = "takes minutes; the long form of scripts/crash-test runs it"]
fn requests_a_minute_across_kills() {
    requests("--rpm, killed", true);
}

#[test]
#[ignore = "takes minutes; the long form of scripts/crash-test runs it"]
fn tokens_a_minute() {
    tokens("--tpm", false);
}

#[test]
#[ignore = "takes minutes; the long form of scripts/crash-test runs it"]
fn tokens_a_minute_across_kills() {
    tokens("--tpm, killed", true);
}
