//! Rate headers and waits.

use std::time::Duration;

use super::{Recorded, answer, fixture, now};
use nova3::llm::wire::RateHeaders;

/// The case, the file, and the wait in milliseconds.
type Wait = (&'static str, &'static str, Option<f64>);

/// The case, the file, and for requests and for tokens: limit, remaining and milliseconds to the reset.
type Buckets = (&'static str, &'static str, [Option<u64>; 3], [Option<u64>; 3]);

#[test]
fn waits_are_what_the_table_says() {
    for (case, file, millis) in waits() {
        let recorded = Recorded::read(file);
        assert_eq!(
            recorded.judge().retry_after,
            millis.map(|millis| Duration::from_secs_f64(millis / 1e3)),
            "{case} ({file})"
        );
    }
}

pub(super) fn waits() -> Vec<Wait> {
    vec![
        (
            "retry-after-ms, a float, before retry-after",
            "429_retry_after_ms.http",
            Some(1250.5),
        ),
        (
            "retry-after in seconds, a float",
            "429_retry_after_seconds.http",
            Some(1500.0),
        ),
        (
            "retry-after as an HTTP date",
            "429_retry_after_date.http",
            Some(20_000.0),
        ),
        (
            "more than a retry waits for",
            "429_retry_after_an_hour.http",
            Some(3_600_000.0),
        ),
        (
            "OpenRouter, 429",
            "429_openrouter_retry_after.http",
            Some(13_000.0),
        ),
        ("OpenRouter, 503", "503_openrouter_no_provider.http", Some(5000.0)),
        ("only in the message", "429_rate_limit.http", Some(2000.0)),
        ("none at all", "429_anthropic_no_wait.http", None),
    ]
}

#[test]
fn an_error_inside_a_stream_says_its_wait_too() {
    let error = answer(&fixture("responses_error.sse")).expect_err("a rate limit");
    assert_eq!(error.retry_after, Some(Duration::from_secs(2)));
    let error = answer(&fixture("openrouter_rate_limit.sse")).expect_err("a rate limit");
    assert_eq!(error.retry_after, None);
}

#[test]
fn buckets_are_what_the_table_says() {
    let millis = |reset: Option<u64>| reset.map(Duration::from_millis);
    for (case, file, requests, tokens) in buckets() {
        let recorded = Recorded::read(file);
        let expected = RateHeaders {
            limit_requests: requests[0],
            remaining_requests: requests[1],
            reset_requests: millis(requests[2]),
            limit_tokens: tokens[0],
            remaining_tokens: tokens[1],
            reset_tokens: millis(tokens[2]),
        };
        let got = RateHeaders::read(&|name| recorded.header(name), now());
        assert_eq!(got, expected, "{case} ({file})");
    }
}

pub(super) fn buckets() -> Vec<Buckets> {
    let some = |limit, remaining, reset| [Some(limit), Some(remaining), Some(reset)];
    vec![
        (
            "OpenAI",
            "200_limits_openai.http",
            some(10_000, 9999, 8640),
            some(200_000, 199_000, 300),
        ),
        (
            "OpenAI, nothing left: minutes and hours",
            "200_limits_openai_empty.http",
            some(10_000, 0, 360_000),
            some(200_000, 0, 5_400_000),
        ),
        (
            "OpenAI, a project with less than its organization",
            "200_limits_openai_project.http",
            some(10_000, 9999, 8640),
            some(50_000, 120, 59_951),
        ),
        (
            "days and milliseconds",
            "200_limits_days.http",
            some(200, 12, 86_400_000),
            some(100, 1, 12),
        ),
        (
            "plain seconds",
            "200_limits_seconds.http",
            some(60, 0, 30_000),
            some(1000, 0, 500),
        ),
        (
            "Unix time, in seconds and in milliseconds",
            "200_limits_epoch.http",
            some(60, 0, 60_000),
            some(1000, 0, 30_000),
        ),
        (
            "words in place of numbers, and a debt",
            "200_limits_unreadable.http",
            [None, Some(0), None],
            [None; 3],
        ),
        (
            "Anthropic",
            "200_limits_anthropic.http",
            some(50, 49, 1000),
            some(80_000, 79_000, 30_000),
        ),
        (
            "Anthropic, input and output apart",
            "200_limits_anthropic_input.http",
            some(50, 0, 10_000),
            some(40_000, 0, 60_000),
        ),
        ("no headers", "200_no_limits.http", [None; 3], [None; 3]),
    ]
}
