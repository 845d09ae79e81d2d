//! Plain bodies, usage in its dialects, and inline thoughts.

use crate::wire::harness::{answer, fails, plain, usage};
use nova3::domain::failure::{Class, Verdict};
use nova3::domain::usage::Usage;
use nova3::llm::{Answer, CallError, strip_think};

#[test]
fn plain_bodies_that_are_no_answer_fail() {
    let rows: [(&[u8], Class, Verdict); 4] = [
        (b"", Class::Server, Verdict::Retry),
        (br#"{"choices":[]}"#, Class::Server, Verdict::Retry),
        (
            br#"{"choices":[{"message":{"content":""}}]}"#,
            Class::Server,
            Verdict::Retry,
        ),
        (
            br#"{"choices":[{"message":{"content":"a"},"fin"#,
            Class::Network,
            Verdict::Retry,
        ),
    ];
    for (body, class, verdict) in rows {
        let (got, asks, ..) = fails(plain(body));
        assert_eq!((got, asks), (class, verdict), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn usage_is_read_in_every_dialect() {
    let read = |json: &str| {
        let body = format!(r#"{{"choices":[{{"message":{{"content":"a"}}}}],"usage":{json}}}"#);
        plain(body.as_bytes()).expect("an answer").usage
    };
    assert_eq!(read("null"), None);
    assert_eq!(read("{}"), None);
    assert_eq!(read("[1]"), None);
    assert_eq!(
        read(r#"{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":2}"#),
        usage(9, 4, 2)
    );
    assert_eq!(
        read(
            r#"{"input_tokens":9,"cache_read_input_tokens":4,"cache_creation_input_tokens":1,"output_tokens":2}"#
        ),
        written(14, 4, 1, 2)
    );
    assert_eq!(
        read(
            r#"{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":7},"completion_tokens":2}"#
        ),
        written(9, 4, 5, 2)
    );
    assert_eq!(
        read(r#"{"prompt_cache_hit_tokens":3,"prompt_cache_miss_tokens":4,"completion_tokens":2}"#),
        usage(7, 3, 2)
    );
    assert_eq!(
        read(r#"{"prompt_tokens":5.0,"completion_tokens":null,"total_tokens":8}"#),
        usage(5, 0, 3)
    );
    assert_eq!(
        read(r#"{"prompt_tokens":5,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":99}}"#),
        usage(5, 5, 2)
    );
}

fn written(input: u64, cached: u64, written: u64, output: u64) -> Option<Usage> {
    let used = usage(input, cached, output)?;
    Some(Usage {
        cache_write_tokens: written,
        ..used
    })
}

/// Every field of any dialect that counts tokens.
const COUNTS: [&str; 11] = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "input_tokens",
    "output_tokens",
    "prompt_cache_hit_tokens",
    "prompt_cache_miss_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cached_tokens",
    "prompt_tokens_details",
];

#[test]
fn a_count_that_cannot_be_true_is_none_and_costs_no_answer() {
    let absurd = [
        "-1",
        "-5.5",
        "20000001",
        "18446744073709551615",
        "18446744073709551616",
        "1e300",
        "1e400",
        "-1e400",
        "123456789012345678901234567890",
    ];
    for (field, value) in COUNTS.iter().flat_map(|field| absurd.map(|value| (field, value))) {
        let (field, value) = match *field {
            "prompt_tokens_details" => (*field, format!(r#"{{"cached_tokens":{value}}}"#)),
            _ => (*field, value.to_owned()),
        };
        for (read, body) in bodies(&format!(r#"{{"{field}":{value}}}"#)) {
            let answer = read(&body).unwrap_or_else(|fault| panic!("{body}: {fault}"));
            let doubt = answer.doubt.unwrap_or_default();
            let told = field.trim_start_matches("prompt_tokens_details");
            assert_eq!((answer.text.as_str(), answer.usage), ("a", None), "{body}");
            assert!(doubt.contains(told) && doubt.contains(" is "), "{doubt}");
        }
    }
}

#[test]
fn nothing_is_not_what_an_answer_used() {
    for usage in [
        r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#,
        r#"{"prompt_tokens":9,"completion_tokens":0,"total_tokens":9}"#,
        r#"{"prompt_tokens":0,"completion_tokens":2,"total_tokens":2}"#,
    ] {
        for (read, body) in bodies(usage) {
            let answer = read(&body).expect("an answer");
            assert_eq!(answer.usage, None, "{body}");
            assert!(
                answer.doubt.expect("a doubt").starts_with("it counts no tokens"),
                "{body}"
            );
        }
    }
    let empty = r#"{"choices":[{"message":{"content":""},"finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":0}}"#;
    assert_eq!(plain(empty.as_bytes()).expect("an answer").usage, usage(9, 0, 0));
}

type Read = fn(&str) -> Result<Answer, CallError>;

/// Returns an answer with this usage, as a whole body and as a stream.
fn bodies(usage: &str) -> [(Read, String); 2] {
    [
        (
            |body| plain(body.as_bytes()),
            format!(r#"{{"choices":[{{"message":{{"content":"a"}}}}],"usage":{usage}}}"#),
        ),
        (
            |body| answer(body.as_bytes()),
            format!(
                "data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}},\"finish_reason\":\"stop\"}}]}}\n\n\
                 data: {{\"choices\":[],\"usage\":{usage}}}\n\ndata: [DONE]\n\n"
            ),
        ),
    ]
}

#[test]
fn an_index_of_any_kind_costs_no_answer() {
    let read = |index: &str| {
        let body = format!(
            r#"{{"choices":[{{"index":{index},"message":{{"content":"a"}},"finish_reason":"stop"}}]}}"#
        );
        plain(body.as_bytes())
    };
    for first in ["0", "0.0", "null", "\"0\"", "\"x\"", "{}"] {
        assert_eq!(read(first).expect("an answer").text, "a", "{first}");
    }
    for other in ["1", "-1", "18446744073709551616", "1e400"] {
        assert_eq!(fails(read(other)).0, Class::Server, "{other}");
    }
}

#[test]
fn the_last_tier_that_is_named_is_the_one_that_served() {
    let stream = r#"data: {"service_tier":"auto","choices":[{"delta":{"content":"a"}}]}

data: {"service_tier":"flex","choices":[{"delta":{},"finish_reason":"stop"}]}

data: {"service_tier":null,"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1}}

data: [DONE]

"#;
    assert_eq!(
        answer(stream.as_bytes()).expect("an answer").tier.as_deref(),
        Some("flex")
    );
}

#[test]
fn inline_thoughts_are_stripped() {
    for (text, rest) in [
        ("plain", "plain"),
        ("  kept", "  kept"),
        ("<think>a</think>\n\nb", "b"),
        ("\n<think>a</think><think>c</think>b", "b"),
        ("thought without its opening</think>\nb", "b"),
        ("<think>never ends", ""),
        ("about <think>x</think> tags", "about <think>x</think> tags"),
        (
            "<think>a</think>the tag </think> ends it",
            "the tag </think> ends it",
        ),
    ] {
        assert_eq!(strip_think(text), rest, "{text:?}");
    }
}
