//! Every fault, byte by byte.

use std::time::Duration;

use nova3::mock::{Faults, MockConfig};
use serde_json::Value;

use super::harness::{Harness, content, frames, harness, prompt, streamed};

const QUESTION: &str = "Explain tides on the coast";

async fn always(faults: Faults) -> Harness {
    harness(MockConfig {
        faults,
        ..MockConfig::default()
    })
    .await
}

async fn outcomes(harness: Harness) -> Vec<(&'static str, u64)> {
    let outcomes = harness.mock.stats().outcomes;
    harness.mock.stop().await;
    outcomes.into_iter().collect()
}

/// Returns the answers of a server without faults.
async fn sound() -> (String, String) {
    let harness = always(Faults::default()).await;
    let whole = harness.ask(&prompt(QUESTION)).await.1;
    (content(&harness.ask(&streamed(QUESTION)).await.1), whole)
}

#[tokio::test]
async fn rate_limited_names_the_wait() {
    let faults = Faults {
        rate_limited: 1.0,
        ..Faults::default()
    };
    for (retry_after, seconds, ms) in [
        (None, "1", "1000"),
        (Some(Duration::from_millis(1250)), "2", "1250"),
    ] {
        let harness = harness(MockConfig {
            faults,
            retry_after,
            ..MockConfig::default()
        })
        .await;
        let response = harness
            .post(&streamed(QUESTION))
            .send()
            .await
            .expect("a response");
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], seconds);
        assert_eq!(response.headers()["retry-after-ms"], ms);
        assert!(
            response
                .text()
                .await
                .expect("a body")
                .contains("\"code\":\"rate_limit_exceeded\"")
        );
        assert_eq!(outcomes(harness).await, [("rate_limited", 1)]);
    }
}

#[tokio::test]
async fn server_errors_have_two_faces() {
    let harness = always(Faults {
        server_error: 1.0,
        ..Faults::default()
    })
    .await;
    let (mut json, mut page) = (0, 0);
    for _ in 0..40 {
        match harness.ask(&prompt(QUESTION)).await {
            (500, text) if text.contains("\"type\":\"server_error\"") => json += 1,
            (503, text) if text.starts_with("<html>") => page += 1,
            other => panic!("expected a server error, got {other:?}"),
        }
    }
    assert!(json > page && page > 0, "{json} JSON, {page} HTML");
    assert_eq!(outcomes(harness).await, [("server_error", 40)]);
}

#[tokio::test]
async fn a_disconnect_breaks_the_answer_or_comes_before_it() {
    let (text, _) = sound().await;
    let harness = always(Faults {
        disconnect: 1.0,
        ..Faults::default()
    })
    .await;
    let (mut broken, mut silent) = (0, 0);
    for _ in 0..30 {
        let (got, clean) = harness.ask_until_cut(&streamed(QUESTION)).await;
        assert!(!clean && !got.contains("[DONE]"), "{got}");
        if got.is_empty() {
            silent += 1;
        } else {
            broken += 1;
            let half = content(&got);
            assert!(
                !half.is_empty() && text.starts_with(&half) && half != text,
                "{half}"
            );
        }
    }
    assert!(broken > silent && silent > 0, "{broken} broken, {silent} silent");
    let (got, clean) = harness.ask_until_cut(&prompt(QUESTION)).await;
    assert!(!clean && serde_json::from_str::<Value>(&got).is_err());
    // A client may have sent a call again on a fresh connection, so the count is a lower bound.
    assert!(matches!(outcomes(harness).await[..], [("disconnect", calls)] if calls >= 31));
}

#[tokio::test]
async fn a_truncated_answer_ends_cleanly_without_an_end() {
    let (text, whole) = sound().await;
    let harness = always(Faults {
        truncate: 1.0,
        ..Faults::default()
    })
    .await;
    let (got, clean) = harness.ask_until_cut(&streamed(QUESTION)).await;
    let half = content(&got);
    assert!(clean && got.ends_with("}\n\n") && !got.contains("[DONE]") && !got.contains("\"stop\""));
    assert!(!half.is_empty() && text.starts_with(&half) && half != text);
    let (got, clean) = harness.ask_until_cut(&prompt(QUESTION)).await;
    assert!(clean && serde_json::from_str::<Value>(&got).is_err() && whole.len() / 2 == got.len());
    assert_eq!(outcomes(harness).await, [("truncate", 2)]);
}

#[tokio::test]
async fn a_stall_sends_half_and_lasts_until_the_client_leaves() {
    let harness = always(Faults {
        stall: 1.0,
        ..Faults::default()
    })
    .await;
    for (body, end) in [(streamed(QUESTION), "\n\n"), (prompt(QUESTION), "")] {
        let mut response = harness.post(&body).send().await.expect("a response");
        let mut half = Vec::new();
        while half.is_empty() || !half.ends_with(end.as_bytes()) {
            half.extend(response.chunk().await.expect("no error").expect("no end"));
        }
        assert!(!half.ends_with(b"[DONE]\n\n"));
        assert_eq!(harness.mock.stats().in_flight.now, 1);
        drop(response);
        harness.until(|stats| stats.in_flight.now == 0).await;
    }
    assert_eq!(outcomes(harness).await, [("stall", 2)]);
}

#[tokio::test]
async fn the_stop_of_the_server_ends_a_stall() {
    let harness = always(Faults {
        stall: 1.0,
        ..Faults::default()
    })
    .await;
    let mut response = harness
        .post(&streamed(QUESTION))
        .send()
        .await
        .expect("a response");
    assert!(response.chunk().await.expect("no error").is_some());
    harness.mock.stop().await;
    let end = loop {
        match response.chunk().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(end.is_err(), "expected a cut connection, got a clean end");
}

#[tokio::test]
async fn garbage_takes_the_place_of_json() {
    let (text, _) = sound().await;
    let harness = always(Faults {
        garbage: 1.0,
        ..Faults::default()
    })
    .await;
    let (status, stream) = harness.ask(&streamed(QUESTION)).await;
    let data = frames(&stream);
    let bad: Vec<_> = data
        .iter()
        .filter(|data| serde_json::from_str::<Value>(data).is_err())
        .collect();
    assert_eq!((status, bad.len(), data.last()), (200, 2, Some(&"[DONE]")));
    assert_ne!(content(&stream), text, "a piece is lost");
    let (status, body) = harness.ask(&prompt(QUESTION)).await;
    assert!(status == 200 && serde_json::from_str::<Value>(&body).is_err());
    assert_eq!(outcomes(harness).await, [("garbage", 2)]);
}

#[tokio::test]
async fn an_error_may_come_with_status_200() {
    let harness = always(Faults {
        error_in_stream: 1.0,
        ..Faults::default()
    })
    .await;
    let (status, stream) = harness.ask(&streamed(QUESTION)).await;
    let last: Value = serde_json::from_str(frames(&stream).last().expect("frames")).expect("JSON");
    assert_eq!(
        (status, &last["error"]["type"]),
        (200, &Value::from("server_error"))
    );
    assert!(!content(&stream).is_empty());
    let (status, body) = harness.ask(&prompt(QUESTION)).await;
    assert!(status == 200 && body.starts_with("{\"error\":"), "{body}");
    assert_eq!(outcomes(harness).await, [("error_in_stream", 2)]);
}
