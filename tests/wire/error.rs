//! The table of statuses and codes.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::harness::plain;
use super::rows::Recorded;
use nova3::domain::failure::{Class, Verdict};
use nova3::llm::CallError;
use nova3::llm::wire::classify;

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
    // The account of an upstream provider, behind a gateway that keeps only the text.
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

/// Status, body, class, verdict.
type Word = (u16, &'static str, Class, Verdict);

/// Messages of providers that contradict their status.
#[rustfmt::skip]
const WORDS: [Word; 22] = [
    (429, r#"{"error":{"code":"1113","message":"余额不足或无可用资源包,请充值。"}}"#, Class::Quota, Verdict::Latch),
    (400, r#"{"error":{"code":"1301","message":"系统检测到"}}"#, Class::ContentFilter, Verdict::Elsewhere),
    (400, r#"{"error":{"code":"1302","message":"并发数过高"}}"#, Class::RateLimited, Verdict::Pause),
    (200, r#"{"error":{"code":"1234","message":"网络错误"}}"#, Class::Server, Verdict::Retry),
    (200, r#"{"choices":null,"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#, Class::Quota, Verdict::Latch),
    (200, r#"{"choices":null,"base_resp":{"status_code":1002,"status_msg":"rate limit exceeded(RPM)"}}"#, Class::RateLimited, Verdict::Pause),
    (200, r#"{"choices":null,"base_resp":{"status_code":1026,"status_msg":"input new_sensitive"}}"#, Class::ContentFilter, Verdict::Elsewhere),
    (200, r#"{"choices":null,"base_resp":{"status_code":1004,"status_msg":"login fail"}}"#, Class::Auth, Verdict::Latch),
    (200, r#"{"choices":null,"base_resp":{"status_code":2013,"status_msg":"invalid params, context window exceeds limit"}}"#, Class::ContextLength, Verdict::Elsewhere),
    (200, r#"{"choices":null,"base_resp":{"status_code":2013,"status_msg":"invalid params"}}"#, Class::BadRequest, Verdict::Final),
    (429, r#"{"error":{"message":"You exceeded your current quota, see https://help.aliyun.com","type":"insufficient_quota","code":"insufficient_quota"}}"#, Class::RateLimited, Verdict::Pause),
    (429, r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"},"request_id":"a"}"#, Class::RateLimited, Verdict::Pause),
    (429, r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#, Class::Quota, Verdict::Latch),
    (403, r#"{"error":{"message":"m","code":"AccountOverdueError"}}"#, Class::Quota, Verdict::Latch),
    (429, r#"{"error":{"message":"m","code":"ServerOverloaded"}}"#, Class::Server, Verdict::Retry),
    (400, r#"{"error":{"message":"m","code":"InputTextSensitiveContentDetected"}}"#, Class::ContentFilter, Verdict::Elsewhere),
    (403, r#"{"code":30001,"message":"Sorry, your account balance is insufficient","data":null}"#, Class::Quota, Verdict::Latch),
    (503, r#"{"code":50505,"message":"Model service overloaded. Please try again later.","data":null}"#, Class::Server, Verdict::Retry),
    (400, r#"{"error":{"message":"Failed to generate JSON.","type":"invalid_request_error","code":"json_validate_failed"}}"#, Class::Schema, Verdict::RetryQuietly),
    (429, r#"[{"error":{"code":429,"message":"Resource has been exhausted","status":"RESOURCE_EXHAUSTED"}}]"#, Class::RateLimited, Verdict::Pause),
    (400, r#"{"success":false,"errors":[{"code":"1301","message":"m"}]}"#, Class::ContentFilter, Verdict::Elsewhere),
    (429, r#"{"error_code":17,"error_msg":"Open api daily request limit reached"}"#, Class::Quota, Verdict::Latch),
];

#[test]
fn the_words_of_a_provider_beat_its_status() {
    for (status, body, class, verdict) in WORDS {
        let error = if status == 200 {
            plain(body.as_bytes()).expect_err("an error")
        } else {
            judge(status, body.as_bytes())
        };
        assert_eq!((error.class, error.verdict), (class, verdict), "{body}");
    }
}

#[test]
fn a_moment_that_was_a_wrong_one_is_asked_again() {
    for status in [408, 409, 421, 423, 424, 425, 498, 499, 500, 501, 507, 520, 599] {
        let verdict = judge(status, b"").verdict;
        assert!(
            matches!(verdict, Verdict::Retry | Verdict::RetryQuietly),
            "{status}"
        );
    }
}

#[test]
fn waits_are_read_wherever_a_provider_puts_them() {
    let google = br#"[{"error":{"code":429,"message":"m","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.07s"}]}}]"#;
    assert_eq!(
        judge(429, google).retry_after,
        Some(Duration::from_millis(34_070))
    );
    let openrouter = br#"{"error":{"code":429,"message":"m","metadata":{"headers":{"X-RateLimit-Reset":"1700000060000"}}}}"#;
    let now = Timestamp::from_second(1_700_000_000).expect("a time");
    let error = classify(429, &|_| None, openrouter, now);
    assert_eq!(error.retry_after, Some(Duration::from_secs(60)));
    let reset = with_header(429, b"", "x-ratelimit-reset", "7");
    assert_eq!(reset.retry_after, Some(Duration::from_secs(7)));
    for (message, millis) in [
        ("Please retry in 3.4s.", 3400),
        ("Please retry after 6 seconds.", 6000),
        ("please try again in 2 minutes", 120_000),
        ("Try again in 1h2m", 3_720_000),
        ("当前请求过多，请在 5 秒后重试", 5000),
        ("请30秒后再试", 30_000),
    ] {
        let body = serde_json::json!({"error": {"message": message}}).to_string();
        let wait = judge(429, body.as_bytes()).retry_after;
        assert_eq!(wait, Some(Duration::from_millis(millis)), "{message}");
    }
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
