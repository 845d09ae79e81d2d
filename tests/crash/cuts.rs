//! Kills from outside while calls of seconds are on the wire, on both engines: no innocent request fails, and the next
//! process has as many calls in flight as before.
//!
//! `NOVA3_CRASH_CUTS` is the number of kills of the loop, `NOVA3_CRASH_CALL_MS` the time to the first byte of most
//! answers.

use std::time::{Duration, Instant};

use super::choices::number;
use super::form::Form;
use super::harness::Scenario;
use super::input::{Line, Shape};
use super::process::{self, Ended, Running, deadline, until};
use super::server;
use crate::support::evidence::Call;

/// The concurrent calls.
const AT_ONCE: usize = 20;

/// A scenario with its store.
pub(crate) struct Cuts {
    pub(crate) scenario: Scenario,
    store: String,
    calls: usize,
}

/// The engine of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// The arguments of a mock with slow answers: they begin after `call_ms`, and half of them even later. Streamed answers
/// come in pieces for half as long again.
fn slow(call_ms: u64) -> Vec<String> {
    let (latency, piece) = (format!("{call_ms}ms"), format!("{}ms", call_ms / 20));
    let args = [
        "--latency",
        &latency,
        "--token-latency",
        &piece,
        "--tokens",
        "10",
        "--tail",
        "0.5",
    ];
    args.map(str::to_owned).to_vec()
}

impl Cuts {
    pub(crate) fn new(name: &'static str, engine: Engine, mock: &[String]) -> Self {
        let mock: Vec<&str> = mock.iter().map(String::as_str).collect();
        let store = match engine {
            Engine::Sqlite => "nova3.db".to_owned(),
            Engine::Postgres => server::fresh_schema(server::shared()),
        };
        let scenario = Scenario::with(name, Form::get(), &mock);
        // A process that replaces a killed one waits for its leases.
        let mut settings = scenario.bytes("nova3.toml");
        settings.extend_from_slice(b"[run]\nlease = \"1s\"\n");
        std::fs::write(scenario.path("nova3.toml"), settings).expect("a folder can be used");
        Self {
            scenario,
            store,
            calls: AT_ONCE,
        }
    }

    /// Starts the run, with failpoints that only a debug build has.
    pub(crate) fn start(&mut self, failpoints: &str) -> Running {
        let at_once = self.calls.to_string();
        let args = [
            "run",
            "in.jsonl",
            "-o",
            "out.jsonl",
            "-j",
            &at_once,
            "--store",
            &self.store,
        ];
        let mut command = self.scenario.command(&args);
        let of_this_process = process::failpoints();
        let all: Vec<&str> = of_this_process
            .iter()
            .map(String::as_str)
            .chain([failpoints])
            .collect();
        command.env("NOVA3_FAILPOINTS", all.join(","));
        let stdout = self.scenario.path("stdout");
        self.scenario.spawn(command, stdout)
    }

    /// Retries failed requests of the class.
    #[cfg(debug_assertions)]
    pub(crate) fn retry(&mut self, class: &str) -> Ended {
        let store = self.store.clone();
        self.scenario
            .nova3(&["retry", "--store", &store, "--class", class])
    }

    /// Waits until `more` further calls have come in, or the process has ended. Returns whether they have come in.
    fn calls_begin(&self, running: &mut Running, before: usize, more: usize) -> bool {
        until("calls, or an end", || {
            let begun = self.scenario.mock.count() >= before + more;
            (begun || running.poll().is_some()).then_some(begun)
        })
    }

    /// Runs one process and kills it that long after its first call. Returns its end if that came first.
    fn life(&mut self, after: Duration) -> Option<Ended> {
        let before = self.scenario.mock.count();
        let mut running = self.start("");
        if self.calls_begin(&mut running, before, 1) {
            let begun = Instant::now();
            until("a moment to kill", || {
                (begun.elapsed() >= after || running.poll().is_some()).then_some(())
            });
        }
        if running.kill().is_none() {
            None
        } else {
            Some(running.wait())
        }
    }

