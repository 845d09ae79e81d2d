//! Plain bodies, usage in its dialects, and inline thoughts.

use super::{fails, usage};
use nova3::domain::failure::{Class, Verdict};
use nova3::llm::wire::{plain, strip_think};

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
        usage(14, 4, 2)
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
