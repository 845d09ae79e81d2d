//! Signals end every command, also one that waits. Calls that were sent are recorded.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nova3::mock::MockConfig;
use rustix::process::Signal;

use crate::cli::fleet::{database, fleet};
use crate::cli::harness::{Harness, Provider, Running, setup_with, slow, until};
use crate::cli::proxy::{Network, Proxy};

/// Whether the process has a handler for that signal.
fn catches(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or(0) >> (signal.as_raw() - 1) & 1 == 1
}

/// Starts the command with its messages in a file.
fn start(harness: &Harness, mut command: Command) -> Running {
    let messages = File::create(harness.path("messages")).unwrap();
    let mut run = Running::start({
        command.stderr(messages);
        command
    });
    let pid = run.child().id();
    until("it listens for signals", || catches(pid, Signal::TERM));
    run
}

fn said(harness: &Harness, what: &str) {
    until(what, || harness.read("messages").contains(what));
}

fn code(run: Running) -> Option<i32> {
    run.output().status.code()
}

#[test]
fn one_signal_ends_a_command_that_waits_for_its_input() {
    let (harness, provider) = setup_with(MockConfig::default());
    let strict: &[&str] = &["run", "--strict", "--run", "a"];
    for args in [strict, &["check", "-"], &["plan", "-"]] {
        let mut command = harness.command(args);
        command.stdin(Stdio::piped());
        let mut run = start(&harness, command);
        // Waiting for the process would close its input, and the end of the input could come before the signal.
        let input = run.child().stdin.take();
        run.signal(Signal::TERM);
        assert_eq!(code(run), Some(143), "{args:?}");
        drop(input);
    }
    assert_eq!(provider.calls(), 0);
}

#[test]
fn a_store_that_is_waited_for_is_told_of_and_one_signal_ends_the_wait() {
    let (harness, slow) = setup_with(slow());
    harness.write_questions("in.jsonl", 1);
    let mut first = Running::start(harness.command(&["run", "in.jsonl", "--grace", "0s"]));
    until("it is called", || slow.calls() == 1);
    let waiting = ["run", "in.jsonl", "--run", "b", "--wait-lock", "10m"];
    let mut second = start(&harness, harness.command(&waiting));
    said(&harness, "s: store `nova3.db` is in use by");
    second.signal(Signal::INT);
    assert_eq!(code(second), Some(130));
    first.signal(Signal::KILL);

    let harness = harness.with("NOVA3_STORE", "postgres://u@127.0.0.1:1/d");
    let mut third = start(&harness, harness.command(&waiting));
    said(
        &harness,
        "s: database `postgres://u@127.0.0.1:1/d` does not answer",
    );
    third.signal(Signal::TERM);
    assert_eq!(code(third), Some(143));
}

/// The run's tables exist, and another transaction has locked one of them.
#[test]
fn one_signal_ends_a_run_that_waits_for_its_database_to_begin() {
    let (harness, provider) = fleet(MockConfig::default());
    harness.write_questions("in.jsonl", 2);
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "--limit", "1"]).code,
        Some(101)
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let store = harness.variable("NOVA3_STORE");
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'nova3_runs'::regclass";
    let mut look = runtime.block_on(database(&store).connect()).unwrap();
    for args in [
        &["run", "in.jsonl"][..],
        &["plan", "in.jsonl", "--call"],
        &["verify"],
        &["worker"],
    ] {
        // When this is dropped, its transaction ends and the table is free.
        let held = runtime.block_on(async {
            let mut held = database(&store).connect().await.unwrap();
            held.begin_long(Duration::from_secs(60)).await.unwrap();
            held.batch("SET LOCAL idle_in_transaction_session_timeout = 0; LOCK TABLE nova3_runs")
                .await
                .unwrap();
            held
        });
        let mut run = start(&harness, harness.command(args));
        until("it waits", || {
            let row = runtime.block_on(look.row(waiting, &[])).unwrap();
            row.get::<_, i64>(0) > 0
        });
        run.signal(Signal::TERM);
        assert_eq!(code(run), Some(143), "{args:?}: {}", harness.read("messages"));
        drop(held);
        until("the table is free", || {
            let row = runtime.block_on(look.row(waiting, &[])).unwrap();
            row.get::<_, i64>(0) == 0
        });
    }
    assert_eq!(provider.calls(), 1);
}

