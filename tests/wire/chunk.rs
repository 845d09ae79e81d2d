//! Chunks where a row cannot say it: progress, bounds, whatever comes.

use proptest::prelude::*;

use crate::wire::harness::{answer, decode, fails};
use nova3::domain::failure::Class;
use nova3::llm::wire::{Collector, Frame, Incoming, Limits, Progress, Secrets, plain};

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

/// A refusal becomes an error, and comes in pieces in which its secret is not whole.
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
    let mut incoming = Incoming::new(Limits::default(), 1000).hiding(secrets.clone());
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

/// Names are kept as far as a name goes, and counted as the text is.
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
    assert_eq!(collector.frame(&frame), Ok(Progress::Data));
    assert!((600..4000).contains(&collector.held_bytes()));
    let answer = collector.end().expect("an answer");
    let short = "n".repeat(200);
    assert_eq!(
        (answer.id, answer.model, answer.finish_reason),
        (Some(short.clone()), Some(short.clone()), short)
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
