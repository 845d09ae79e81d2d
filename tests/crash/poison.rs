//! A request that crashes the process which works on it, among others that were only in flight.

use super::bench::Bench;
use super::form::Form;
use super::input;
use super::oracle;
use super::process::until;

const RUN: [&str; 6] = ["run", "in.jsonl", "-o", "out.jsonl", "-j", "6"];

/// A debug build alone can be told to crash.
#[cfg(debug_assertions)]
mod real {
    use super::super::cuts::{Cuts, Engine};
    use super::super::input;
    use super::super::oracle;

    const REQUESTS: usize = 10;

    /// The third line, so that others stand before and behind it.
    const CULPRIT: usize = 2;

    /// Runs again and again until a process comes to its end; answers after how many crashes.
    fn crashes_until_the_end(engine: Engine, place: &str, most: usize) {
        let mut cuts = Cuts::new(
            "a request that crashes",
            engine,
            &["--latency", "100ms"].map(str::to_owned),
        );
        let lines: Vec<_> = (0..REQUESTS)
            .map(|id| input::Line {
                form: input::Shape::Flat(None),
                ..input::Line::batch(id)
            })
            .collect();
        cuts.bench.input(&lines);
        let failpoint = format!("abort-{place}={}", lines[CULPRIT].marker());
        let mut crashes = 0;
        let ended = loop {
            let ended = cuts.start(&failpoint).wait();
            if ended.code.is_some() {
                break ended;
            }
            crashes += 1;
            assert!(crashes <= most, "oracle `poison`: {crashes} crashes and no end");
        };
        assert_eq!(ended.code, Some(100), "oracle `exit`: {}", ended.stderr);
        assert!(crashes >= 4, "oracle `poison`: {crashes} crashes prove nothing");
        let found = oracle::objects(&cuts.bench.bytes("out.jsonl"));
        assert_eq!(found.len(), REQUESTS, "oracle `once`");
        for line in &found {
            let is_culprit = line["custom_id"] == lines[CULPRIT].custom_id();
            let class = line["error"]["class"].as_str();
            assert_eq!(class, is_culprit.then_some("poison"), "oracle `poison`: {line}");
        }
        let ended = cuts.start("").wait();
        assert_eq!(ended.code, Some(100), "oracle `final`: {}", ended.stderr);
        let retried = cuts.retry("poison");
        assert_eq!(retried.code, Some(0), "oracle `exit`: {}", retried.stderr);
        let ended = cuts.start("").wait();
        assert_eq!(
            ended.code,
            Some(0),
            "a process that does not crash finishes it: {}",
            ended.stderr
        );
    }

    #[test]
    fn who_crashes_at_its_answer_is_found_on_sqlite() {
        crashes_until_the_end(Engine::Sqlite, "after-call", 8);
    }

    #[test]
    fn who_crashes_at_its_prompt_is_found_on_sqlite() {
        crashes_until_the_end(Engine::Sqlite, "before-call", 9);
    }

    #[test]
    fn who_crashes_at_its_answer_is_found_on_postgres() {
        crashes_until_the_end(Engine::Postgres, "after-call", 8);
    }

    #[test]
    fn who_crashes_at_its_prompt_is_found_on_postgres() {
        crashes_until_the_end(Engine::Postgres, "before-call", 9);
    }
}

/// Two crashes of this store's process, with all that was in flight worked on: the requests are in quarantine.
fn quarantine(bench: &Bench) {
    let store = rusqlite::Connection::open(bench.path("nova3.db")).expect("it opens");
    store
        .execute("UPDATE nova3_queues SET crashes=2, quarantine=1000", [])
        .expect("it can be written");
}

#[test]
fn quarantine_runs_while_the_input_is_still_open() {
    let mut bench = Bench::with("poison, open input", Form::get(), &["--latency", "300ms"]);
    let lines = input::batch(3);
    bench.input(&lines);
    let running = bench.start(&["run", "in.jsonl", "-o", "out.jsonl", "--run", "r"]);
    until("all calls", || (bench.mock.count() == 3).then_some(()));
    assert!(bench.cut(running).is_none(), "it was killed");
    quarantine(&bench);
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

/// A group that waits for its route is given back and holds up nobody, however often a process is killed beside it.
#[test]
fn a_group_that_only_waits_is_given_back() {
    let refusing = ["--faults", "429=1", "--retry-after", "60s"];
    let mut bench = Bench::with("poison, waiting", Form::get(), &refusing);
    let lines = input::batch(2);
    bench.input(&lines);
    let leased = |bench: &Bench| bench.store().map(|store| store.leased()).unwrap_or_default();
    let running = bench.start(&RUN);
    until("both are there", || {
        (bench.mock.count() > 0 && leased(&bench).len() == 2).then_some(())
    });
    assert!(bench.cut(running).is_none(), "it was killed");
    quarantine(&bench);
    for _ in 0..3 {
        let running = bench.start(&RUN);
        until("a group waits", || (leased(&bench).len() == 2).then_some(()));
        until("it is given back", || leased(&bench).is_empty().then_some(()));
        assert!(bench.cut(running).is_none(), "it was killed");
    }
    bench.heal_mock();
    let ended = bench.nova3(&RUN);
    assert_eq!(ended.code, Some(0), "oracle `poison`: {}", ended.stderr);
    oracle::once(&bench.bytes("out.jsonl"), &lines, &bench.account.digests, false);
}