#[test]
fn an_outage_is_told_off_a_terminal_and_a_third_signal_ends_it_at_once() {
    let (harness, slow) = fleet(slow());
    let store = harness.variable("NOVA3_STORE");
    let proxy = Proxy::to(port(&store));
    let harness = harness.with("NOVA3_STORE", &proxy.url(&store));
    // A long lease, so that the calls still have it when the outage is reported.
    harness.write("nova3.toml", "[run]\nlease = \"1m\"\n");
    harness.write_questions("in.jsonl", 3);
    let mut run = start(&harness, harness.command(&["run", "in.jsonl", "-o", "out.jsonl"]));
    until("they are called", || slow.calls() == 3);
    proxy.set(Network::Dead);
    proxy.reset_all();
    said(&harness, "waiting: the database does not answer");
    run.signal(Signal::TERM);
    said(&harness, "stopping: waiting for");
    run.signal(Signal::TERM);
    // Another signal, because two equal ones may arrive as one.
    run.signal(Signal::INT);
    let begun = Instant::now();
    assert_eq!(code(run), Some(143), "{}", harness.read("messages"));
    // It ends at once, and does not wait for the limits of the database.
    assert!(begun.elapsed() < Duration::from_secs(10));
}

fn port(url: &str) -> u16 {
    let (_, rest) = url.rsplit_once(':').unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

/// The output is a pipe that is not read.
#[test]
fn the_grace_is_kept_to_whoever_does_not_read() {
    let (harness, _provider) = setup_with(MockConfig {
        answer_tokens: 4000,
        ..MockConfig::default()
    });
    harness.write_questions("in.jsonl", 40);
    let mut command = harness.command(&["run", "in.jsonl", "--grace", "100ms"]);
    command.stdout(Stdio::piped());
    let mut run = start(&harness, command);
    let pipe = run.child().stdout.take().unwrap();
    until("the pipe is full", || {
        rustix::io::ioctl_fionread(&pipe).unwrap() > 60_000
    });
    until("every request is done", || harness.status(&[])["done"] == 40);
    run.signal(Signal::TERM);
    assert_eq!(run.child().wait().unwrap().code(), Some(143));
    drop(pipe);
}

#[test]
fn a_third_signal_books_every_call_that_was_sent() {
    const CALLS: u64 = 20;
    let provider = Provider::start(slow());
    let (harness, _unused) = setup_with(MockConfig::default());
    harness.write(
        "nova3.toml",
        format!(
            "[routes.primary]\nbase_url = \"{}\"\nmodel = \"m\"\nno_key = true\ninput_usd_per_million = 1.0\n\
             output_usd_per_million = 1.0\n",
            provider.base_url()
        ),
    );
    harness.write_questions("in.jsonl", 40);
    let mut run = start(
        &harness,
        harness.command(&["run", "in.jsonl", "-j", "20", "--max-cost", "100"]),
    );
    until("they are called", || provider.calls() == 20);
    let held = harness.status(&[])["reserved_usd"].as_f64().unwrap();
    assert!(held > 0.0);
    run.signal(Signal::TERM);
    said(&harness, "stopping: waiting for");
    run.signal(Signal::TERM);
    // Another signal, because two equal ones may arrive as one.
    run.signal(Signal::INT);
    assert_eq!(code(run), Some(143), "{}", harness.read("messages"));
    let status = harness.status(&[]);
    let waste = &status["waste"][0];
    assert_eq!(
        (&waste["cause"], &waste["calls"]),
        (&"abandoned".into(), &CALLS.into())
    );
    let spent = status["uncertain_usd"].as_f64().unwrap();
    assert!(
        (spent - held).abs() < 1e-9,
        "{held} was held back, {spent} is booked"
    );
    assert_eq!(
        (&status["reserved_usd"], &status["left"]),
        (&0.0.into(), &40.into())
    );
}
