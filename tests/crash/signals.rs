//! Signals: the first drains, the second cancels, the third ends at once. After each of them no file is damaged, no
//! line is torn, and the same command completes the rest.

use std::os::fd::AsFd;
use std::process::Stdio;

use rustix::process::Signal;

use super::form::Form;
use super::harness::{CONCURRENCY, Scenario};
use super::input;
use super::oracle;
use super::process::{Running, until};

const RUN: [&str; 4] = ["run", "in.jsonl", "-o", "out.jsonl"];

/// A latency at which no answer comes before the test ends.
const NEVER: [&str; 2] = ["--latency", "10m"];
const PATIENT: [&str; 6] = [
    "--timeout",
    "20m",
    "--first-token-timeout",
    "20m",
    "--idle-timeout",
    "20m",
];

#[test]
fn a_first_signal_drains_and_nothing_is_paid_twice() {
    let form = Form::get().smaller();
    let mut scenario = Scenario::new("signals", form);
    let lines = input::batch(form.requests);
    scenario.input(&lines);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 143)] {
        let from = scenario.mock.count();
        let running = scenario.start(&RUN);
        let calls = scenario.rng.usize(1..form.requests / 4);
        until("some calls", || {
            (scenario.mock.count() >= from + calls).then_some(())
        });
        running.signal(signal);
        let ended = running.wait();
        assert_eq!(ended.code, Some(code), "oracle `exit`: {}", ended.stderr);
        // The calls in flight were awaited, so no call is lost.
        scenario.settle(&["out.jsonl"], false);
        scenario.sound();
    }
    scenario.finish(&RUN, "out.jsonl", &lines, false);
    assert_eq!(
        scenario.account.calls, form.requests,
        "oracle `drain`: a call was repeated after a signal"
    );
    scenario.report(form.requests);
}

/// Starts a run whose calls are all on the wire.
fn busy(scenario: &mut Scenario, flags: &[&str]) -> (Running, usize) {
    let from = scenario.mock.count();
    let running = scenario.start(&[&RUN[..], &PATIENT, flags].concat());
    until("calls", || {
        (scenario.mock.count() >= from + CONCURRENCY).then_some(())
    });
    (running, from + CONCURRENCY)
}

fn says(running: &Running, text: &str) {
    until(text, || running.said().contains(text).then_some(()));
}

#[test]
fn a_second_signal_cancels_and_the_run_is_resumed() {
    let form = Form::get().smaller();
    let mut scenario = Scenario::with("second signal", form, &NEVER);
    let lines = input::batch(CONCURRENCY * 2);
    scenario.input(&lines);
    // The first signal decides the exit code.
    let pairs = [
        (Signal::TERM, Signal::TERM, 143),
        (Signal::INT, Signal::INT, 130),
        (Signal::HUP, Signal::HUP, 143),
        (Signal::INT, Signal::TERM, 130),
        (Signal::TERM, Signal::INT, 143),
    ];
    for (first, second, code) in pairs {
        let (running, calls) = busy(&mut scenario, &[]);
        running.signal(first);
        says(&running, "on the way");
        running.signal(second);
        let ended = running.wait();
        assert_eq!(ended.code, Some(code), "oracle `exit`: {}", ended.stderr);
        nothing_more_was_sent(&mut scenario, calls);
        scenario.sound();
    }
    scenario.heal_mock();
    scenario.finish(&RUN, "out.jsonl", &lines, false);
    println!(
        "crash-test: second signal: {CONCURRENCY} calls given up {} times, all {} requests done after",
        pairs.len(),
        lines.len()
    );
}

#[test]
fn the_end_of_the_grace_is_as_a_second_signal() {
    let form = Form::get().smaller();
    let mut scenario = Scenario::with("grace", form, &NEVER);
    let lines = input::batch(CONCURRENCY * 2);
    scenario.input(&lines);
    let (running, calls) = busy(&mut scenario, &["--grace", "200ms"]);
    running.signal(Signal::INT);
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "oracle `exit`: {}", ended.stderr);
    assert!(
        ended.stderr.contains("giving up the calls on the way"),
        "{}",
        ended.stderr
    );
    nothing_more_was_sent(&mut scenario, calls);
    scenario.sound();
    scenario.heal_mock();
    scenario.finish(&RUN, "out.jsonl", &lines, false);
}

/// Oracle `cancel`: the server got no call after the signal.
fn nothing_more_was_sent(scenario: &mut Scenario, calls: usize) {
    assert_eq!(
        scenario.mock.calls().len(),
        calls,
        "oracle `cancel`: calls after a signal"
    );
}

/// Lines go to standard output. The events go to a file, which `verify` can check.
const PRINT: [&str; 4] = ["run", "in.jsonl", "--events", "events.jsonl"];

/// A reader that does not read the output keeps a cancelled run from ending.
#[test]
fn a_third_signal_ends_at_once() {
    let form = Form::get().smaller();
    // A few of the answers fill the pipe before so many calls hang that the run stops.
    let mock = ["--tokens", "4000", "--faults", "stall=0.25"];
    let mut scenario = Scenario::with("third signal", form, &mock);
    let lines = input::batch(form.requests.max(CONCURRENCY * 20));
    scenario.input(&lines);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 143)] {
        let mut running = blocked(&mut scenario);
        running.signal(signal);
        says(&running, "on the way");
        running.signal(signal);
        says(&running, "giving up the calls on the way");
        assert_eq!(running.poll(), None, "the output still waits for its reader");
        running.signal(signal);
        let ended = running.wait();
        assert_eq!(ended.code, Some(code), "oracle `exit`: {}", ended.stderr);
        scenario.settle(&[], true);
        scenario.sound();
        scenario.replace_mock(&mock);
    }
    scenario.heal_mock();
    let ended = scenario.nova3(&PRINT);
    assert_eq!(ended.code, Some(0), "oracle `exit`: {}", ended.stderr);
    scenario.settle(&[], false);
    oracle::once(&ended.stdout, &lines, &scenario.account.digests, false);
    scenario.sound();
}

/// A run in which every call hangs, and whose output is a full pipe that is not read.
fn blocked(scenario: &mut Scenario) -> Running {
    let arguments = [&PRINT[..], &PATIENT].concat();
    let running = scenario.start_into(&arguments, Stdio::null(), Some(Stdio::piped()));
    let log = &mut scenario.mock.log;
    until("every call hangs", || {
        log.read_on();
        let open = log.every_call().iter().filter(|call| call.end.is_none()).count();
        (open == CONCURRENCY).then_some(())
    });
    let pipe = running.child.stdout.as_ref().expect("stdout is a pipe");
    until("the pipe is full", || {
        let waiting = rustix::io::ioctl_fionread(pipe.as_fd()).expect("a pipe can be asked");
        (waiting > 60_000).then_some(())
    });
    running
}
