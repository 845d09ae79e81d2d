//! Signals: the first drains, the second cancels.

use rustix::process::Signal;

use super::bench::{Bench, CONCURRENCY};
use super::form::Form;
use super::input;
use super::process::until;

const RUN: [&str; 4] = ["run", "in.jsonl", "-o", "out.jsonl"];

#[test]
fn a_first_signal_drains_and_nothing_is_paid_twice() {
    let form = Form::get().smaller();
    let mut bench = Bench::new("signals", form);
    let lines = input::batch(form.requests);
    bench.input(&lines);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 143)] {
        let from = bench.mock.count();
        let running = bench.start(&RUN);
        let calls = bench.rng.usize(1..form.requests / 4);
        until("some calls", || {
            (bench.mock.count() >= from + calls).then_some(())
        });
        running.signal(signal);
        let ended = running.wait();
        assert_eq!(ended.code, Some(code), "oracle `exit`: {}", ended.stderr);
        // What was in flight was awaited: no call is lost.
        bench.settle(&["out.jsonl"], false);
        let verified = bench.nova3(&["verify", "--store", "nova3.db"]);
        assert_eq!(
            verified.code,
            Some(0),
            "oracle `verify`: {}",
            String::from_utf8_lossy(&verified.stdout)
        );
    }
    bench.finish(&RUN, "out.jsonl", &lines, false);
    assert_eq!(
        bench.account.calls, form.requests,
        "oracle `drain`: a call was repeated after a signal"
    );
    bench.report(form.requests);
}

#[test]
fn a_second_signal_cancels_and_the_run_is_resumed() {
    let form = Form::get().smaller();
    // No answer of this mock comes before the test is over.
    let mut bench = Bench::with("second signal", form, &["--latency", "10m"]);
    let lines = input::batch(CONCURRENCY * 2);
    bench.input(&lines);
    for extra in [0, 1] {
        let from = bench.mock.count();
        let running = bench.start(&[&RUN[..], &["--timeout", "20m"]].concat());
        until("calls", || {
            (bench.mock.count() >= from + CONCURRENCY).then_some(())
        });
        running.signal(Signal::TERM);
        until("the drain to be announced", || {
            running.said().contains("on the way").then_some(())
        });
        running.signal(Signal::TERM);
        if extra > 0 {
            running.signal(Signal::INT);
        }
        let ended = running.wait();
        assert_eq!(ended.code, Some(143), "oracle `exit`: {}", ended.stderr);
        assert_eq!(
            bench.mock.calls().len(),
            from + CONCURRENCY,
            "oracle `cancel`: calls after a signal"
        );
    }
    bench.heal_mock();
    bench.finish(&RUN, "out.jsonl", &lines, false);
    println!(
        "crash-test: second signal: {CONCURRENCY} calls given up twice, all {} requests done after",
        lines.len()
    );
}
