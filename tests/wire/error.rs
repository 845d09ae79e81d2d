//! The table of statuses and codes.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::rows::Recorded;
use nova3::domain::failure::{Class, Verdict};
use nova3::llm::wire::{CallError, classify};

fn judge(status: u16, body: &[u8]) -> CallError {
    classify(status, &|_| None, body, Timestamp::UNIX_EPOCH)
}

fn with_header(status: u16, body: &[u8], name: &str, value: &str) -> CallError {
    classify(
        status,
        &|asked| (asked == name).then(|| value.to_owned()),
        body,
        Timestamp::UNIX_EPOCH,
    )
}

fn body(name: &str) -> Vec<u8> {
    Recorded::read(name).body
}

#[test]
fn statuses_alone() {
    use Class::{Auth, BadRequest, Quota, RateLimited, Server, Timeout};
    use Verdict::{Final, Latch, Pause, Retry, RetryQuietly};
    for (status, class, verdict) in [
        (302, BadRequest, Latch),
        (400, BadRequest, Final),
        (401, Auth, Latch),
        (402, Quota, Latch),
        (403, Auth, Latch),
        (404, BadRequest, Latch),
        (408, Timeout, Retry),
        (409, Server, RetryQuietly),
        (413, BadRequest, Final),
        (422, BadRequest, Final),
        (429, RateLimited, Pause),
        (500, Server, Retry),
        (502, Server, Retry),
        (503, Server, Retry),
        (504, Server, Retry),
        (524, Server, Retry),
        (529, Server, Retry),
    ] {
        let error = judge(status, b"");
        assert_eq!((error.class, error.verdict), (class, verdict), "{status}");
        assert_eq!(error.status, Some(status));
        assert_eq!(error.message, format!("HTTP {status} with an empty body"));
    }
}

#[test]
fn a_billing_message_ends_the_route_as_a_code_does() {
    // An upstream's account, seen through a gateway that keeps only the text.
    let raw = r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"Your account <ak-f8tyo15zao8111> is suspended due to insufficient balance"}}}"#;
    let error = judge(429, raw.as_bytes());
    assert_eq!((error.class, error.verdict), (Class::Quota, Verdict::Latch));
    assert_eq!(
        error.message,
        "HTTP 429 (429): Provider returned error: Your account <[redacted]> is suspended due to insufficient balance"
    );
    let error = judge(
        400,
        br#"{"error":{"message":"Access denied","code":"Arrearage"}}"#,
    );
    assert_eq!((error.class, error.verdict), (Class::Quota, Verdict::Latch));
    let error = judge(
        402,
        br#"{"error":{"message":"m","code":"in_flight_budget_exhausted"}}"#,
    );
    assert_eq!(
        (error.class, error.verdict),
        (Class::RateLimited, Verdict::RetryQuietly)
    );
}

/// A gateway may keep the code and lose the type, wrap it in another status, or advise to try again.
#[test]
fn a_billing_code_alone_ends_the_route() {
    for code in [
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "insufficient_quota",
        "billing_hard_limit_reached",
    ] {
        let body = format!(r#"{{"error":{{"message":"m","type":null,"code":"{code}"}}}}"#);
        for status in [400, 403, 429, 500, 503] {
            let error = with_header(status, body.as_bytes(), "x-should-retry", "true");
            assert_eq!(
                (error.class, error.verdict),
                (Class::Quota, Verdict::Latch),
                "{status} {code}"
            );
        }
    }
}

#[test]
fn messages_name_status_and_code_and_hide_keys() {
    let message = |status, name| judge(status, &body(name)).message;
    assert_eq!(
        message(401, "401_invalid_key.http"),
        "HTTP 401 (invalid_request_error, invalid_api_key): Incorrect API key provided: [redacted] You can find \
         your API key at https://platform.openai.com/account/api-keys."
    );
    assert_eq!(
        message(502, "502_nginx.http"),
        "HTTP 502: HTML page, title `502 Bad Gateway`"
    );
    assert_eq!(
        message(404, "404_ollama_model.http"),
        "HTTP 404: model 'm-9' not found"
    );
    assert_eq!(
        judge(500, b"Internal\r\nServer Error").message,
        "HTTP 500: Internal  Server Error"
    );
    assert_eq!(
        judge(422, br#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#).message,
        r#"HTTP 422: [{"loc":["body"],"msg":"field required"}]"#
    );
}

#[test]
fn a_server_may_overrule_its_status() {
    let verdict = |status, advice| with_header(status, b"", "x-should-retry", advice).verdict;
    assert_eq!(verdict(400, "true"), Verdict::Retry);
    assert_eq!(verdict(429, "true"), Verdict::Pause);
    assert_eq!(verdict(500, "false"), Verdict::Elsewhere);
    assert_eq!(verdict(400, "false"), Verdict::Final);
    assert_eq!(verdict(500, "maybe"), Verdict::Retry);
}

#[test]
fn waits_come_from_headers_then_from_the_message() {
    let body = body("429_rate_limit.http");
    assert_eq!(judge(429, &body).retry_after, Some(Duration::from_secs(2)));
    assert_eq!(
        with_header(429, &body, "retry-after", "7").retry_after,
        Some(Duration::from_secs(7))
    );
}

#[test]
fn a_request_larger_than_the_limit_is_not_waited_for() {
    let body = br#"{"error":{"message":"Request too large for m-1 on tokens per min (TPM): Limit 10000, Requested 20000.","type":"tokens","code":"rate_limit_exceeded"}}"#;
    let error = judge(429, body);
    assert_eq!(
        (error.class, error.verdict),
        (Class::ContextLength, Verdict::Elsewhere)
    );
}

#[test]
fn a_rate_limit_in_another_status_pauses() {
    let error = judge(503, br#"{"error":{"message":"m","code":"slow_down"}}"#);
    assert_eq!((error.class, error.verdict), (Class::RateLimited, Verdict::Pause));
}

proptest! {
    #[test]
    fn any_body_gives_one_bounded_printable_line(
        status in 100u16..1000,
        body in proptest::collection::vec(any::<u8>(), 0..2000),
        text in ".{0,900}",
    ) {
        for body in [body, format!(r#"{{"error":{{"message":{text:?}}}}}"#).into_bytes(), text.into_bytes()] {
            let error = judge(status, &body);
            prop_assert!(error.message.chars().count() <= 500);
            prop_assert!(!error.message.chars().any(char::is_control));
        }
    }
}
