//! Waits and rate headers.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use nova3::llm::wire::RateHeaders;
use nova3::llm::wire::retry_after::{MAX_WAIT, from_message, read, until_reset};

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().expect("a time")
}

fn headers<'a>(rows: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    move |asked| {
        let row = rows.iter().find(|(name, _)| *name == asked)?;
        Some(row.1.to_owned())
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every expectation is an option")]
const fn ms(millis: u64) -> Option<Duration> {
    Some(Duration::from_millis(millis))
}

#[test]
fn retry_after_in_all_its_forms() {
    for (rows, wait) in [
        (&[("retry-after", "2")][..], ms(2000)),
        (&[("retry-after", " 0.5 ")], ms(500)),
        (
            &[("retry-after-ms", "12.5"), ("retry-after", "9")],
            Some(Duration::from_micros(12_500)),
        ),
        (&[("retry-after-ms", "soon"), ("retry-after", "9")], ms(9000)),
        (&[("retry-after", "Tue, 24 Nov 2026 12:01:00 GMT")], ms(60_000)),
        (&[("retry-after", "Tue, 24 Nov 2026 11:59:00 GMT")], None),
        (
            &[("retry-after", "Tue, 24 Nov 2099 12:01:00 GMT")],
            Some(MAX_WAIT),
        ),
        (&[("retry-after", "0")], ms(0)),
        (&[("retry-after", "-3")], None),
        (&[("retry-after", "NaN")], None),
        (&[("retry-after", "inf")], Some(MAX_WAIT)),
        (&[("retry-after", "1e300")], Some(MAX_WAIT)),
        (&[("retry-after", "later")], None),
        (&[], None),
    ] {
        assert_eq!(read(&headers(rows), now()), wait, "{rows:?}");
    }
}

#[test]
fn resets_in_all_their_forms() {
    for (text, wait) in [
        ("1s", ms(1000)),
        ("12ms", ms(12)),
        ("6m0s", ms(360_000)),
        ("1h30m0s", ms(5_400_000)),
        ("59.951s", ms(59_951)),
        ("1d", ms(86_400_000)),
        ("2m59.5s", ms(179_500)),
        ("750us", Some(Duration::from_micros(750))),
        ("0s", ms(0)),
        ("30", ms(30_000)),
        ("0.25", ms(250)),
        ("1795521660", ms(60_000)),
        ("1795521660000", ms(60_000)),
        ("1795521000", ms(0)),
        ("2026-11-24T12:00:30Z", ms(30_000)),
        ("2026-11-24T11:00:00Z", ms(0)),
        ("9d", Some(MAX_WAIT)),
        ("", None),
        ("s", None),
        ("6m0", None),
        ("6 parsecs", None),
        ("-5", None),
        ("1.2.3s", None),
    ] {
        assert_eq!(until_reset(text, now()), wait, "{text:?}");
    }
    assert_eq!(from_message("Please try again in 6m0s. Visit"), ms(360_000));
    assert_eq!(from_message("Please try again in 20ms."), ms(20));
    assert_eq!(from_message("please try again after 1 seconds"), ms(1000));
    assert_eq!(from_message("try again in a while"), None);
}

#[test]
fn openai_headers() {
    let rows = [
        ("x-ratelimit-limit-requests", "500"),
        ("x-ratelimit-remaining-requests", "499"),
        ("x-ratelimit-reset-requests", "120ms"),
        ("x-ratelimit-limit-tokens", "30000"),
        ("x-ratelimit-remaining-tokens", "29000"),
        ("x-ratelimit-reset-tokens", "2s"),
    ];
    let expected = RateHeaders {
        limit_requests: Some(500),
        remaining_requests: Some(499),
        reset_requests: ms(120),
        limit_tokens: Some(30_000),
        remaining_tokens: Some(29_000),
        reset_tokens: ms(2000),
    };
    assert_eq!(RateHeaders::read(&headers(&rows), now()), expected);
    let mut project = rows.to_vec();
    project.extend([
        ("x-ratelimit-limit-project-tokens", "1000"),
        ("x-ratelimit-remaining-project-tokens", "-5"),
        ("x-ratelimit-reset-project-tokens", "6m0s"),
    ]);
    let tighter = RateHeaders {
        limit_tokens: Some(1000),
        remaining_tokens: Some(0),
        reset_tokens: ms(360_000),
        ..expected
    };
    assert_eq!(RateHeaders::read(&headers(&project), now()), tighter);
}

#[test]
fn anthropic_headers_and_none() {
    let rows = [
        ("anthropic-ratelimit-requests-limit", "50"),
        ("anthropic-ratelimit-requests-remaining", "0"),
        ("anthropic-ratelimit-requests-reset", "2026-11-24T12:00:10Z"),
        ("anthropic-ratelimit-tokens-limit", "80000"),
        ("anthropic-ratelimit-tokens-remaining", "79000"),
        ("anthropic-ratelimit-tokens-reset", "2026-11-24T12:00:01Z"),
    ];
    let expected = RateHeaders {
        limit_requests: Some(50),
        remaining_requests: Some(0),
        reset_requests: ms(10_000),
        limit_tokens: Some(80_000),
        remaining_tokens: Some(79_000),
        reset_tokens: ms(1000),
    };
    assert_eq!(RateHeaders::read(&headers(&rows), now()), expected);
    assert_eq!(RateHeaders::read(&headers(&[]), now()), RateHeaders::default());
}

proptest! {
    #[test]
    fn no_text_panics_or_waits_beyond_the_bound(text in ".{0,24}", number in any::<f64>()) {
        for text in [text, number.to_string(), format!("{number}s"), format!("{number}ms")] {
            let rows = [("retry-after", text.as_str())];
            let waits = [until_reset(&text, now()), read(&headers(&rows), now()), from_message(&text)];
            prop_assert!(waits.into_iter().flatten().all(|wait| wait <= MAX_WAIT));
        }
    }
}