    /// Runs to the end with calls of at most `call` each, and checks that every request is done. Returns the calls of
    /// this last process.
    fn finish(&mut self, requests: usize, call: Duration) -> Vec<Call> {
        let before = self.scenario.mock.calls().len();
        let rounds = u32::try_from(requests.div_ceil(AT_ONCE)).expect("an input of a test");
        let ended = self.start("").wait_within(deadline() + call * rounds);
        let bytes = self.scenario.bytes("out.jsonl");
        let lines = String::from_utf8_lossy(&bytes);
        let poison = lines.lines().filter(|line| line.contains(r#""poison""#)).count();
        assert_eq!(
            poison, 0,
            "oracle `innocent`: {}: {poison} requests are poison",
            self.scenario.name
        );
        assert_eq!(ended.code, Some(0), "oracle `exit`: {}", ended.stderr);
        assert_eq!(lines.lines().count(), requests, "oracle `once`");
        let verified = self
            .scenario
            .nova3(&["verify", "--store", &self.store.clone(), "-o", "out.jsonl"]);
        assert_eq!(verified.code, Some(0), "oracle `verify`: {}", verified.stderr);
        self.scenario.mock.calls().split_off(before)
    }
}

/// Lines of which half are streamed and half arrive at once.
fn mixed(ids: std::ops::Range<usize>) -> Vec<Line> {
    let line = |id| Line {
        form: if id % 2 == 0 {
            Shape::Batch
        } else {
            Shape::Flat(None)
        },
        ..Line::batch(id)
    };
    ids.map(line).collect()
}

/// Returns how many calls were in flight before the first of them ended.
fn at_once(calls: &[Call]) -> usize {
    let end = calls
        .iter()
        .filter_map(|call| call.end.as_ref().map(|end| end.at_ms))
        .min();
    calls
        .iter()
        .filter(|call| end.is_none_or(|end| call.began_ms < end))
        .count()
}

/// Kills at random moments. The calls take seconds in the long form.
fn loop_of_kills(engine: Engine) {
    let (kills, call_ms) = (number("NOVA3_CRASH_CUTS", 6), number("NOVA3_CRASH_CALL_MS", 200));
    let mut cuts = Cuts::new("kills of slow calls", engine, &slow(call_ms));
    // About as many lines as are done in the meantime, and as many again, which need all slots at the end.
    let known = 12 * kills;
    cuts.scenario.input(&mixed(0..known));
    let mut killed = 0;
    for _ in 0..kills {
        let after = Duration::from_millis(cuts.scenario.rng.u64(0..call_ms * 3));
        killed += usize::from(cuts.life(after).is_none());
    }
    assert!(killed > kills / 2, "nothing was left to be killed");
    let all = known + 3 * AT_ONCE;
    cuts.scenario.input(&mixed(0..all));
    let calls = cuts.finish(all, Duration::from_millis(call_ms * 6));
    assert!(
        at_once(&calls) >= AT_ONCE,
        "oracle `recovers`: {} calls at once",
        at_once(&calls)
    );
    println!(
        "crash-test: {engine:?}: {killed} kills of calls of {} to {} ms, {all} requests, 0 are poison, then {} calls at once",
        call_ms,
        call_ms * 4,
        at_once(&calls)
    );
}

#[test]
fn kills_of_slow_calls_fail_nobody_on_sqlite() {
    loop_of_kills(Engine::Sqlite);
}

#[test]
fn kills_of_slow_calls_fail_nobody_on_postgres() {
    loop_of_kills(Engine::Postgres);
}

/// Kills one call on the wire, and in the middle of its stream, more often than any rule counts.
fn one_call(engine: Engine, shape: Shape) {
    let mock = ["--latency", "300ms", "--token-latency", "30ms", "--tokens", "20"].map(str::to_owned);
    let mut cuts = Cuts::new("one slow call", engine, &mock);
    let line = Line {
        form: shape,
        ..Line::batch(0)
    };
    cuts.scenario.input(std::slice::from_ref(&line));
    for kill in 0..7 {
        // On a slow machine it may be done before a kill, which is harmless.
        drop(cuts.life(Duration::from_millis(if kill % 2 == 0 { 100 } else { 500 })));
    }
    cuts.finish(1, Duration::from_secs(1));
}

#[test]
fn a_call_that_is_killed_on_the_wire_is_done_on_sqlite() {
    one_call(Engine::Sqlite, Shape::Batch);
}

#[test]
fn a_call_that_is_killed_in_its_stream_is_done_on_sqlite() {
    one_call(Engine::Sqlite, Shape::Flat(None));
}

#[test]
fn a_call_that_is_killed_in_its_stream_is_done_on_postgres() {
    one_call(Engine::Postgres, Shape::Flat(None));
}

/// The calls in flight at three kills run at once again, not one after the other.
#[test]
fn three_kills_at_the_first_calls_cost_no_parallel_calls() {
    let mut cuts = Cuts::new(
        "three kills",
        Engine::Sqlite,
        &["--latency", "1s"].map(str::to_owned),
    );
    cuts.scenario.input(&mixed(0..2 * AT_ONCE));
    for _ in 0..3 {
        let before = cuts.scenario.mock.count();
        let mut running = cuts.start("");
        assert!(cuts.calls_begin(&mut running, before, AT_ONCE), "it is at work");
        assert!(running.kill().is_none(), "it was killed");
    }
    let calls = cuts.finish(2 * AT_ONCE, Duration::from_secs(1));
    assert_eq!(at_once(&calls), AT_ONCE, "oracle `recovers`");
}
