//! Limits, counts and the log.

use std::path::Path;
use std::time::Duration;

use nova3::mock::{self, Latency, MockConfig, MockError, key_id, prompt_id};
use serde_json::{Value, json};

use super::harness::{harness, prompt, streamed, with};

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("the log is there");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[tokio::test]
async fn the_limiter_admits_the_limit_and_no_more() {
    let harness = harness(MockConfig {
        rpm: Some(3),
        tpm: Some(1_000_000),
        ..MockConfig::default()
    })
    .await;
    for remaining in ["2", "1", "0"] {
        let response = harness.post(&prompt("Hello")).send().await.expect("a response");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-ratelimit-limit-requests"], "3");
        assert_eq!(response.headers()["x-ratelimit-remaining-requests"], remaining);
        assert!(response.headers().contains_key("x-ratelimit-reset-tokens"));
    }
    let refused = harness.post(&prompt("Hello")).send().await.expect("a response");
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .expect("text")
        .parse()
        .expect("a number");
    assert!((1..=60).contains(&wait));
    assert!(
        refused
            .text()
            .await
            .expect("a body")
            .contains("requests per min (RPM): Limit 3, Used 3, Requested 1")
    );
    let stats = harness.mock.stats();
    assert_eq!((stats.outcomes["ok"], stats.outcomes["rate_limited"]), (3, 1));
    assert_eq!(stats.window.requests_max, 4, "refused calls count as pressure");
}

#[tokio::test]
async fn tokens_are_limited_by_what_calls_cost() {
    let cost =
        harness(MockConfig::default()).await.json(&prompt("Hello")).await["usage"]["total_tokens"].clone();
    let cost = cost.as_u64().expect("a number");
    let harness = harness(MockConfig {
        tpm: Some(2 * cost),
        ..MockConfig::default()
    })
    .await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(harness.ask(&prompt("Hello")).await.0);
    }
    assert_eq!(statuses, [200, 200, 429]);
    let stats = harness.mock.stats();
    assert_eq!(
        (stats.window.tokens_max, stats.input_tokens + stats.output_tokens),
        (3 * cost, 2 * cost)
    );
}

#[tokio::test]
async fn the_log_tells_what_arrived_and_how_it_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("calls.jsonl");
    let harness = harness(MockConfig {
        log: Some(path.clone()),
        ..MockConfig::default()
    })
    .await;
    let question = streamed(&"很长的问题".repeat(100));
    let named = harness
        .post(&question)
        .header("x-nova3-id", "r1:plan#2")
        .bearer_auth("sk-1")
        .send()
        .await
        .expect("a response");
    named.bytes().await.expect("a body");
    let usage = harness
        .json(&with(prompt("Hi"), &json!({ "metadata": { "a": 1 } })))
        .await["usage"]
        .clone();
    harness.ask(&json!({})).await;
    harness.mock.stop().await;

    let mut lines = lines(&path);
    for line in &mut lines {
        assert!(line["t_ms"].take().as_i64().expect("a time") > 1_700_000_000_000);
    }
    let (long, short) = (
        prompt_id(&question["messages"]),
        prompt_id(&prompt("Hi")["messages"]),
    );
    let whole: String = "很长的问题".repeat(100);
    let output = lines[1]["output_tokens"].clone();
    assert_eq!(
        lines,
        [
            json!({"t_ms": null, "n": 1, "event": "start", "prompt": long, "custom": "r1:plan#2", "model": "mock-small", "key": key_id("sk-1"), "user": whole, "stream": true}),
            json!({"t_ms": null, "n": 1, "event": "end", "prompt": long, "outcome": "ok", "input_tokens": 504, "output_tokens": output}),
            json!({"t_ms": null, "n": 2, "event": "start", "prompt": short, "custom": {"a": 1}, "model": "mock-small", "key": null, "user": "Hi", "stream": false}),
            json!({"t_ms": null, "n": 2, "event": "end", "prompt": short, "outcome": "ok",
                "input_tokens": 5, "output_tokens": usage["completion_tokens"]}),
            json!({"t_ms": null, "n": 3, "event": "start", "prompt": null, "custom": null, "model": "", "key": null, "user": "", "stream": false}),
            json!({"t_ms": null, "n": 3, "event": "end", "prompt": null, "outcome": "bad_request", "input_tokens": 0, "output_tokens": 0}),
        ]
    );
}

#[tokio::test]
async fn a_client_that_leaves_is_seen_leaving() {
    let hour = Duration::from_hours(1);
    for latency in [
        Latency {
            first_token: hour,
            ..Latency::default()
        },
        Latency {
            per_token: hour,
            ..Latency::default()
        },
    ] {
        let harness = harness(MockConfig {
            latency,
            ..MockConfig::default()
        })
        .await;
        let call = tokio::spawn(harness.post(&streamed("Hello")).send());
        harness.until(|stats| stats.in_flight.now == 1).await;
        call.abort();
        let _ = call.await;
        harness.until(|stats| stats.in_flight.now == 0).await;
        let stats = harness.mock.stats();
        assert_eq!((stats.outcomes["client_gone"], stats.output_tokens), (1, 0));
    }
}

#[tokio::test]
async fn many_connections_are_open_at_once() {
    let hour = Latency {
        first_token: Duration::from_hours(1),
        ..Latency::default()
    };
    let harness = harness(MockConfig {
        latency: hour,
        ..MockConfig::default()
    })
    .await;
    let calls: Vec<_> = (0..200)
        .map(|i| tokio::spawn(harness.post(&prompt(&format!("Call {i}"))).send()))
        .collect();
    harness.until(|stats| stats.in_flight.now == 200).await;
    let stats = harness.mock.stats();
    assert_eq!(
        (stats.connections.max, stats.in_flight.max, harness.mock.calls()),
        (200, 200, 200)
    );
    harness.mock.stop().await;
    for call in calls {
        assert!(
            call.await.expect("no panic").is_err(),
            "a stopped server closes its connections"
        );
    }
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let running = mock::start(MockConfig::default()).await.expect("the mock starts");
    let taken = mock::start(MockConfig {
        listen: running.addr(),
        ..MockConfig::default()
    })
    .await;
    let Err(error @ MockError::Bind { .. }) = taken else {
        panic!("expected a taken address")
    };
    assert_eq!(
        error.to_string(),
        format!(
            "failed to listen on `{}` (choose another with `--listen`)",
            running.addr()
        )
    );
    let log = Some("/nowhere/calls.jsonl".into());
    let unwritable = mock::start(MockConfig {
        log,
        ..MockConfig::default()
    })
    .await;
    let Err(error) = unwritable else {
        panic!("expected an unwritable log")
    };
    assert_eq!(
        error.to_string(),
        "failed to open the call log `/nowhere/calls.jsonl`"
    );
}
