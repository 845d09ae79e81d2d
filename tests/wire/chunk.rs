//! From recorded streams to answers.

use proptest::prelude::*;

use super::{answer, decode, fails, fixture, streams, usage};
use nova3::domain::failure::{Class, Verdict};
use nova3::llm::wire::{Answer, Collector, Frame, Limits, Progress, plain};

fn ok(name: &str) -> Answer {
    answer(&fixture(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"))
}

#[test]
fn streams_become_answers() {
    let full = Answer {
        text: "你好 world".to_owned(),
        reasoning_chars: 0,
        refusal: None,
        finish_reason: "stop".to_owned(),
        usage: usage(31, 16, 9),
        model: Some("m-1".to_owned()),
        id: Some("chatcmpl-9".to_owned()),
        done_missing: false,
    };
    let short = |text: &str, usage| Answer {
        text: text.to_owned(),
        usage,
        ..full.clone()
    };
    let rows = [
        ("openai.sse", full.clone()),
        ("vllm_usage_null_choices.sse", short("hi", usage(3, 0, 1))),
        ("cumulative_usage.sse", short("ab", usage(3, 0, 3))),
        ("llamacpp.sse", short("Hi", usage(8, 0, 2))),
        ("azure.sse", short("Bonjour", None)),
        ("ollama_old.sse", short("Guten Tag", None)),
        ("joined_objects.sse", short("one two", None)),
        ("crlf_bom.sse", short("é", None)),
        ("second_choice.sse", short("mine", None)),
        (
            "no_done.sse",
            Answer {
                done_missing: true,
                ..short("whole", None)
            },
        ),
        (
            "deepseek.sse",
            Answer {
                reasoning_chars: 4,
                ..short("答案", usage(100, 64, 20))
            },
        ),
        (
            "openrouter.sse",
            Answer {
                reasoning_chars: 2,
                id: Some("gen-1".to_owned()),
                ..short("ok", usage(5, 0, 2))
            },
        ),
    ];
    for (name, expected) in rows {
        assert_eq!(ok(name), expected, "{name}");
        expected.verdict_of_finish().expect("usable");
    }
}

#[test]
fn errors_inside_streams_are_judged_like_http_errors() {
    let rows = [
        (
            "openai_error.sse",
            (
                Class::Server,
                Verdict::Retry,
                Some(200),
                "an error inside an HTTP 200 (server_error): The server had an error",
            ),
        ),
        (
            "openrouter_error.sse",
            (
                Class::Server,
                Verdict::Retry,
                Some(502),
                "an error inside an HTTP 200 (502): Provider disconnected",
            ),
        ),
        (
            "openrouter_rate_limit.sse",
            (
                Class::RateLimited,
                Verdict::Pause,
                Some(429),
                "an error inside an HTTP 200 (429): Provider returned error: m-1 is temporarily rate-limited upstream",
            ),
        ),
        (
            "vllm_error.sse",
            (
                Class::ContextLength,
                Verdict::Elsewhere,
                Some(400),
                "an error inside an HTTP 200 (BadRequestError, 400): This model's maximum context length is 4096 \
                 tokens. However, you requested 5000 tokens.",
            ),
        ),
        (
            "llamacpp_error_field.sse",
            (
                Class::Server,
                Verdict::Retry,
                Some(500),
                "an error inside an HTTP 200 (server_error, 500): Failed to parse input",
            ),
        ),
        (
            "event_error.sse",
            (
                Class::Server,
                Verdict::Retry,
                Some(200),
                "an error inside an HTTP 200 (overloaded_error): Overloaded",
            ),
        ),
        (
            "bare_json_error.sse",
            (
                Class::Server,
                Verdict::Retry,
                Some(200),
                "an error inside an HTTP 200 (server_error): upstream gone",
            ),
        ),
        (
            "vllm_empty.sse",
            (
                Class::Server,
                Verdict::Retry,
                None,
                "the stream was empty: `[DONE]` came before any content",
            ),
        ),
        (
            "litellm_cut.sse",
            (
                Class::Network,
                Verdict::Retry,
                None,
                "the stream ended after 11 bytes of text without a finish reason",
            ),
        ),
    ];
    for (name, (class, verdict, status, message)) in rows {
        assert_eq!(
            fails(answer(&fixture(name))),
            (class, verdict, status, message.to_owned()),
            "{name}"
        );
    }
    for data in [
        r#"{"error":"boom"}"#,
        r#"{"choices":[{"error":{"code":500,"message":"boom"}}]}"#,
    ] {
        let (class, verdict, _, message) = fails(answer(format!("data: {data}\n\n").as_bytes()));
        assert_eq!((class, verdict), (Class::Server, Verdict::Retry));
        assert!(message.ends_with(": boom"), "{message}");
    }
}

#[test]
fn finish_reasons_have_verdicts() {
    let verdict = |name| {
        ok(name)
            .verdict_of_finish()
            .map_err(|fault| (fault.class, fault.verdict))
    };
    assert_eq!(verdict("openai_length.sse"), Ok(()));
    assert_eq!(ok("openai_length.sse").finish_reason, "length");
    assert_eq!(verdict("openai_tool_calls.sse"), Ok(()));
    assert_eq!(
        verdict("openai_content_filter.sse"),
        Err((Class::ContentFilter, Verdict::Elsewhere))
    );
    assert_eq!(
        verdict("openai_refusal.sse"),
        Err((Class::ContentFilter, Verdict::Final))
    );
    assert_eq!(
        ok("openai_refusal.sse").refusal.as_deref(),
        Some("I cannot help.")
    );
    for reason in ["error", "insufficient_system_resource", "abort"] {
        let answer = Answer {
            finish_reason: reason.to_owned(),
            ..ok("openai.sse")
        };
        let fault = answer.verdict_of_finish().expect_err("no answer");
        assert_eq!((fault.class, fault.verdict), (Class::Server, Verdict::Retry));
    }
}

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
        (Progress::Quiet, false)
    );
    assert_eq!(
        step(r#"{"choices":[{"index":0,"delta":{}}]}"#),
        (Progress::Quiet, false)
    );
    assert_eq!(
        step(r#"{"choices":[{"delta":{"role":"assistant","content":null}}]}"#),
        (Progress::Data, false)
    );
    assert_eq!(
        step(r#"{"choices":[{"delta":{"content":""}}]}"#),
        (Progress::Data, false)
    );
    assert_eq!(
        step(r#"{"choices":[{"delta":{"reasoning":"x"}}]}"#),
        (Progress::Data, true)
    );
    assert_eq!(
        step(r#"{"choices":[{"delta":{"content":" "}}]}"#),
        (Progress::Data, true)
    );
    assert_eq!(
        step(r#"{"choices":null,"usage":{"prompt_tokens":1}}"#),
        (Progress::Data, true)
    );
    assert_eq!(step(" [DONE] "), (Progress::Done, true));
    assert_eq!(step("garbage after the end"), (Progress::Quiet, true));
}

#[test]
fn text_beyond_its_limit_is_refused() {
    let mut collector = Collector::new(3);
    let frame = |text: &str| Frame {
        event: None,
        data: format!(r#"{{"choices":[{{"delta":{{"content":"{text}"}}}}]}}"#),
    };
    assert_eq!(collector.frame(&frame("abc")), Ok(Progress::Data));
    assert_eq!(
        collector.frame(&frame("d")).expect_err("too large").class,
        Class::Server
    );
}

#[test]
fn blank_or_null_reasons_need_done_and_text() {
    let stream = |reason: &str, done: &str| {
        let chunk =
            format!(r#"data: {{"choices":[{{"delta":{{"content":"a"}},"finish_reason":{reason}}}]}}"#);
        answer(format!("{chunk}\n\n{done}").as_bytes())
    };
    assert_eq!(
        stream("\"\"", "data: [DONE]").expect("vouched for").finish_reason,
        "stop"
    );
    assert_eq!(fails(stream("\"\"", "")).0, Class::Network);
    assert_eq!(fails(stream("null", "data: [DONE]")).0, Class::Network);
}

/// Where the object that carries the finish reason ends, in bytes; for old Ollama its `[DONE]`.
fn end_of_finish(stream: &[u8]) -> usize {
    let text = std::str::from_utf8(stream).expect("UTF-8");
    let reasons = ["stop", "length", "tool_calls", "content_filter", "error"];
    let finish = reasons
        .iter()
        .filter_map(|reason| {
            [
                format!("\"finish_reason\":\"{reason}\""),
                format!("\"finish_reason\": \"{reason}\""),
            ]
            .iter()
            .filter_map(|field| text.rfind(field.as_str()))
            .max()
        })
        .max();
    match finish {
        Some(at) => {
            at + text[at..]
                .find('\n')
                .map_or(text.len() - at, |end| end.saturating_sub(1))
        }
        None => text
            .find("[DONE]")
            .map_or(text.len() + 1, |at| at + "[DONE]".len()),
    }
}

#[test]
fn no_cut_before_the_finish_is_an_answer() {
    for name in streams() {
        let bytes = fixture(&name);
        let end = end_of_finish(&bytes);
        let complete = answer(&bytes);
        for cut in 0..=bytes.len() {
            let result = answer(&bytes[..cut]);
            assert!(
                cut >= end || result.is_err(),
                "{name} cut at {cut} of {end} gave {result:?}"
            );
            if let (Ok(got), Ok(whole)) = (&result, &complete) {
                assert_eq!(got.text, whole.text, "{name} cut at {cut}");
            }
            if cut > end && complete.is_ok() {
                result.unwrap_or_else(|fault| panic!("{name} cut at {cut}: {fault}"));
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_frames_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
        let _ = (plain(&bytes), plain(text.as_bytes()), answer(&bytes));
        let (frames, _) = decode(Limits::default(), [format!("data: {text}\n\n").as_bytes()]);
        let mut collector = Collector::new(10);
        for frame in &frames {
            let _ = collector.frame(frame);
        }
    }
}
