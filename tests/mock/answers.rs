//! Answers without faults.

use std::time::Duration;

use nova3::mock::{Latency, MockConfig, prompt_id};
use serde_json::{Value, json};

use super::harness::{content, frames, harness, prompt, streamed, with};

#[tokio::test]
async fn a_stream_has_openais_shape() {
    let harness = harness(MockConfig::default()).await;
    let body = streamed("How do heat pumps work in old houses?");
    let response = harness.post(&body).send().await.expect("a response");
    assert_eq!(
        response.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    assert!(response.headers().contains_key("x-request-id"));
    let text = response.text().await.expect("a body");
    let mut data = frames(&text);
    assert_eq!(data.pop(), Some("[DONE]"));
    let chunks: Vec<Value> = data
        .iter()
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    let (usage, chunks) = chunks.split_last().expect("chunks");
    let (finish, chunks) = chunks.split_last().expect("chunks");
    let (role, pieces) = chunks.split_first().expect("chunks");

    assert_eq!(
        role["choices"][0]["delta"],
        json!({"role": "assistant", "content": "", "refusal": null})
    );
    assert_eq!(finish["choices"][0]["delta"], json!({}));
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], pieces.len());
    // 37 characters are ten tokens, and the message costs four.
    assert_eq!(usage["usage"]["prompt_tokens"], 14);
    assert_eq!(usage["usage"]["total_tokens"], 14 + pieces.len());
    for chunk in pieces.iter().chain([role, finish]) {
        assert_eq!(chunk["usage"], Value::Null);
        assert!(chunk.as_object().expect("an object").contains_key("usage"));
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(
            (&chunk["id"], &chunk["model"]),
            (&usage["id"], &json!("mock-small"))
        );
    }
    let marker = format!("[mock {}]", &prompt_id(&body["messages"])[..8]);
    assert!(content(&text).ends_with(&marker), "{}", content(&text));
    harness.mock.stop().await;
}

#[tokio::test]
async fn without_include_usage_no_chunk_speaks_of_it() {
    let harness = harness(MockConfig::default()).await;
    let (_, text) = harness
        .ask(&with(prompt("Hello"), &json!({ "stream": true })))
        .await;
    assert!(
        !text.contains("usage") && text.ends_with("data: [DONE]\n\n"),
        "{text}"
    );
}

#[tokio::test]
async fn streams_and_whole_answers_agree_at_any_pace() {
    let calm = harness(MockConfig::default()).await;
    let tick = Duration::from_micros(100);
    let latency = Latency {
        first_token: tick,
        per_token: tick,
        tail: 0.5,
    };
    let slow = harness(MockConfig {
        latency,
        ..MockConfig::default()
    })
    .await;
    let question = "比较热泵与燃气锅炉，列出三点差异。";
    let whole = calm.json(&prompt(question)).await;
    let text = whole["choices"][0]["message"]["content"]
        .as_str()
        .expect("content")
        .to_owned();
    assert!(
        text.starts_with("关于“比较热泵与燃气锅炉，列出三点差异”"),
        "{text}"
    );
    assert_eq!(
        (&whole["object"], &whole["choices"][0]["finish_reason"]),
        (&json!("chat.completion"), &json!("stop"))
    );
    for harness in [&calm, &slow] {
        assert_eq!(content(&harness.ask(&streamed(question)).await.1), text);
        assert_eq!(harness.json(&prompt(question)).await["choices"], whole["choices"]);
    }
}

#[tokio::test]
async fn another_seed_or_prompt_gives_another_answer() {
    let (one, two) = (
        harness(MockConfig::default()).await,
        harness(MockConfig {
            seed: 2,
            ..Default::default()
        })
        .await,
    );
    let question = prompt("Why is the sky blue at noon and red at dusk?");
    let first = one.json(&question).await["choices"].clone();
    assert_eq!(first, one.json(&question).await["choices"]);
    assert_ne!(first, two.json(&question).await["choices"]);
    assert_ne!(
        first,
        one.json(&prompt("Why is grass green in spring and brown in autumn?"))
            .await["choices"]
    );
}

#[tokio::test]
async fn a_limit_cuts_the_answer_and_says_so() {
    let harness = harness(MockConfig {
        answer_tokens: 50,
        ..MockConfig::default()
    })
    .await;
    for field in ["max_tokens", "max_completion_tokens"] {
        let cut = harness
            .json(&with(prompt("Name a colour"), &json!({ (field): 9 })))
            .await;
        assert_eq!(cut["choices"][0]["finish_reason"], "length");
        assert_eq!(cut["usage"]["completion_tokens"], 9);
    }
    let whole = harness.json(&prompt("Name a colour")).await;
    let pieces = whole["usage"]["completion_tokens"].as_u64().expect("a number");
    assert!((48..=52).contains(&pieces), "expected about 50, got {pieces}");
}

