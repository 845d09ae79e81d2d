//! The Messages API: the same answers in Anthropic's shape, and its own errors.

use std::time::Duration;

use nova3::mock::{Faults, Latency, MockConfig, key_id, prompt_id};
use serde_json::{Value, json};

use super::harness::{Harness, harness, prompt, with};

const QUESTION: &str = "How do heat pumps work in old houses?";

fn message(text: &str) -> Value {
    json!({"model": "mock-small", "max_tokens": 1000, "messages": [{"role": "user", "content": text}]})
}

fn streamed(text: &str) -> Value {
    with(message(text), &json!({"stream": true}))
}

async fn sent(harness: &Harness, body: &Value) -> (u16, String) {
    let response = harness.post_message(body).send().await.expect("a response");
    let status = response.status().as_u16();
    (status, response.text().await.expect("a complete body"))
}

async fn whole(harness: &Harness, body: &Value) -> Value {
    serde_json::from_str(&sent(harness, body).await.1).expect("JSON")
}

/// The data of all events of a stream, each of which is named as its data is.
fn events(stream: &str) -> Vec<Value> {
    let event = |frame: &str| {
        let (name, data) = frame.split_once('\n').expect("two lines");
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str(), "{frame}");
        data
    };
    stream.split_terminator("\n\n").map(event).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    kinds.dedup();
    kinds
}

/// The text of all pieces of a stream, which stand in this field of their deltas.
fn joined(events: &[Value], field: &str) -> String {
    events
        .iter()
        .filter_map(|event| event["delta"][field].as_str())
        .collect()
}

#[tokio::test]
async fn a_stream_has_anthropics_shape() {
    let harness = harness(MockConfig::default()).await;
    let response = harness
        .post_message(&streamed(QUESTION))
        .send()
        .await
        .expect("a response");
    assert!(response.headers().contains_key("request-id"));
    let text = response.text().await.expect("a body");
    let events = events(&text);
    assert_eq!(
        kinds(&events),
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    let start = &events[0]["message"];
    assert_eq!(
        (
            &start["role"],
            &start["model"],
            &start["content"],
            &start["stop_reason"]
        ),
        (
            &json!("assistant"),
            &json!("mock-small"),
            &json!([]),
            &Value::Null
        )
    );
    // 37 characters are ten tokens, and the message costs four.
    assert_eq!(
        start["usage"],
        json!({"input_tokens": 14, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "output_tokens": 1, "service_tier": "standard"})
    );
    let delta = events
        .iter()
        .find(|event| event["type"] == "message_delta")
        .expect("a delta");
    assert_eq!(
        delta["delta"],
        json!({"stop_reason": "end_turn", "stop_sequence": null})
    );
    let pieces = kinds_count(&events, "content_block_delta");
    assert_eq!(delta["usage"], json!({"output_tokens": pieces}));
    harness.mock.stop().await;
}

fn kinds_count(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|event| event["type"] == kind).count()
}

