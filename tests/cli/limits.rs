//! Limits per minute and pauses that hold across processes, and limits that a provider announces.

use nova3::mock::{Faults, MockConfig};
use rustix::process::Signal;
use serde_json::json;

use crate::cli::harness::{Harness, Ran, Running, lines, setup, setup_with, slow, until};
use crate::cli::provider::{Say, Scripted};
use crate::cli::server;

/// A run of one new line.
fn one_line(harness: &Harness, name: &str, flags: &[&str]) -> Ran {
    harness.write_questions(name, 1);
    harness.nova3(&[&["run", name], flags].concat())
}

/// A deadline that is too short for a wait of a minute.
const SHORT: [&str; 2] = ["--deadline", "300ms"];

#[test]
fn a_limit_holds_from_one_process_to_the_next() {
    let (harness, provider) = setup_with(MockConfig::default());
    let ran = one_line(&harness, "first.jsonl", &["--rpm", "1"]);
    assert_eq!((ran.code, provider.calls()), (Some(0), 1), "{}", ran.err);
    for name in ["second.jsonl", "third.jsonl"] {
        let ran = one_line(&harness, name, &["--rpm", "1", SHORT[0], SHORT[1]]);
        assert_eq!((ran.code, provider.calls()), (Some(104), 1), "{}", ran.err);
    }
    // Another store has its own limits. A run without a limit does not wait.
    let ran = one_line(&harness, "second.jsonl", &["--rpm", "1", "--store", "other.db"]);
    assert_eq!((ran.code, provider.calls()), (Some(0), 2), "{}", ran.err);
    let ran = one_line(&harness, "third.jsonl", &[]);
    assert_eq!((ran.code, provider.calls()), (Some(0), 3), "{}", ran.err);
}

#[test]
fn a_limit_holds_after_a_kill() {
    let (harness, provider) = setup_with(slow());
    harness.write_questions("in.jsonl", 3);
    let mut run = Running::start(harness.command(&["run", "in.jsonl", "--rpm", "1"]));
    until("a call", || provider.calls() == 1);
    run.signal(Signal::KILL);
    run.output();
    let ran = harness.nova3(&["run", "in.jsonl", "--rpm", "1", SHORT[0], SHORT[1]]);
    assert_eq!((ran.code, provider.calls()), (Some(104), 1), "{}", ran.err);
}

#[test]
fn a_pause_holds_from_one_process_to_the_next() {
    let (harness, provider) = setup_with(MockConfig {
        faults: Faults {
            rate_limited: 1.0,
            ..Faults::default()
        },
        retry_after: Some(std::time::Duration::from_secs(60)),
        ..MockConfig::default()
    });
    harness.write_questions("in.jsonl", 3);
    let mut run = Running::start(harness.command(&["run", "in.jsonl", "-j", "1"]));
    until("the pause is stored", || {
        harness.path("nova3.db").exists() && paused(&harness)
    });
    run.signal(Signal::KILL);
    run.output();
    let calls = provider.calls();
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "1", SHORT[0], SHORT[1]]);
    assert_eq!((ran.code, provider.calls()), (Some(104), calls), "{}", ran.err);
}

/// Whether the store holds a pause of a route.
fn paused(harness: &Harness) -> bool {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let Ok(store) = rusqlite::Connection::open_with_flags(harness.path("nova3.db"), flags) else {
        return false;
    };
    let sql = "SELECT count(*) FROM nova3_limits WHERE pause_until IS NOT NULL";
    store
        .query_row(sql, [], |row| row.get::<_, i64>(0))
        .is_ok_and(|n| n > 0)
}

