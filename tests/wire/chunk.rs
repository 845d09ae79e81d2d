//! Tests of chunks that do not fit a row: progress, bounds, arbitrary bytes.

use proptest::prelude::*;

use crate::wire::harness::{answer, decode, fails, plain, usage};
use nova3::config::Dialect;
use nova3::domain::failure::Class;
use nova3::llm::dialect::openai::Collector;
use nova3::llm::dialect::{Incoming, StreamProgress};
use nova3::llm::wire::{Frame, Secrets, StreamLimits};

#[test]
fn only_substance_counts_as_progress() {
    let mut collector = Collector::new(1000);
    let mut step = |data: &str| {
        let frame = Frame {
            event: None,
            data: data.to_owned(),
        };
        let progress = collector.frame(&frame).expect("no failure");
        (progress, collector.first_token_seen())
    };
    assert_eq!(
        step(r#"{"choices":[],"prompt_filter_results":[]}"#),
        (StreamProgress::Quiet, false)
    );
    assert_eq!(
        step(r#"{"choices":[{"index":0,"delta":{}}]}"#),
        (StreamProgress::Quiet, false)
    );
    assert_eq!(
        step(r#"{"choices":[{"delta":{"role":"assistant","content":null}}]}"#),
        (StreamProgress::Data, false)
    );
    assert_eq!(
        step(r#"{"choices":[{"delta":{"content":""}}]}"#),
        (StreamProgress::Data, false)
    );
    assert_eq!(
        step(r#"{"choices":[{"delta":{"reasoning":"x"}}]}"#),
        (StreamProgress::Data, true)
    );
    assert_eq!(
        step(r#"{"choices":[{"delta":{"content":" "}}]}"#),
        (StreamProgress::Data, true)
    );
    assert_eq!(
        step(r#"{"choices":null,"usage":{"prompt_tokens":1}}"#),
        (StreamProgress::Data, true)
    );
    assert_eq!(step(" [DONE] "), (StreamProgress::Done, true));
    assert_eq!(step("garbage after the end"), (StreamProgress::Quiet, true));
}

#[test]
fn text_beyond_its_limit_is_refused() {
    let mut collector = Collector::new(3);
    let frame = |text: &str| Frame {
        event: None,
        data: format!(r#"{{"choices":[{{"delta":{{"content":"{text}"}}}}]}}"#),
    };
    assert_eq!(collector.frame(&frame("abc")), Ok(StreamProgress::Data));
    assert_eq!(
        collector.frame(&frame("d")).expect_err("too large").class,
        Class::Server
    );
}

/// A refusal becomes an error, and arrives in pieces that split its secret.
#[test]
fn a_refusal_tells_no_secret() {
    let secrets = Secrets::of(
        Some("open-sesame"),
        &"http://host/v1".parse().expect("an address"),
    );
    let chunk = |choice: &str| format!("data: {{\"choices\":[{choice}]}}\n\n");
    let stream = [
        chunk(r#"{"delta":{"refusal":"No to open-"}}"#),
        chunk(r#"{"delta":{"refusal":"sesame."},"finish_reason":"stop"}"#),
    ];
    let mut incoming = Incoming::new(Dialect::OpenAi, StreamLimits::default(), 1000).hiding(secrets.clone());
    incoming.push(stream.concat().as_bytes()).expect("no failure");
    let body = br#"{"choices":[{"message":{"refusal":"No to open-sesame."},"finish_reason":"stop"}]}"#;
    for answer in [incoming.end(), plain(body).map(|answer| answer.hiding(&secrets))] {
        let refused = answer.expect("an answer").verdict_of_finish();
        assert_eq!(
            refused.expect_err("a refusal").message,
            "the model refused: No to [redacted]."
        );
    }
}

/// A name is cut at the longest length of a name, and counts against the limit as text does.
#[test]
fn a_long_name_is_cut_and_counted() {
    let mut collector = Collector::new(100);
    let long = "n".repeat(100_000);
    let frame = Frame {
        event: None,
        data: format!(
            r#"{{"id":"{long}","model":"{long}","choices":[{{"delta":{{"content":"a"}},"finish_reason":"{long}"}}]}}"#
        ),
    };
    assert_eq!(collector.frame(&frame), Ok(StreamProgress::Data));
    assert!((600..4000).contains(&collector.held_bytes()));
    let answer = collector.end().expect("an answer");
    let short = "n".repeat(200);
    assert_eq!(
        (answer.id, answer.model, answer.finish_reason),
        (Some(short.clone()), Some(short.clone()), short)
    );
}

#[test]
fn without_a_reason_done_and_text_are_needed() {
    let stream = |reason: &str, done: &str| {
        let chunk =
            format!(r#"data: {{"choices":[{{"delta":{{"content":"a"}},"finish_reason":{reason}}}]}}"#);
        answer(format!("{chunk}\n\n{done}").as_bytes())
    };
    for reason in ["\"\"", "null", "\"null\""] {
        let answer = stream(reason, "data: [DONE]").expect("vouched for");
        assert_eq!(
            (answer.finish_reason.as_str(), answer.reason_missing),
            ("stop", true)
        );
        assert_eq!(fails(stream(reason, "")).0, Class::Network, "{reason}");
    }
}

/// A reason beside content holds when the stream ends well, or when something behind the content confirms it.
#[test]
fn a_reason_beside_content_is_provisional() {
    let complete = |data: &[&str]| {
        let mut collector = Collector::new(1000);
        for data in data {
            let frame = Frame {
                event: None,
                data: (*data).to_owned(),
            };
            collector.frame(&frame).expect("no failure");
        }
        collector.is_complete()
    };
    let text = r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#;
    let more = r#"{"choices":[{"delta":{"content":"b"}}]}"#;
    let end = r#"{"choices":[{"delta":{"content":""},"finish_reason":"stop"}]}"#;
    let count = r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    assert!(!complete(&[text]));
    assert!(!complete(&[text, text]));
    assert!(complete(&[text, end]));
    assert!(complete(&[text, count]));
    assert!(complete(&[text, "[DONE]"]));
    assert!(!complete(&[end, more]));
}

#[test]
fn what_is_not_empty_is_a_sign_of_life() {
    for (delta, progress) in [
        (
            r#"{"reasoning_details":[{"type":"reasoning.text","text":"a"}]}"#,
            StreamProgress::Data,
        ),
        (
            r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"a"}]}]}"#,
            StreamProgress::Data,
        ),
        (
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}"#,
            StreamProgress::Data,
        ),
        (r#"{"thinking":"a"}"#, StreamProgress::Data),
        (
            r#"{"reasoning_details":[],"tool_calls":[],"audio":null}"#,
            StreamProgress::Quiet,
        ),
    ] {
        let mut collector = Collector::new(1000);
        let frame = Frame {
            event: None,
            data: format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#),
        };
        assert_eq!(collector.frame(&frame), Ok(progress), "{delta}");
        assert_eq!(
            collector.first_token_seen(),
            progress == StreamProgress::Data,
            "{delta}"
        );
    }
}

/// Frames around a good answer that must not harm it.
#[test]
fn what_is_no_chunk_and_no_error_is_passed_over() {
    for odd in [
        "data: ping",
        "data: : OPENROUTER PROCESSING",
        "data: null",
        "data: \"\"",
        "data: []",
        "data: {}",
        "data: 7",
        "event: ping\ndata: keepalive",
        "event: ping\ndata: {\"type\":\"ping\"}",
        r#"data: {"code":0,"message":"Success","sid":"a"}"#,
        r#"data: {"choices":"none"}"#,
        r#"data: {"choices":[null,7,{"index":0,"delta":7},{"index":0,"delta":[1]}]}"#,
        r#"data: {"choices":[{"index":"1","delta":{"content":"other"}}]}"#,
        r#"data: {"choices":[{"index":0,"logprobs":{"a":NaN,"b":-Infinity},"delta":{}}]}"#,
    ] {
        let text = r#"data: {"choices":[{"index":0,"delta":{"content":"A","content":"a"}}]}"#;
        let end = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":"3","completion_tokens":"1"}}"#;
        let stream = [odd, text, odd, end, odd, "data: [DONE]"].join("\n\n");
        let answer = answer(stream.as_bytes()).unwrap_or_else(|fault| panic!("{odd}: {fault}"));
        assert_eq!(
            (answer.text.as_str(), answer.usage),
            ("a", usage(3, 0, 1)),
            "{odd}"
        );
    }
}

#[test]
fn halves_of_a_pair_are_joined_across_chunks() {
    let chunk = |text: &str| format!(r#"data: {{"choices":[{{"delta":{{"content":"{text}"}}}}]}}"#) + "\n\n";
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let pieces = [chunk("a\\ud83d"), chunk("\\ude00b\\ud83d"), end.to_owned()].concat();
    assert_eq!(answer(pieces.as_bytes()).expect("an answer").text, "a😀b\u{fffd}");
}

/// The reasoning is the answer if a server with a reasoning parser sends nothing else.
#[test]
fn reasoning_is_kept_where_nothing_else_comes() {
    let stream = |content: &str| {
        let chunk = format!(
            r#"data: {{"choices":[{{"delta":{{"reasoning_content":"{{}}","content":"{content}"}}}}]}}"#
        );
        let end = r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
        answer([&chunk, end, "data: [DONE]"].join("\n\n").as_bytes()).expect("an answer")
    };
    assert_eq!(stream("").object_text(), "{}");
    let both = stream("a");
    assert_eq!((both.object_text(), both.reasoning.as_str()), ("a", ""));
}

#[test]
fn an_error_is_found_in_any_dress() {
    for body in [
        r#"{"code":429,"message":"Resource has been exhausted","details":"RESOURCE_EXHAUSTED"}"#.to_owned(),
        r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]"#.to_owned(),
        "[{\n  \"error\": {\n    \"code\": 429,\n    \"message\": \"m\"\n  }\n}\n]\n".to_owned(),
        "{\n  \"error\": {\n    \"code\": 429,\n    \"message\": \"m\"\n  }\n}".to_owned(),
        r#"data: [{"error":{"code":429,"message":"m"}}]"#.to_owned(),
        r#"data: {"choices":null,"base_resp":{"status_code":1002,"status_msg":"rate limit"}}"#.to_owned(),
    ] {
        assert_eq!(fails(answer(body.as_bytes())).0, Class::RateLimited, "{body}");
    }
}

proptest! {
    #[test]
    fn arbitrary_frames_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
        let _ = (plain(&bytes), plain(text.as_bytes()), answer(&bytes));
        let (frames, _) = decode(StreamLimits::default(), [format!("data: {text}\n\n").as_bytes()]);
        let mut collector = Collector::new(10);
        for frame in &frames {
            let _ = collector.frame(frame);
        }
    }
}
