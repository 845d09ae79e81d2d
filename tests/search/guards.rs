//! Tests the retries, pauses, breaker, latch and limits of one link.

use std::time::{Duration, Instant};

use nova3::search::FailureKind;
use serde_json::json;

use super::harness::{attempts_of, items, provider, query, search, setup};
use super::server::{Reply, Server};

fn failing_first(reply: Reply) -> Server {
    Server::start(move |_, number| {
        if number == 0 {
            reply.clone()
        } else {
            items("found")
        }
    })
}

#[tokio::test]
async fn a_retry_that_succeeds_is_not_degraded() {
    let server = failing_first(Reply::status(502, &json!({})));
    let outcome = search(&setup(&["one", "default"]).provider("one", &server).searcher())
        .await
        .unwrap();
    assert_eq!(attempts_of(&outcome), [("one", 2, None)]);
    assert_eq!(
        (outcome.degraded, outcome.cost.usd().to_string()),
        (false, "0.25".to_owned())
    );
}

#[tokio::test]
async fn a_retry_waits_for_retry_after() {
    for status in [429, 503] {
        let server = failing_first(Reply::with_header(status, "retry-after", "0.25"));
        let searcher = setup(&["one"]).provider("one", &server).searcher();
        let began = Instant::now();
        let outcome = search(&searcher).await.unwrap();
        assert_eq!(attempts_of(&outcome), [("one", 2, None)]);
        assert!(began.elapsed() >= Duration::from_millis(250), "{status}");
    }
}

#[tokio::test]
async fn a_long_pause_applies_to_later_searches() {
    let server = failing_first(Reply::with_header(429, "retry-after", "3600"));
    let searcher = setup(&["one", "default"]).provider("one", &server).searcher();
    for tries in [1, 0, 0] {
        let outcome = search(&searcher).await.unwrap();
        assert_eq!(
            attempts_of(&outcome)[0],
            ("one", tries, Some(FailureKind::Limited))
        );
    }
    assert_eq!(server.calls().len(), 1);
}

#[tokio::test]
async fn failures_in_a_row_open_the_breaker() {
    let server = Server::always(Reply::status(500, &json!({"message": "ill"})));
    let searcher = setup(&["one", "default"])
        .provider("one", &server)
        .search("retries = 0")
        .sections("[breaker]\nfailures = 2\nopen = \"1h\"\n")
        .searcher();
    for expected in [
        ("one", 1, Some(FailureKind::Server)),
        ("one", 1, Some(FailureKind::Server)),
        ("one", 0, Some(FailureKind::Open)),
    ] {
        let outcome = search(&searcher).await.unwrap();
        assert_eq!(attempts_of(&outcome)[0], expected);
    }
    let outcome = search(&searcher).await.unwrap();
    let message = &outcome.attempts[0].failure.as_ref().unwrap().message;
    assert_eq!(
        message,
        "it failed several times in a row; the last failure: HTTP 500: ill"
    );
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn one_request_probes_an_open_breaker_when_its_time_is_over() {
    let server = failing_first(Reply::status(500, &json!({})));
    let searcher = setup(&["one", "default"])
        .provider("one", &server)
        .search("retries = 0")
        .sections("[breaker]\nfailures = 1\nopen = \"0s\"\n")
        .searcher();
    assert_eq!(search(&searcher).await.unwrap().provider, "default");
    assert_eq!(search(&searcher).await.unwrap().provider, "one");
}

#[tokio::test]
async fn a_terminal_code_latches_the_provider_and_is_reported_once() {
    let server = failing_first(Reply::json(&json!({"code": 601, "message": "no balance"})));
    let searcher = setup(&["one", "default"]).provider("one", &server).searcher();
    assert!(searcher.take_warnings().is_empty());
    for tries in [1, 0, 0] {
        let outcome = search(&searcher).await.unwrap();
        assert_eq!(
            attempts_of(&outcome)[0],
            ("one", tries, Some(FailureKind::Terminal))
        );
        let message = &outcome.attempts[0].failure.as_ref().unwrap().message;
        assert!(message.ends_with("HTTP 200, code 601: no balance"), "{message}");
    }
    assert_eq!(
        searcher.take_warnings(),
        ["search provider `one`: this process does not ask it again: HTTP 200, code 601: no balance"]
    );
    assert!(searcher.take_warnings().is_empty());
    assert_eq!(server.calls().len(), 1);
}

#[tokio::test]
async fn requests_a_minute_are_kept() {
    let server = Server::always(items("found"));
    let searcher = setup(&["one"])
        .file("one.toml", &provider("one", &server.origin(), "rpm = 1"))
        .searcher();
    searcher.search(&query("first")).await.unwrap();
    let second = query("second");
    let waiting = tokio::time::timeout(Duration::from_millis(100), searcher.search(&second));
    assert!(waiting.await.is_err());
    assert_eq!(server.calls().len(), 1);
}
