//! Several processes that share one store in PostgreSQL.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nova3::config::{Source, StoreAddress};
use nova3::mock::{Latency, MockConfig};
use nova3::postgres::Database;
use rustix::process::Signal;
use serde_json::Value;

use crate::cli::harness::{Harness, Provider, Running, setup_with, until};
use crate::cli::provider::{Say, Scripted};
use crate::cli::server;

/// A folder, a provider, and an empty store in a database.
pub(crate) fn fleet(config: MockConfig) -> (Harness, Provider) {
    let (harness, provider) = setup_with(config);
    let store = server::fresh_schema(server::shared());
    (harness.with("NOVA3_STORE", &store), provider)
}

/// A provider that takes this many milliseconds for each answer.
fn lazy(ms: u64) -> MockConfig {
    MockConfig {
        latency: Latency {
            first_token: Duration::from_millis(ms),
            ..Latency::default()
        },
        ..MockConfig::default()
    }
}

/// The workers that `status` shows.
fn workers(harness: &Harness) -> Vec<Value> {
    harness.status(&[])["workers"].as_array().unwrap().clone()
}

#[test]
fn workers_share_a_run_and_who_was_given_the_file_writes_it() {
    let (harness, provider) = fleet(lazy(20));
    harness.write_questions("in.jsonl", 300);
    let mut worker = Running::start(harness.command(&["worker", "-j", "8"]));
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "-j", "8"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(harness.results("out.jsonl").len(), 300);
    assert_eq!(provider.calls(), 300, "nothing is paid twice");
    let both = workers(&harness);
    assert_eq!(both.len(), 2, "{both:?}");
    let settled = |worker: &Value| worker["settled"].as_u64().unwrap();
    assert!(both.iter().all(|worker| settled(worker) > 0), "{both:?}");
    assert_eq!(both.iter().map(settled).sum::<u64>(), 300);
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));

    // The same command elsewhere builds its own file without a call.
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "elsewhere.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let sorted = |name| {
        let text = harness.read(name);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted("out.jsonl"), sorted("elsewhere.jsonl"));
    assert_eq!(provider.calls(), 300);

    worker.signal(Signal::TERM);
    let stopped = harness.ran(&worker.output());
    assert_eq!(stopped.code, Some(143), "{}", stopped.err);
    assert!(stopped.err.contains("run `in.jsonl`: joined"), "{}", stopped.err);
}

#[test]
fn a_worker_ends_when_it_was_told_to_wait_for_nothing() {
    let (harness, provider) = fleet(MockConfig::default());
    harness.write_questions("in.jsonl", 20);
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "--limit", "5"]);
    assert_eq!(ran.code, Some(101), "{}", ran.err);
    let ran = harness.nova3(&["worker", "--until-idle"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(
        ran.err.contains("left after 15 requests and 15 steps"),
        "{}",
        ran.err
    );
    assert_eq!((harness.results("out.jsonl").len(), provider.calls()), (5, 20));
    // The process with `-o` writes the results that the worker made.
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(0)
    );
    assert_eq!((harness.results("out.jsonl").len(), provider.calls()), (20, 20));
    let ran = harness.nova3(&["worker", "--until-idle", "--run", "other"]);
    let said = "nothing is left to do in run `other`, if it is there at all";
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains(said), "{}", ran.err);
}

#[test]
fn who_disagrees_with_those_at_work_is_refused() {
    let (harness, _provider) = fleet(lazy(30));
    harness.write_questions("in.jsonl", 400);
    let running =
        Running::start(harness.command(&["run", "in.jsonl", "-o", "out.jsonl", "--rpm", "60000", "-j", "4"]));
    until("somebody is at work", || {
        harness.nova3(&["status"]).code == Some(0) && !workers(&harness).is_empty()
    });
    let ran = harness.nova3(&["worker", "--run", "in.jsonl", "--rpm", "30000"]);
    assert_eq!(ran.code, Some(106), "{}", ran.err);
    let said = "route `default` has 60000 requests a minute, not 30000 requests a minute";
    assert!(
        ran.err.contains(said) && ran.err.contains("--accept-drift"),
        "{}",
        ran.err
    );
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "other.jsonl", "--rpm", "30000"]);
    assert_eq!(ran.code, Some(106), "{}", ran.err);
    let joined =
        Running::start(harness.command(&["worker", "--run", "in.jsonl", "--rpm", "30000", "--accept-drift"]));
    until("the worker joins", || workers(&harness).len() > 1);
    drop(joined);
    drop(running);
}

#[test]
fn a_file_is_not_for_workers() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let ran = harness.nova3(&["worker", "--store", "nova3.db"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err
            .contains("is a file, and only one process can work on a file"),
        "{}",
        ran.err
    );
    assert!(!harness.path("nova3.db").exists());
}