#[tokio::test]
async fn both_dialects_give_the_same_answer_to_the_same_prompt() {
    let tick = Duration::from_micros(100);
    let latency = Latency {
        first_token: tick,
        per_token: tick,
        tail: 0.5,
    };
    for latency in [Latency::default(), latency] {
        let harness = harness(MockConfig {
            latency,
            ..MockConfig::default()
        })
        .await;
        let mut chat = prompt(QUESTION);
        let system = json!({"role": "system", "content": "Be brief."});
        chat["messages"]
            .as_array_mut()
            .expect("messages")
            .insert(0, system);
        let answered = harness.json(&chat).await;
        let text = answered["choices"][0]["message"]["content"]
            .as_str()
            .expect("content");
        assert!(text.contains(&prompt_id(&chat["messages"])[..8]));
        let blocks = json!([{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]);
        for system in [json!("Be brief."), blocks] {
            let body = with(message(QUESTION), &json!({"system": system}));
            let made = whole(&harness, &body).await;
            assert_eq!(made["content"], json!([{"type": "text", "text": text}]));
            assert_eq!(made["usage"]["input_tokens"], answered["usage"]["prompt_tokens"]);
            assert_eq!(
                made["usage"]["output_tokens"],
                answered["usage"]["completion_tokens"]
            );
            let (_, stream) = sent(&harness, &with(body, &json!({"stream": true}))).await;
            assert_eq!(joined(&events(&stream), "text"), text);
        }
    }
}

#[tokio::test]
async fn a_form_is_asked_for_by_output_config_or_a_forced_tool() {
    let harness = harness(MockConfig::default()).await;
    let schema = json!({"type": "object", "required": ["title", "count"],
        "properties": {"title": {"type": "string"}, "count": {"type": "integer"}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let chat = with(prompt(QUESTION), &json!({"response_format": format}));
    let answered = harness.json(&chat).await;
    let text = answered["choices"][0]["message"]["content"]
        .as_str()
        .expect("content");
    let expected: Value = serde_json::from_str(text).expect("JSON");

    let config = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
    let made = whole(&harness, &with(message(QUESTION), &config)).await;
    assert_eq!(
        (&made["content"], &made["stop_reason"]),
        (&json!([{"type": "text", "text": text}]), &json!("end_turn"))
    );

    let tool = json!({"tools": [{"name": "give", "description": "d", "input_schema": schema}],
        "tool_choice": {"type": "tool", "name": "give"}});
    let made = whole(&harness, &with(message(QUESTION), &tool)).await;
    let block = &made["content"][0];
    assert_eq!(
        (
            &block["type"],
            &block["name"],
            &block["input"],
            &made["stop_reason"]
        ),
        (&json!("tool_use"), &json!("give"), &expected, &json!("tool_use"))
    );
    let (_, stream) = sent(&harness, &with(streamed(QUESTION), &tool)).await;
    let events = events(&stream);
    assert_eq!(events[1]["content_block"]["name"], "give");
    let input: Value = serde_json::from_str(&joined(&events, "partial_json")).expect("JSON");
    assert_eq!(input, expected);

    // A tool that may be used is not.
    let free = with(message(QUESTION), &json!({"tools": tool["tools"]}));
    assert_eq!(whole(&harness, &free).await["content"][0]["type"], "text");
}

#[tokio::test]
async fn a_limit_cuts_the_answer_and_says_so() {
    let harness = harness(MockConfig {
        answer_tokens: 50,
        ..MockConfig::default()
    })
    .await;
    let short = json!({"max_tokens": 9});
    let cut = whole(&harness, &with(message(QUESTION), &short)).await;
    assert_eq!(
        (&cut["stop_reason"], &cut["usage"]["output_tokens"]),
        (&json!("max_tokens"), &json!(9))
    );
    let schema =
        json!({"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}});
    let tool = json!({"max_tokens": 2, "tools": [{"name": "give", "input_schema": schema}],
        "tool_choice": {"type": "any"}});
    let cut = whole(&harness, &with(message(QUESTION), &tool)).await;
    assert_eq!(
        (&cut["stop_reason"], &cut["content"][0]["input"]),
        (&json!("max_tokens"), &json!({}))
    );
}

#[tokio::test]
async fn the_first_call_writes_the_cache_and_later_ones_read_it() {
    let harness = harness(MockConfig::default()).await;
    let long = "word ".repeat(2000);
    let block = json!({"type": "text", "text": long, "cache_control": {"type": "ephemeral"}});
    let body = with(message(QUESTION), &json!({"system": [block]}));
    let mut seen = Vec::new();
    for _ in 0..3 {
        let usage = whole(&harness, &body).await["usage"].clone();
        let tokens = |name: &str| usage[name].as_u64().expect("a number");
        seen.push((
            tokens("input_tokens"),
            tokens("cache_creation_input_tokens"),
            tokens("cache_read_input_tokens"),
        ));
    }
    // 10,000 characters are 2,500 tokens.
    assert_eq!(seen, [(18, 2500, 0), (18, 0, 2500), (18, 0, 2500)]);
}

#[tokio::test]
async fn refusals_have_anthropics_form() {
    for (faults, status, kind) in [
        (
            Faults {
                rate_limited: 1.0,
                ..Faults::default()
            },
            429,
            "rate_limit_error",
        ),
        (
            Faults {
                overloaded: 1.0,
                ..Faults::default()
            },
            529,
            "overloaded_error",
        ),
    ] {
        let harness = harness(MockConfig {
            faults,
            rpm: Some(10),
            retry_after: Some(Duration::from_secs(2)),
            ..MockConfig::default()
        })
        .await;
        let response = harness
            .post_message(&streamed(QUESTION))
            .send()
            .await
            .expect("a response");
        let headers = response.headers().clone();
        assert_eq!(response.status(), status);
        assert!(headers.contains_key("request-id"));
        if status == 429 {
            assert_eq!(headers["retry-after"], "2");
            assert_eq!(headers["anthropic-ratelimit-requests-limit"], "10");
            let reset = headers["anthropic-ratelimit-requests-reset"]
                .to_str()
                .expect("text");
            assert!(reset.parse::<jiff::Timestamp>().is_ok(), "{reset}");
        }
        let error: Value = response.text().await.expect("a body").parse().expect("JSON");
        assert_eq!(
            (&error["type"], &error["error"]["type"]),
            (&json!("error"), &json!(kind))
        );
    }
    let harness = harness(MockConfig {
        faults: Faults {
            overloaded: 1.0,
            ..Faults::default()
        },
        ..MockConfig::default()
    })
    .await;
    let (status, text) = harness.ask(&prompt(QUESTION)).await;
    assert!(status == 503 && text.contains("server_is_overloaded"), "{text}");
}

#[tokio::test]
async fn wrong_requests_get_anthropics_errors() {
    let harness = harness(MockConfig::default()).await;
    for (body, words) in [
        (json!({"messages": []}), "max_tokens: Field required"),
        (json!([1]), "not valid"),
        (
            with(message("a"), &json!({"seed": 1})),
            "seed: Extra inputs are not permitted",
        ),
    ] {
        let (status, text) = sent(&harness, &body).await;
        let error: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (status, &error["error"]["type"]),
            (400, &json!("invalid_request_error"))
        );
        assert!(text.contains(words), "{text}");
    }
}

#[tokio::test]
async fn the_right_key_and_the_version_open() {
    let harness = harness(MockConfig {
        api_key: Some("secret".into()),
        ..MockConfig::default()
    })
    .await;
    let post = || harness.post_message(&message("Hello"));
    for wrong in [
        post(),
        post().header("x-api-key", "guess"),
        post().bearer_auth("secret"),
    ] {
        let response = wrong.send().await.expect("a response");
        assert_eq!(response.status(), 401);
        assert!(
            response
                .text()
                .await
                .expect("a body")
                .contains("authentication_error")
        );
    }
    let right = post()
        .header("x-api-key", "secret")
        .send()
        .await
        .expect("a response");
    assert_eq!(right.status(), 200);
    let url = format!("{}/messages", harness.mock.base_url());
    let unversioned = harness.client.post(url).header("x-api-key", "secret");
    let unversioned = unversioned
        .body(message("Hello").to_string())
        .send()
        .await
        .expect("a response");
    assert_eq!(unversioned.status(), 400);
    assert!(
        unversioned
            .text()
            .await
            .expect("a body")
            .contains("anthropic-version")
    );
}

#[tokio::test]
async fn faults_strike_in_the_middle_of_a_stream() {
    let sound = harness(MockConfig::default()).await;
    let text = joined(&events(&sent(&sound, &streamed(QUESTION)).await.1), "text");
    for (faults, end) in [
        (
            Faults {
                truncate: 1.0,
                ..Faults::default()
            },
            "content_block_delta",
        ),
        (
            Faults {
                error_in_stream: 1.0,
                ..Faults::default()
            },
            "error",
        ),
    ] {
        let harness = harness(MockConfig {
            faults,
            ..MockConfig::default()
        })
        .await;
        let (status, stream) = sent(&harness, &streamed(QUESTION)).await;
        let events = events(&stream);
        let last = events.last().expect("events");
        assert_eq!((status, &last["type"]), (200, &json!(end)));
        if end == "error" {
            assert_eq!(last["error"]["type"], "overloaded_error");
        }
        let half = joined(&events, "text");
        assert!(!half.is_empty() && text.starts_with(&half) && half != text);
    }
}

#[tokio::test]
async fn the_log_shows_extra_fields_and_no_value_of_a_header() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("calls.jsonl");
    let harness = harness(MockConfig {
        log: Some(log.clone()),
        ..MockConfig::default()
    })
    .await;
    let extra = json!({"service_tier": "flex", "thinking": {"type": "disabled"}});
    let response = harness
        .post_message(&with(message("Hello"), &extra))
        .header("x-tenant", "planted")
        .send()
        .await
        .expect("a response");
    assert_eq!(response.status(), 200);
    assert_eq!(harness.ask(&prompt("Hello")).await.0, 200);
    harness.mock.stop().await;
    let text = std::fs::read_to_string(&log).expect("a log");
    assert!(!text.contains("planted"));
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|line: &Value| line["event"] == "start")
        .collect();
    assert_eq!(lines[0]["fields"], extra);
    assert_eq!(lines[0]["headers"], json!({"x-tenant": key_id("planted")}));
    assert_eq!(
        (&lines[1]["fields"], &lines[1]["headers"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(lines[0]["prompt"], lines[1]["prompt"]);
}