/// The server's clock is years ahead of ours, and the pause is one second.
#[test]
fn a_moment_in_headers_is_read_by_the_clock_of_its_server() {
    let calls = std::sync::atomic::AtomicU32::new(0);
    let provider = Scripted::start(move |_| {
        if calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0 {
            return limited("content-type: application/json\r\n");
        }
        Say {
            status: 429,
            headers: "date: Tue, 24 Nov 2099 12:00:00 GMT\r\nretry-after: Tue, 24 Nov 2099 12:00:01 GMT\r\n",
            body: String::new(),
        }
    });
    let harness = setup()
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_MODEL", "m");
    harness.write("in.jsonl", batch(&["m"]));
    let ran = harness.nova3(&["run", "in.jsonl", "--deadline", "30s"]);
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
}

/// A good answer with these headers.
fn limited(headers: &'static str) -> Say {
    let body = json!({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1}});
    Say {
        status: 200,
        headers,
        body: body.to_string(),
    }
}

/// Batch lines for these models, in this order.
fn batch(models: &[&str]) -> String {
    let line = |(n, model): (usize, &&str)| {
        let body =
            json!({"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5000});
        json!({"custom_id": format!("{n} {model}"), "method": "POST", "url": "/v1/chat/completions", "body": body})
            .to_string()
    };
    models.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_limit_in_headers_that_is_below_one_call_fails_none() {
    let provider = Scripted::start(|_| {
        limited(
            "content-type: application/json\r\nx-ratelimit-limit-tokens: 2500\r\n\
             x-ratelimit-remaining-tokens: 2400\r\nx-ratelimit-reset-tokens: 100ms\r\n",
        )
    });
    let harness = setup()
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_MODEL", "m");
    harness.write("in.jsonl", batch(&["m"; 8]));
    let ran = harness.nova3(&["run", "in.jsonl", "--tpm", "1000000", "-j", "4"]);
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    assert_eq!(provider.bodies().len(), 8);
}

#[test]
fn a_limit_in_headers_is_that_of_its_model() {
    let provider = Scripted::start(|request| {
        if request.contains("\"slow\"") {
            limited("content-type: application/json\r\nx-ratelimit-limit-requests: 1\r\n")
        } else {
            limited("content-type: application/json\r\n")
        }
    });
    let harness = setup()
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_MODEL", "m");
    let run = |models: &[&str], deadline: &str| {
        harness.write("in.jsonl", batch(models));
        harness.nova3(&[
            "run",
            "in.jsonl",
            "--rpm",
            "60000",
            "-j",
            "1",
            "--deadline",
            deadline,
        ])
    };
    let ran = run(&["slow", "m", "m", "m"], "30s");
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    // The limit delays every call of its own model after the one that announced it.
    let ran = run(&["m", "slow", "slow", "slow", "slow"], "500ms");
    assert_eq!(ran.code, Some(104), "{} {}", ran.out, ran.err);
    assert_eq!(
        lines(&ran.out)
            .iter()
            .filter(|line| line["error"].is_object())
            .count(),
        0
    );
}

#[test]
fn a_worker_without_limits_works_under_those_of_the_run() {
    let (harness, provider) = setup_with(MockConfig::default());
    let harness = harness.with("NOVA3_STORE", &server::fresh_schema(server::shared()));
    harness.write_questions("in.jsonl", 300);
    let mut run = Running::start(harness.command(&["run", "in.jsonl", "--rpm", "1"]));
    until("its only call", || provider.calls() == 1);
    run.signal(Signal::TERM);
    run.output();
    let ran = harness.nova3(&["worker", "--run", "in.jsonl", "--until-idle"]);
    assert_eq!(ran.code, Some(106), "{}", ran.err);
    let mut worker =
        Running::start(harness.command(&["worker", "--run", "in.jsonl", "--until-idle", "--accept-drift"]));
    until("the worker has joined", || {
        let workers = harness.status(&[])["workers"].as_array().unwrap().len();
        workers == 2
    });
    worker.signal(Signal::TERM);
    let stopped = harness.ran(&worker.output());
    assert_eq!(stopped.code, Some(143), "{}", stopped.err);
    assert!(provider.calls() <= 2, "{} calls in a minute", provider.calls());
}