#[test]
fn a_password_on_the_command_line_is_refused_and_shown_nowhere() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 1);
    let ran = harness.nova3(&["run", "in.jsonl", "--store", "postgres://u:geheim@127.0.0.1:1/d"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.contains("PGPASSWORD") && !ran.err.contains("geheim"),
        "{}",
        ran.err
    );
    // The store of the environment is used, and no server answers there.
    let harness = harness.with("NOVA3_STORE", "postgres://u:geheim@127.0.0.1:1/d");
    for args in [&["run", "in.jsonl"][..], &["status"], &["config"]] {
        let ran = harness.nova3(args);
        assert!(!(ran.err + &ran.out).contains("geheim"), "{args:?}");
    }
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert!(
        ran.err.contains("postgres://u@127.0.0.1:1/d") && ran.err.contains("refused"),
        "{}",
        ran.err
    );
}

#[test]
fn a_database_that_is_not_there_is_named_with_its_cure() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 1);
    let (server, _) = server::shared().rsplit_once('/').unwrap();
    let harness = harness.with("NOVA3_STORE", &format!("{server}/nowhere"));
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert!(ran.err.contains("createdb"), "{}", ran.err);
    let empty = server::fresh_schema(server::shared());
    let ran = harness.with("NOVA3_STORE", &empty).nova3(&["status"]);
    assert_eq!(ran.code, Some(4));
    assert!(ran.err.contains("holds no store"), "{}", ran.err);
}

/// Settings with a short lease and this retry section.
fn with_short_lease(harness: &Harness, retry: &str) {
    let breaker = "[breaker]\nopen = \"50ms\"\n";
    harness.write("nova3.toml", format!("{retry}{breaker}[run]\nlease = \"2s\"\n"));
}

/// The housekeeping of leases waits for a locked table, and is cancelled again and again. Leases are renewed
/// nevertheless, and no call is lost.
#[test]
fn housekeeping_that_is_stuck_costs_no_lease() {
    let (harness, provider) = fleet(lazy(6000));
    let store = harness.variable("NOVA3_STORE");
    let harness = harness.with("NOVA3_STORE", &format!("{store}%20-cstatement_timeout%3D1s"));
    with_short_lease(&harness, "[retry]\nbase = \"1ms\"\nlongest = \"2ms\"\n");
    harness.write_questions("in.jsonl", 4);
    let mut run = Running::start(harness.command(&["run", "in.jsonl", "-o", "out.jsonl"]));
    until("the calls are on their way", || provider.calls() == 4);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut held = runtime.block_on(async {
        let mut connection = database(&store).connect().await.unwrap();
        connection
            .batch("SET idle_in_transaction_session_timeout = 0")
            .await
            .unwrap();
        connection.begin().await.unwrap();
        connection
            .batch("LOCK TABLE nova3_workers IN EXCLUSIVE MODE")
            .await
            .unwrap();
        connection
    });
    let written = || {
        std::fs::read_to_string(harness.path("out.jsonl"))
            .unwrap_or_default()
            .lines()
            .count()
    };
    until("every line is written, or a call is repeated", || {
        written() == 4 || provider.calls() > 4
    });
    runtime.block_on(held.commit()).unwrap();
    assert_eq!(run.child().try_wait().unwrap(), None, "it has yet to leave");
    let ran = harness.ran(&run.output());
    assert_eq!((ran.code, provider.calls()), (Some(0), 4), "{}", ran.err);
}

pub(crate) fn database(url: &str) -> Database {
    let source = Source::Flag("--store");
    let address = StoreAddress::read(Path::new(url), &source, &|_| None).unwrap();
    let StoreAddress::Postgres(address) = address else {
        unreachable!("{url} is a database");
    };
    Database::new(&address).unwrap()
}

/// After the stop the worker's retries are due, but its leases have gone to another worker.
#[test]
fn a_worker_that_wakes_up_looks_at_its_lease_before_it_calls() {
    const LINES: usize = 4;
    let calls = AtomicUsize::new(0);
    let provider = Scripted::start(move |_| {
        Say {
        status: if calls.fetch_add(1, Ordering::SeqCst) < LINES {
            500
        } else {
            200
        },
        headers: "content-type: application/json\r\n",
        body: r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1}}"#
            .to_owned(),
    }
    });
    let (harness, _unused) = fleet(MockConfig::default());
    let harness = harness.with("OPENAI_BASE_URL", &provider.base_url());
    with_short_lease(&harness, "[retry]\nbase = \"2s\"\nlongest = \"2s\"\n");
    let line = |n: usize| {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
        format!(r#"{{"custom_id":"b{n}","method":"POST","url":"/v1/chat/completions","body":{body}}}"#) + "\n"
    };
    harness.write("in.jsonl", (0..LINES).map(line).collect::<String>());
    let mut sleeper = Running::start(harness.command(&["run", "in.jsonl", "-o", "out.jsonl"]));
    until("every call has failed once", || provider.bodies().len() >= LINES);
    sleeper.signal(Signal::STOP);
    let ran = harness.nova3(&["worker", "--until-idle"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    sleeper.signal(Signal::CONT);
    let ran = harness.ran(&sleeper.output());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(
        provider.bodies().len(),
        2 * LINES,
        "each failed once and was answered once"
    );
    assert_eq!(harness.results("out.jsonl").len(), LINES);
}
