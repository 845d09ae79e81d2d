//! A request that crashes its process, among others that were only in flight.

use super::form::Form;
use super::harness::Scenario;
use super::input;
use super::oracle;
use super::process::until;

const RUN: [&str; 6] = ["run", "in.jsonl", "-o", "out.jsonl", "-j", "6"];

/// Only a debug build can be told to crash.
#[cfg(debug_assertions)]
mod real {
    use super::super::cuts::{Cuts, Engine};
    use super::super::input;
    use super::super::oracle;

    const REQUESTS: usize = 10;

    /// The third line, so that there are lines before and behind it.
    const CULPRIT: usize = 2;

    /// Restarts the run until a process finishes. Returns the number of crashes.
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
        cuts.scenario.input(&lines);
        let failpoint = format!("{place}=abort:{}", lines[CULPRIT].marker());
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
        let found = oracle::objects(&cuts.scenario.bytes("out.jsonl"));
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

/// Sets the state after two crashes of this store's process while it worked on all calls in flight: the requests are in
/// quarantine.
fn quarantine(scenario: &Scenario) {
    let store = rusqlite::Connection::open(scenario.path("nova3.db")).expect("it opens");
    store
        .execute_batch(
            "UPDATE nova3_tasks SET crashes=2, quarantine=1000;
             UPDATE nova3_queues SET ready=0, quarantine=1000 WHERE ready>0",
        )
        .expect("it can be written");
}

#[test]
fn quarantine_runs_while_the_input_is_still_open() {
    let mut scenario = Scenario::with("poison, open input", Form::get(), &["--latency", "300ms"]);
    let lines = input::batch(3);
    scenario.input(&lines);
    let running = scenario.start(&["run", "in.jsonl", "-o", "out.jsonl", "--run", "r"]);
    until("all calls", || (scenario.mock.count() == 3).then_some(()));
    assert!(scenario.cut(running).is_none(), "it was killed");
    quarantine(&scenario);
    let mut running = scenario.start_with(
        &["run", "-", "-o", "out.jsonl", "--run", "r"],
        std::process::Stdio::piped(),
    );
    let mut stdin = running.child.stdin.take().expect("stdin is piped");
    std::io::Write::write_all(&mut stdin, input::text(&lines).as_bytes()).expect("it reads");
    until("three lines", || {
        (scenario.bytes("out.jsonl").split(|byte| *byte == b'\n').count() == 4).then_some(())
    });
    drop(stdin);
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "oracle `exit`: {}", ended.stderr);
    scenario.settle(&["out.jsonl"], false);
    oracle::once(
        &scenario.bytes("out.jsonl"),
        &lines,
        &scenario.account.digests,
        false,
    );
}

/// A group that waits for its route is released and delays no other request, however often a process is killed in the
/// meantime.
#[test]
fn a_group_that_only_waits_is_given_back() {
    let refusing = ["--faults", "429=1", "--retry-after", "60s"];
    let mut scenario = Scenario::with("poison, waiting", Form::get(), &refusing);
    let lines = input::batch(2);
    scenario.input(&lines);
    let leased = |scenario: &Scenario| scenario.store().map(|store| store.leased()).unwrap_or_default();
    let running = scenario.start(&RUN);
    until("both are there", || {
        (scenario.mock.count() > 0 && leased(&scenario).len() == 2).then_some(())
    });
    assert!(scenario.cut(running).is_none(), "it was killed");
    quarantine(&scenario);
    for _ in 0..3 {
        let running = scenario.start(&RUN);
        until("a group waits", || (leased(&scenario).len() == 2).then_some(()));
        until("it is given back", || leased(&scenario).is_empty().then_some(()));
        assert!(scenario.cut(running).is_none(), "it was killed");
    }
    scenario.heal_mock();
    let ended = scenario.nova3(&RUN);
    assert_eq!(ended.code, Some(0), "oracle `poison`: {}", ended.stderr);
    scenario.settle(&["out.jsonl"], false);
    oracle::once(
        &scenario.bytes("out.jsonl"),
        &lines,
        &scenario.account.digests,
        false,
    );
}