#[tokio::test]
async fn a_schema_is_obeyed() {
    let harness = harness(MockConfig::default()).await;
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["title", "findings", "note"],
        "properties": {
            "title": {"type": "string", "maxLength": 20},
            "note": {"type": ["string", "null"]},
            "findings": {"type": "array", "minItems": 2, "maxItems": 4, "items": {"$ref": "#/$defs/finding"}}},
        "$defs": {"finding": {"type": "object", "required": ["claim", "weight", "kind", "date"], "properties": {
            "claim": {"type": "string", "minLength": 5},
            "weight": {"type": "number", "minimum": 0, "maximum": 1},
            "kind": {"enum": ["fact", "guess"]},
            "date": {"type": "string", "format": "date"}}}}});
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "report", "strict": true, "schema": schema}});
    let body = with(
        streamed("Compare heat pumps with gas boilers"),
        &json!({ "response_format": format }),
    );
    let text = content(&harness.ask(&body).await.1);
    let value: Value = serde_json::from_str(&text).expect("JSON");

    let mut names: Vec<_> = value.as_object().expect("an object").keys().collect();
    names.sort();
    assert_eq!(names, ["findings", "note", "title"]);
    assert!((1..=20).contains(&value["title"].as_str().expect("a title").chars().count()));
    assert!(
        value["note"]
            .as_str()
            .is_some_and(|note| note.contains("[mock ") || text.contains("[mock "))
    );
    let findings = value["findings"].as_array().expect("findings");
    assert!((2..=4).contains(&findings.len()));
    for finding in findings {
        assert!(finding["claim"].as_str().is_some_and(|claim| claim.len() >= 5));
        assert!((0.0..=1.0).contains(&finding["weight"].as_f64().expect("a weight")));
        assert!(finding["kind"] == "fact" || finding["kind"] == "guess");
        assert!(
            finding["date"]
                .as_str()
                .is_some_and(|date| date.starts_with("2026-01-"))
        );
    }
}

#[tokio::test]
async fn a_json_object_holds_the_answer() {
    let harness = harness(MockConfig::default()).await;
    let body = with(
        prompt("Say something"),
        &json!({"response_format": {"type": "json_object"}}),
    );
    let whole = harness.json(&body).await;
    let text = whole["choices"][0]["message"]["content"]
        .as_str()
        .expect("content");
    let value: Value = serde_json::from_str(text).expect("JSON");
    assert!(
        value["answer"]
            .as_str()
            .is_some_and(|answer| answer.contains("[mock "))
    );
}

#[tokio::test]
async fn wrong_requests_get_openais_errors() {
    let harness = harness(MockConfig::default()).await;
    for (body, status) in [
        (json!({"model": "m"}), 400),
        (json!([1]), 400),
        (json!({"messages": 1}), 400),
    ] {
        let (got, text) = harness.ask(&body).await;
        let error: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (got, &error["error"]["type"]),
            (status, &json!("invalid_request_error")),
            "{text}"
        );
    }
    let get = |path: &str| {
        harness
            .client
            .get(format!("http://{}{path}", harness.mock.addr()))
            .send()
    };
    let unknown = get("/v1/completions").await.expect("a response");
    assert_eq!(unknown.status(), 404);
    assert!(unknown.text().await.expect("a body").contains("unknown_url"));
    for path in ["/health", "/v1/models", "/mock/stats"] {
        assert_eq!(get(path).await.expect("a response").status(), 200, "{path}");
    }
}

#[tokio::test]
async fn only_the_right_key_opens() {
    let harness = harness(MockConfig {
        api_key: Some("secret".into()),
        ..MockConfig::default()
    })
    .await;
    let (status, text) = harness.ask(&prompt("Hello")).await;
    assert_eq!(status, 401);
    assert!(text.contains("\"code\":\"invalid_api_key\""), "{text}");
    let wrong = harness
        .post(&prompt("Hello"))
        .bearer_auth("guess")
        .send()
        .await
        .expect("a response");
    assert_eq!(wrong.status(), 401);
    let right = harness
        .post(&prompt("Hello"))
        .bearer_auth("secret")
        .send()
        .await
        .expect("a response");
    assert_eq!(right.status(), 200);
    assert_eq!(
        harness.mock.stats().outcomes.into_iter().collect::<Vec<_>>(),
        [("ok", 1), ("unauthorized", 2)]
    );
}
