//! A database that goes back in time: a failover to an asynchronous standby that was behind.
//!
//! The test uses two real servers and a network between them that can fail. Commits after that failure are missing on
//! the standby.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use crate::cli::harness::{Harness, Ran, Running, setup, sorted_ids, until};
use crate::cli::provider::{Say, Scripted};
use crate::cli::proxy::{Network, Proxy};
use crate::cli::server::{Server, psql};

const REQUESTS: usize = 60;

/// Requests that are finished on both servers, and requests that are finished on the first one only.
const COMMON: usize = 20;
const LOST: usize = 28;

/// A primary, its standby, and the network between them.
struct Pair {
    primary: Server,
    standby: Server,
    between: Proxy,
}

impl Pair {
    fn start() -> Self {
        let primary = Server::start(&[]);
        let between = Proxy::to(primary.port());
        let standby = Server::standby_of(between.port);
        Self {
            primary,
            standby,
            between,
        }
    }

    /// The URL of both hosts. The store is on the one that takes writes.
    fn url(&self) -> String {
        format!(
            "postgres://nova3@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write",
            self.primary.port(),
            self.standby.port()
        )
    }

    fn finished_on_the_standby(&self) -> usize {
        let sql = "select count(*) from nova3_queues where finish_no is not null";
        psql(self.standby.url(), sql).parse().unwrap()
    }

    fn fail_over(&self) {
        self.primary.stop_immediately();
        self.standby.promote();
    }
}

/// A provider that answers one call for each message of the sender, and every call after the sender is dropped.
fn held_back() -> (Harness, Scripted, Sender<()>) {
    let (go_on, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let provider = Scripted::start(move |_| {
        wait.lock().unwrap().recv().unwrap_or_default();
        let body =
            r#"{"choices":[{"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}]}"#;
        Say {
            status: 200,
            headers: "content-type: application/json\r\n",
            body: body.to_owned(),
        }
    });
    let harness = setup()
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_MODEL", "m");
    // A short lease, so that leases that only the standby still has expire soon.
    let settings = harness.read("nova3.toml") + "[run]\nlease = \"2s\"\n";
    harness.write("nova3.toml", settings);
    harness.write_questions("in.jsonl", REQUESTS);
    (harness, provider, go_on)
}

/// Runs the command, and fails over when the database has lost the last `LOST` results.
fn run_through_a_failover(harness: &Harness, pair: &Pair, go_on: Sender<()>, args: &[&str]) -> Ran {
    let mut run = Running::start(harness.command(args));
    let lines = || std::fs::read_to_string(harness.path("out.jsonl")).map_or(0, |text| text.lines().count());
    let go = |count: usize| (0..count).for_each(|_| go_on.send(()).unwrap());
    go(COMMON);
    until("the common lines are written", || lines() == COMMON);
    until("the standby has them", || {
        pair.finished_on_the_standby() == COMMON
    });
    pair.between.set(Network::Dead);
    go(LOST);
    until("lines that will be lost are written", || {
        lines() == COMMON + LOST || run.child().try_wait().unwrap().is_some()
    });
    pair.fail_over();
    drop(go_on);
    harness.ran(&run.output())
}

#[test]
fn a_failover_to_a_standby_that_was_behind_ends_in_a_file_that_is_proven() {
    let pair = Pair::start();
    let (harness, provider, go_on) = held_back();
    let harness = harness.with("NOVA3_STORE", &pair.url());
    let args = [
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "--events",
        "events.jsonl",
        "-j",
        "1",
    ];
    let ran = run_through_a_failover(&harness, &pair, go_on, &args);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let results = harness.results("out.jsonl");
    let mut ids = sorted_ids(&results);
    ids.dedup();
    assert_eq!((results.len(), ids.len()), (REQUESTS, REQUESTS), "each line once");
    let proof = harness.nova3(&["verify"]);
    assert_eq!(proof.code, Some(0), "{}", proof.out);
    assert_eq!(proof.out.lines().count(), 2, "{}", proof.out);
    // The lost results are paid again, and at most two more calls.
    let calls = provider.bodies().len();
    assert!(
        (REQUESTS + LOST..=REQUESTS + LOST + 2).contains(&calls),
        "{calls}"
    );
    let again = harness.nova3(&args);
    assert_eq!(
        (again.code, provider.bodies().len()),
        (Some(0), calls),
        "{}",
        again.err
    );
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
}

#[test]
fn what_was_printed_before_a_failover_cannot_be_taken_back() {
    let pair = Pair::start();
    let (harness, _provider, go_on) = held_back();
    let harness = harness.with("NOVA3_STORE", &pair.url());
    let run = [
        "run",
        "in.jsonl",
        "--events",
        "out.jsonl",
        "-j",
        "1",
        "--emit",
        "results",
    ];
    let running = Running::start(harness.command(&run));
    let finished = |url: &str| -> usize {
        psql(
            url,
            "select count(*) from nova3_queues where finish_no is not null",
        )
        .parse()
        .unwrap()
    };
    (0..COMMON).for_each(|_| go_on.send(()).unwrap());
    until("a run in both", || {
        psql(
            pair.standby.url(),
            "select to_regclass('nova3_queues') is not null",
        ) == "t"
            && pair.finished_on_the_standby() == COMMON
    });
    pair.between.set(Network::Dead);
    (0..LOST).for_each(|_| go_on.send(()).unwrap());
    until("more is finished", || {
        finished(pair.primary.url()) == COMMON + LOST
    });
    pair.fail_over();
    drop(go_on);
    let ran = harness.ran(&running.output());
    assert_eq!(ran.code, Some(110), "{}", ran.err);
    assert!(
        ran.err
            .contains("the store went back in time: it has lost results that were printed"),
        "{}",
        ran.err
    );
}

#[test]
fn an_input_that_was_lost_in_a_failover_is_not_taken_for_finished() {
    let pair = Pair::start();
    let (harness, _provider, go_on) = held_back();
    let harness = harness.with("NOVA3_STORE", &pair.url());
    let args = ["run", "in.jsonl", "-o", "out.jsonl", "-j", "1"];
    // The standby has an earlier, shorter input.
    harness.write_questions("in.jsonl", 2);
    (0..2).for_each(|_| go_on.send(()).unwrap());
    assert_eq!(harness.nova3(&args).code, Some(0));
    until("the standby has it", || pair.finished_on_the_standby() == 2);
    pair.between.set(Network::Dead);
    harness.write_questions("in.jsonl", 12);
    let run = Running::start(harness.command(&args));
    let lines = || std::fs::read_to_string(harness.path("out.jsonl")).map_or(0, |text| text.lines().count());
    (0..3).for_each(|_| go_on.send(()).unwrap());
    until("some lines", || lines() == 5);
    pair.fail_over();
    drop(go_on);
    let ran = harness.ran(&run.output());
    assert_eq!(ran.code, Some(110), "{}", ran.err);
    assert!(ran.err.contains("the store went back in time"), "{}", ran.err);
    // The result file may be ahead of the store. It is then refused too, and rebuilt after it was removed.
    let again = harness.nova3(&args);
    if again.code == Some(110) {
        std::fs::remove_file(harness.path("out.jsonl")).unwrap();
        assert_eq!(harness.nova3(&args).code, Some(0));
    }
    assert_eq!(harness.results("out.jsonl").len(), 12);
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
}
