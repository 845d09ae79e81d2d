//! Tests the failures of a link: each is recorded with its cause, and the next link is asked.

use nova3::search::FailureKind;
use serde_json::json;

use super::harness::{attempts_of, items, provider, search, setup, titles};
use super::server::{Reply, Server};

/// Returns the failures: a name, the reply of the server, the kind, and the number of tries.
fn failures() -> Vec<(&'static str, Reply, FailureKind, u32)> {
    let mut all = refusals();
    all.extend(broken_answers());
    all
}

/// Failures that a status, a code or a lost connection shows.
fn refusals() -> Vec<(&'static str, Reply, FailureKind, u32)> {
    let code = |code: i64| Reply::json(&json!({"code": code, "message": "no luck", "items": []}));
    vec![
        ("hang", Reply::Hang, FailureKind::Timeout, 3),
        ("cut", Reply::Cut, FailureKind::Network, 3),
        (
            "silence within the answer",
            Reply::Stall(br#"{"code": 0, "items": ["#.to_vec()),
            FailureKind::Timeout,
            3,
        ),
        (
            "cut within the answer",
            Reply::CutWithin(br#"{"code": 0, "items": ["#.to_vec()),
            FailureKind::Network,
            3,
        ),
        (
            "503",
            Reply::status(503, &json!({"message": "busy"})),
            FailureKind::Server,
            3,
        ),
        (
            "503 with a long pause",
            Reply::with_header(503, "retry-after", "60"),
            FailureKind::Server,
            1,
        ),
        (
            "429 with a short pause",
            Reply::with_header(429, "retry-after", "0.01"),
            FailureKind::Limited,
            3,
        ),
        (
            "429 with a long pause",
            Reply::with_header(429, "retry-after", "3600"),
            FailureKind::Limited,
            1,
        ),
        (
            "429 without a pause",
            Reply::status(429, &json!({})),
            FailureKind::Limited,
            1,
        ),
        (
            "401",
            Reply::status(401, &json!({"message": "bad key"})),
            FailureKind::Terminal,
            1,
        ),
        ("400", Reply::status(400, &json!({})), FailureKind::Refused, 1),
        ("a terminal code in 200", code(601), FailureKind::Terminal, 1),
        ("a limiting code in 200", code(302), FailureKind::Limited, 1),
        ("a retryable code in 200", code(301), FailureKind::Server, 3),
        ("another code in 200", code(7), FailureKind::Refused, 1),
    ]
}

/// Answers that are not what the provider's file describes.
fn broken_answers() -> Vec<(&'static str, Reply, FailureKind, u32)> {
    let raw = |body: &[u8]| Reply::Say(200, String::new(), body.to_vec());
    let redirect = |to: &str| Reply::with_header(302, "location", to);
    vec![
        (
            "no JSON",
            raw(b"<html>a gateway</html>"),
            FailureKind::Malformed,
            3,
        ),
        (
            "half of it",
            raw(br#"{"code": 0, "items": [{"title": "#),
            FailureKind::Malformed,
            3,
        ),
        ("nothing", raw(b""), FailureKind::Malformed, 3),
        ("no text", raw(b"\xff\xfe\x00\x01"), FailureKind::Malformed, 3),
        ("deep", raw(&[b'['; 100_000]), FailureKind::Malformed, 3),
        ("huge", raw(&vec![b' '; (4 << 20) + 1]), FailureKind::TooLarge, 1),
        (
            "huge after unpacking",
            Reply::Say(
                200,
                "content-encoding: gzip\r\n".to_owned(),
                include_bytes!("bomb.gz").to_vec(),
            ),
            FailureKind::TooLarge,
            1,
        ),
        (
            "empty",
            Reply::json(&json!({"code": 0, "items": []})),
            FailureKind::Empty,
            1,
        ),
        (
            "items without text",
            Reply::json(&json!({"code": 0, "items": [{"title": " "}, 7, null]})),
            FailureKind::Empty,
            1,
        ),
        (
            "to a private address",
            redirect("http://169.254.169.254/latest/"),
            FailureKind::Redirected,
            1,
        ),
        (
            "to no address",
            Reply::status(302, &json!({})),
            FailureKind::Redirected,
            1,
        ),
    ]
}

/// Only a server that never answers is to meet its timeout, also on a busy machine.
fn timeout_for(kind: FailureKind) -> &'static str {
    if kind == FailureKind::Timeout {
        "timeout = \"150ms\""
    } else {
        "timeout = \"30s\""
    }
}

#[tokio::test]
async fn the_next_link_is_asked_after_each_failure() {
    for (name, reply, kind, tries) in failures() {
        let timeout = timeout_for(kind);
        let good = Server::always(items("from two"));
        let bad = Server::always(reply);
        let searcher = setup(&["one", "two", "cached", "default"])
            .file("one.toml", &provider("one", &bad.origin(), timeout))
            .provider("two", &good)
            .searcher();
        let outcome = search(&searcher).await.unwrap();
        assert_eq!(
            attempts_of(&outcome),
            [("one", tries, Some(kind)), ("two", 1, None)],
            "{name}: {:?}",
            outcome.attempts
        );
        assert_eq!(
            (
                outcome.provider.as_str(),
                outcome.degraded,
                outcome.looked_up,
                outcome.age
            ),
            ("two", true, true, None),
            "{name}"
        );
        assert_eq!(titles(&outcome), ["from two"], "{name}");
        assert_eq!(bad.calls().len(), tries as usize, "{name}");
    }
}

/// Two links fail, the second in another way than the first. The outcome names the link that answered in fact.
#[tokio::test]
async fn after_two_different_failures_the_material_answers() {
    let failures = failures();
    for (place, (name, reply, kind, tries)) in failures.iter().enumerate() {
        let (_, other_reply, other_kind, other_tries) = &failures[(place + 7) % failures.len()];
        let first = Server::always(reply.clone());
        let second = Server::always(other_reply.clone());
        let file = |name: &str, server: &Server, kind| provider(name, &server.origin(), timeout_for(kind));
        let searcher = setup(&["one", "two", "cached", "default"])
            .file("one.toml", &file("one", &first, *kind))
            .file("two.toml", &file("two", &second, *other_kind))
            .searcher();
        let outcome = search(&searcher).await.unwrap();
        assert_eq!(
            attempts_of(&outcome),
            [
                ("one", *tries, Some(*kind)),
                ("two", *other_tries, Some(*other_kind)),
                ("cached", 0, Some(FailureKind::Empty)),
                ("default", 0, None),
            ],
            "{name}: {:?}",
            outcome.attempts
        );
        assert_eq!(
            (
                outcome.provider.as_str(),
                outcome.found_by,
                outcome.degraded,
                outcome.looked_up
            ),
            ("default", None, true, false),
            "{name}"
        );
    }
}

/// A provider that answered once and fails later: its earlier answer is returned, with the provider that found it.
#[tokio::test]
async fn the_earlier_answer_is_returned_after_each_failure() {
    for (name, reply, kind, _) in failures() {
        let server = Server::start(move |_, number| {
            if number == 0 {
                items("found before")
            } else {
                reply.clone()
            }
        });
        let searcher = setup(&["one", "cached", "default"])
            .file("one.toml", &provider("one", &server.origin(), "timeout = \"2s\""))
            .search("fresh = \"0s\"\nretries = 0")
            .searcher();
        search(&searcher).await.unwrap();
        let outcome = search(&searcher).await.unwrap();
        assert_eq!(
            outcome.attempts[0].failure.as_ref().map(|failure| failure.kind),
            Some(kind),
            "{name}"
        );
        assert_eq!(
            (
                outcome.provider.as_str(),
                outcome.found_by.as_deref(),
                outcome.degraded,
                outcome.looked_up
            ),
            ("cached", Some("one"), true, true),
            "{name}"
        );
        assert_eq!(titles(&outcome), ["found before"], "{name}");
    }
}

#[tokio::test]
async fn default_material_is_labelled_when_all_providers_fail() {
    let bad = Server::always(Reply::status(500, &json!({"message": "out of order"})));
    let searcher = setup(&["one", "two", "cached", "default"])
        .provider("one", &bad)
        .provider("two", &bad)
        .searcher();
    let outcome = search(&searcher).await.unwrap();
    assert_eq!(
        attempts_of(&outcome),
        [
            ("one", 3, Some(FailureKind::Server)),
            ("two", 3, Some(FailureKind::Server)),
            ("cached", 0, Some(FailureKind::Empty)),
            ("default", 0, None),
        ]
    );
    assert_eq!(
        (outcome.provider.as_str(), outcome.degraded, outcome.looked_up),
        ("default", true, false)
    );
    assert!(
        outcome.items[0].text.contains("No search provider answered"),
        "{:?}",
        outcome.items
    );
    assert_eq!(outcome.items[0].url, None);
}

#[tokio::test]
async fn the_error_of_a_chain_names_every_cause() {
    let bad = Server::always(Reply::status(
        500,
        &json!({"message": "out <b>of</b> order\u{1b}[31m"}),
    ));
    let unused = Server::always(items("never asked"));
    let keyed = provider("two", &unused.origin(), r#"key_env = "TWO_KEY""#).replace(
        "[query]",
        "[headers]\nauthorization = \"Bearer {{ key }}\"\n[query]",
    );
    let searcher = setup(&["one", "two"])
        .provider("one", &bad)
        .file("two.toml", &keyed)
        .searcher();
    let error = search(&searcher).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no search provider answered (`one`: HTTP 500: out of order[31m; `two`: it has no key \
         (set the variable `TWO_KEY`))"
    );
    assert!(unused.calls().is_empty());
}

#[tokio::test]
async fn a_refused_connection_is_a_network_failure() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let good = Server::always(items("from two"));
    let searcher = setup(&["one", "two"])
        .file("one.toml", &provider("one", &origin, ""))
        .provider("two", &good)
        .searcher();
    let outcome = search(&searcher).await.unwrap();
    assert_eq!(
        attempts_of(&outcome),
        [("one", 3, Some(FailureKind::Network)), ("two", 1, None)]
    );
    let message = &outcome.attempts[0].failure.as_ref().unwrap().message;
    assert!(
        message.starts_with("`127.0.0.1` cannot be reached: "),
        "{message}"
    );
    assert!(!message.contains("q="), "{message}");
}

#[tokio::test]
async fn the_cost_of_a_failed_link_is_counted() {
    let empty = Server::always(Reply::json(&json!({"code": 0, "items": []})));
    let refused = Server::always(Reply::status(503, &json!({})));
    let good = Server::always(items("from three"));
    let searcher = setup(&["one", "two", "three"])
        .provider("one", &empty)
        .provider("two", &refused)
        .provider("three", &good)
        .searcher();
    let outcome = search(&searcher).await.unwrap();
    let costs: Vec<f64> = outcome
        .attempts
        .iter()
        .map(|attempt| attempt.cost.usd())
        .collect();
    assert_eq!(costs, [0.25, 0.0, 0.25]);
    assert_eq!(format!("{:.2}", outcome.cost.usd()), "0.50");
}
