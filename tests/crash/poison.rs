//! A request that kills the process which works on it, among others that were only there.

use super::bench::Bench;
use super::evidence::Call;
use super::form::Form;
use super::input;
use super::oracle;
use super::process::until;

const RUN: [&str; 6] = ["run", "in.jsonl", "-o", "out.jsonl", "-j", "6"];

/// Requests, of which the first six share every death until they are suspects.
const REQUESTS: usize = 10;

/// The third line, so that suspects stand before and behind it.
const CULPRIT: usize = 2;

/// Long enough to be killed in.
const SLOW: [&str; 2] = ["--latency", "300ms"];

/// Runs until the culprit's call is on its way, and kills; answers its end if that came first.
fn life(bench: &mut Bench, culprit: &str) -> Option<super::process::Ended> {
    let mut running = bench.start(&RUN);
    until("the culprit's call, or an end", || {
        let calls = bench.mock.calls_so_far();
        let struck = calls
            .iter()
            .any(|call| call.marker == culprit && call.end_ms.is_none());
        (struck || running.poll().is_some()).then_some(())
    });
    bench.cut(running)
}

/// Whether the call had the mock for itself; a call that a kill cut off was over when it was cut.
fn is_alone(call: &Call, all: &[Call], cuts: &[i64]) -> bool {
    let end = |call: &Call| {
        let end = call.end_ms.expect("the mock is at rest");
        let cut = cuts.iter().copied().find(|cut| *cut >= call.start_ms);
        cut.map_or(end, |cut| cut.min(end))
    };
    all.iter()
        .filter(|other| other.n != call.n)
        .all(|other| end(other) <= call.start_ms || end(call) <= other.start_ms)
}

#[test]
fn who_kills_alone_is_convicted_and_who_was_only_there_is_done() {
    let mut bench = Bench::with("poison", Form::get(), &SLOW);
    bench.blames = true;
    let lines = input::batch(REQUESTS);
    bench.input(&lines);
    let culprit = lines[CULPRIT].clone();
    let mut deaths = 0;
    let ended = loop {
        match life(&mut bench, &culprit.marker()) {
            None => deaths += 1,
            Some(ended) => break ended,
        }
        assert!(deaths < 9, "oracle `poison`: {deaths} deaths and no end");
    };
    assert_eq!(ended.code, Some(100), "oracle `exit`: {}", ended.stderr);
    assert_eq!(deaths, 5, "oracle `poison`: three deaths in company, two alone");

    let bytes = bench.bytes("out.jsonl");
    let found = oracle::objects(&bytes);
    assert_eq!(found.len(), REQUESTS, "oracle `once`");
    for line in &found {
        let is_culprit = line["custom_id"] == culprit.custom_id();
        let code = line["error"]["code"].as_str();
        assert_eq!(code, is_culprit.then_some("poison"), "oracle `poison`: {line}");
    }
    let store = bench.store().expect("there is a store");
    let charged = store.attempts_charged();
    for line in &lines {
        let expected = i64::from(line.id != CULPRIT);
        assert_eq!(
            charged[&line.custom_id()],
            expected,
            "oracle `charged`: {}",
            line.custom_id()
        );
    }

    // The last call of each suspect, and the culprit's last two, were alone.
    let calls = bench.mock.calls();
    for line in &lines[..6] {
        let own: Vec<&Call> = calls.iter().filter(|call| call.marker == line.marker()).collect();
        // A kill may come before a call does; in company it was claimed all the same.
        let alone = if line.id == CULPRIT { 2 } else { 1 };
        assert!((alone..=alone + 3).contains(&own.len()), "oracle `calls`");
        for call in own.iter().rev().take(alone) {
            assert!(
                is_alone(call, &calls, &bench.account.cuts),
                "oracle `alone`: {}",
                call.marker
            );
        }
    }
    let verified = bench.nova3(&["verify", "--store", "nova3.db", "-o", "out.jsonl"]);
    assert_eq!(verified.code, Some(0), "oracle `verify`: {}", verified.stderr);
    let again = bench.nova3(&RUN);
    assert_eq!(again.code, Some(100), "oracle `final`: {}", again.stderr);
    assert!(bench.settle(&["out.jsonl"], false).is_empty(), "oracle `final`");

    // Put back, it is a request like any other, and a process that does not die finishes it.
    let retried = bench.nova3(&["retry", "--store", "nova3.db", "--class", "poison"]);
    assert_eq!(retried.code, Some(0), "oracle `exit`: {}", retried.stderr);
    bench.finish(&RUN, "out.jsonl", &lines, false);
}

#[test]
fn suspects_run_while_the_input_is_still_open() {
    let mut bench = Bench::with("poison, open input", Form::get(), &SLOW);
    let lines = input::batch(3);
    bench.input(&lines);
    let named = ["run", "in.jsonl", "-o", "out.jsonl", "--run", "r"];
    for _ in 0..3 {
        let before = bench.mock.count();
        let running = bench.start(&named);
        until("all calls", || (bench.mock.count() == before + 3).then_some(()));
        assert!(bench.cut(running).is_none(), "it was killed");
    }
    let mut running = bench.start_with(
        &["run", "-", "-o", "out.jsonl", "--run", "r"],
        std::process::Stdio::piped(),
    );
    let mut stdin = running.child.stdin.take().expect("stdin is piped");
    std::io::Write::write_all(&mut stdin, input::text(&lines).as_bytes()).expect("it reads");
    until("three lines", || {
        (bench.bytes("out.jsonl").split(|byte| *byte == b'\n').count() == 4).then_some(())
    });
    drop(stdin);
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "oracle `exit`: {}", ended.stderr);
    bench.settle(&["out.jsonl"], false);
    oracle::once(&bench.bytes("out.jsonl"), &lines, &bench.account.digests, false);
}

/// What waits for its route kills nobody, however often a process dies beside it.
#[test]
fn a_suspect_that_only_waits_is_not_convicted() {
    let refusing = ["--faults", "429=1", "--retry-after", "60s"];
    let mut bench = Bench::with("poison, waiting", Form::get(), &refusing);
    let lines = input::batch(2);
    bench.input(&lines);
    let leased = |bench: &Bench| bench.store().map(|store| store.leased()).unwrap_or_default();
    for _ in 0..3 {
        let before = bench.mock.count();
        let running = bench.start(&RUN);
        // The first refusal pauses both, so that the second may not come to call.
        until("both are there", || {
            (bench.mock.count() > before && leased(&bench).len() == 2).then_some(())
        });
        assert!(bench.cut(running).is_none(), "it was killed");
    }
    for _ in 0..3 {
        let running = bench.start(&RUN);
        let first = until("one waits alone", || leased(&bench).pop_first());
        until("it is given back, and holds up nobody", || {
            leased(&bench).pop_first().filter(|second| *second != first)
        });
        until("so is the second", || leased(&bench).is_empty().then_some(()));
        assert!(bench.cut(running).is_none(), "it was killed");
    }
    bench.heal_mock();
    let ended = bench.nova3(&RUN);
    assert_eq!(ended.code, Some(0), "oracle `poison`: {}", ended.stderr);
    oracle::once(&bench.bytes("out.jsonl"), &lines, &bench.account.digests, false);
}
