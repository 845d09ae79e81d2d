//! The responses of a server: streams, whole bodies, refusals and their headers.
//!
//! An input that begins with `HTTP/1.1 ` is a whole response; any other one is the body of a stream.

#![expect(clippy::expect_used, reason = "a target fails the way a test does")]

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use nova3::config::Dialect;
use nova3::domain::usage::Usage;
use nova3::llm::dialect::{self, Incoming, StreamProgress};
use nova3::llm::wire::{Decoder, Frame, RateHeaders, Secrets, SseError, StreamLimits, classify};
use nova3::llm::{Answer, CallError, strip_think};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::input::{choices, digest, lengths, pieces};

/// The credential of the route. No error shows it, wherever a server repeats it.
const SECRET: &str = "sesame-opens-7731";

/// The longest text of an error message, in characters.
const LONGEST_MESSAGE: usize = 500;
const LONGEST_NAME: usize = 200;

/// The most tokens of one call: the largest window, for each of the three parts of a prompt.
const MOST_INPUT: u64 = 3 * 20_000_000;
const MOST_OUTPUT: u64 = 20_000_000;

#[test]
fn any_bytes_in_any_pieces_mean_the_same() {
    super::campaign::Campaign {
        target: "decoder",
        seeds: &["fixtures/llm", "fixtures/llm/anthropic"],
        check,
    }
    .run();
}

pub(crate) fn check(input: &[u8]) -> Vec<u64> {
    let mut choices = choices(input);
    let response = Response::of(input);
    let body = &response.body;
    let tight = StreamLimits {
        event_bytes: choices.usize(..=body.len() + 1),
        stream_bytes: choices.usize(..=body.len() + 1),
    };
    let frames = decode(StreamLimits::default(), &[body]);
    for (limits, whole) in [
        (StreamLimits::default(), &frames),
        (tight, &decode(tight, &[body])),
    ] {
        for parts in [
            body.chunks(1).collect(),
            body.split_inclusive(|byte| *byte == b'\n').collect(),
            pieces(body, &mut choices),
        ] {
            assert_eq!(
                &decode(limits, &parts),
                whole,
                "in pieces of {:?}, {limits:?}",
                lengths(&parts)
            );
        }
    }

    let room = choices.usize(..=body.len() + 1);
    for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
        let arrive = |limits, pieces: &[&[u8]]| arrive(dialect, limits, room, pieces);
        let whole = arrive(StreamLimits::default(), &[body]);
        for _ in 0..2 {
            let parts = pieces(body, &mut choices);
            assert_eq!(
                arrive(StreamLimits::default(), &parts),
                whole,
                "{dialect:?} in pieces of {:?}",
                lengths(&parts)
            );
        }
        let parts = pieces(body, &mut choices);
        assert_eq!(arrive(tight, &parts), arrive(tight, &[body]), "{dialect:?}");
        if let Ok(answer) = &whole {
            assert!(answer.text.len() <= room, "the text outgrew its {room} bytes");
        }
    }

    let streamed = arrive(Dialect::OpenAi, StreamLimits::default(), usize::MAX, &[body]);
    judge_stream(&streamed, &frames.0);
    let message = arrive(Dialect::Anthropic, StreamLimits::default(), usize::MAX, &[body]);
    judge(&message);
    let cut = &body[..choices.usize(..=body.len())];
    judge_stream(
        &arrive(Dialect::OpenAi, StreamLimits::default(), usize::MAX, &[cut]),
        &decode(StreamLimits::default(), &[cut]).0,
    );
    let [at_once, message_at_once] = [Dialect::OpenAi, Dialect::Anthropic].map(|dialect| {
        let plain = |body: &[u8]| dialect::plain(dialect, body);
        plain(body).or_else(|_| plain(&secrets().mask_body(body)))
    });
    judge(&at_once);
    judge(&message_at_once);
    let refused = response.refused();
    let results = [streamed, at_once, Err(refused), message, message_at_once];
    results
        .iter()
        .zip(0..)
        .map(|(result, reader)| digest(&(reader, kind(result), frames.1.is_some())))
        .collect()
}

/// A response as it stands in `fixtures/llm`: a status line, header lines, a blank line, the body.
struct Response {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Response {
    fn of(input: &[u8]) -> Self {
        let (head, body) = match input.strip_prefix(b"HTTP/1.1 ") {
            Some(rest) => match rest.windows(2).position(|pair| pair == b"\n\n") {
                Some(blank) => (&rest[..blank], &rest[blank + 2..]),
                None => (rest, &rest[..0]),
            },
            None => (&input[..0], input),
        };
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.get(..3)?.parse().ok());
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_ascii_lowercase(), value.to_owned()))
        });
        Self {
            status: status.unwrap_or(500),
            headers: headers.collect(),
            body: body.to_vec(),
        }
    }

    /// Classifies the response as a refusal, for any status.
    fn refused(&self) -> CallError {
        let header = |name: &str| self.headers.get(name).cloned();
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let body = secrets().mask_body(&self.body).into_owned();
        let error = classify(self.status, &header, &body, now);
        assert_bounded(&error);
        let rates = RateHeaders::read(&header, now);
        let _ = rates.a_minute();
        if let Some(wait) = rates.wait(1000) {
            assert!(
                wait <= Duration::from_hours(24),
                "a reset of {wait:?} is believed"
            );
        }
        error
    }
}

fn secrets() -> Secrets {
    Secrets::of(
        Some(SECRET),
        &reqwest::Url::parse("https://host/v1").expect("an address"),
    )
}

type Decoded = (Vec<Frame>, Option<SseError>);

/// Returns the frames of a stream that arrives in these pieces, and the error that ended it.
fn decode(limits: StreamLimits, pieces: &[&[u8]]) -> Decoded {
    let (mut decoder, mut frames) = (Decoder::new(limits), Vec::new());
    let mut taken = 0;
    for piece in pieces {
        let (held, known) = (decoder.held_bytes(), frames.len());
        let result = decoder.push(piece, &mut frames);
        if piece.iter().all(|byte| matches!(byte, b'\n' | b'\r')) {
            // All bytes of these events had arrived before this piece.
            for frame in &frames[known..] {
                let name = frame.event.as_deref().unwrap_or_default();
                let length = frame.data.len() + name.len();
                // The newline that joins the last line to the earlier ones is not held yet.
                assert!(
                    held + 1 >= length,
                    "{held} bytes are counted of an event of {length}"
                );
            }
        }
        if let Err(fault) = result {
            return (frames, Some(fault));
        }
        taken += piece.len();
        let most = limits.event_bytes.min(taken);
        // A line, the name and the data of its event; a growing buffer may be twice as large as its content.
        assert!(
            decoder.held_bytes() <= 6 * (most + 1) + 32,
            "{} bytes are held of {taken}, {limits:?}",
            decoder.held_bytes()
        );
    }
    let fault = decoder.finish(&mut frames).err();
    (frames, fault)
}

/// Returns the result of a stream that arrives in these pieces.
fn arrive(
    dialect: Dialect,
    limits: StreamLimits,
    room: usize,
    pieces: &[&[u8]],
) -> Result<Answer, CallError> {
    let mut incoming = Incoming::new(dialect, limits, room).hiding(secrets());
    let mut done = false;
    for piece in pieces {
        done |= incoming.push(piece)? == StreamProgress::Done;
        assert!(
            incoming.is_complete() || !done,
            "an answer that was complete is not any more"
        );
    }
    let held = incoming.held_bytes();
    let taken = pieces.iter().map(|piece| piece.len()).sum::<usize>();
    let most = limits.event_bytes.min(taken) + room.min(taken);
    assert!(
        held <= 6 * most + 16 * LONGEST_NAME + 64,
        "{held} bytes are held of {taken}, {limits:?}, {room}"
    );
    let answer = incoming.end()?;
    let parts = [
        Some(&answer.text),
        answer.refusal.as_ref(),
        answer.id.as_ref(),
        answer.model.as_ref(),
        answer.tier.as_ref(),
    ];
    let kept: usize = parts.into_iter().flatten().map(String::len).sum();
    assert!(
        held >= kept,
        "{held} bytes are counted of an answer that has {kept}"
    );
    Ok(answer)
}

/// Checks that the server marked the end of a good answer of a stream.
fn judge_stream(result: &Result<Answer, CallError>, frames: &[Frame]) {
    judge(result);
    if let Ok(answer) = result {
        let end = End::of(frames);
        assert!(
            end.named || (end.done && answer.reason_missing && is_something(answer)),
            "an answer without a good end: {answer:?}"
        );
    }
}

/// Whether the answer has a text or calls a tool.
fn is_something(answer: &Answer) -> bool {
    !answer.text.is_empty() || answer.finish_reason == "tool_calls"
}

/// The end marks of a stream, read from its frames without the collector.
#[derive(Default)]
struct End {
    /// A finish reason with a name.
    named: bool,
    /// `[DONE]`.
    done: bool,
}

impl End {
    fn of(frames: &[Frame]) -> Self {
        let mut end = Self::default();
        for frame in frames {
            end.read(frame.data.trim());
            for line in frame.data.lines() {
                end.read(line.trim());
            }
        }
        end
    }

    fn read(&mut self, data: &str) {
        #[derive(Deserialize)]
        struct Chunk<'a> {
            #[serde(borrow)]
            choices: Option<Vec<Choice<'a>>>,
        }
        // serde also reads an array as a choice, its members in this order.
        #[derive(Deserialize)]
        #[serde(default)]
        #[derive(Default)]
        struct Choice<'a> {
            #[serde(borrow)]
            index: Option<&'a RawValue>,
            #[serde(borrow)]
            _delta: Option<&'a RawValue>,
            #[serde(borrow)]
            _message: Option<&'a RawValue>,
            #[serde(borrow)]
            finish_reason: Option<&'a RawValue>,
        }
        self.done |= data.starts_with("[DONE]");
        let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(data) else {
            // The collector may read text that is not JSON loosely, for example with wrong escapes in a name.
            self.named |= data.contains("finish_reason") || data.contains('\\');
            return;
        };
        for choice in chunk.choices.into_iter().flatten() {
            let index = choice.index.and_then(|index| index.get().parse::<f64>().ok());
            let Some(reason) = choice.finish_reason.map(RawValue::get) else {
                continue;
            };
            let is_blank = matches!(reason, "\"\"" | "null" | "true" | "false" | "[]" | "{}");
            if index.is_none_or(|index| index == 0.0) {
                self.named |= !is_blank;
            }
        }
    }
}

/// Checks the properties of every answer and every error.
fn judge(result: &Result<Answer, CallError>) {
    match result {
        Ok(answer) => {
            let names = [
                answer.id.as_deref(),
                answer.model.as_deref(),
                answer.tier.as_deref(),
                Some(answer.finish_reason.as_str()),
            ];
            for name in names.into_iter().flatten() {
                assert!(
                    name.chars().count() <= LONGEST_NAME,
                    "a name of {} characters is kept",
                    name.chars().count()
                );
            }
            assert!(!answer.finish_reason.is_empty());
            assert!(answer.usage.is_none() || answer.doubt.is_none());
            if let Some(usage) = answer.usage {
                judge_usage(usage);
            }
            assert!(answer.text.ends_with(strip_think(&answer.text)));
            if let Err(error) = answer.verdict_of_finish() {
                assert_bounded(&error);
            }
        }
        Err(error) => assert_bounded(error),
    }
}

fn judge_usage(usage: Usage) {
    let cached = usage.cached_input_tokens.checked_add(usage.cache_write_tokens);
    assert!(
        usage.input_tokens <= MOST_INPUT
            && usage.output_tokens <= MOST_OUTPUT
            && cached.is_some_and(|cached| cached <= usage.input_tokens),
        "{usage:?}"
    );
}

/// Checks that an error is one short printable line without the secret.
fn assert_bounded(error: &CallError) {
    let texts = [Some(error.message.as_str()), error.code.as_deref()];
    for text in texts.into_iter().flatten() {
        assert!(text.chars().count() <= LONGEST_MESSAGE, "a long message: {text}");
        assert!(
            !text.chars().any(char::is_control),
            "it steers a terminal: {text:?}"
        );
        assert!(!text.contains(SECRET), "a secret is told: {text}");
    }
    assert!(
        error
            .retry_after
            .is_none_or(|wait| wait <= Duration::from_hours(24))
    );
}

/// Returns a number for the kind of a result.
fn kind(result: &Result<Answer, CallError>) -> u64 {
    match result {
        Ok(answer) => digest(&(
            answer.text.len().min(3),
            answer.reasoning_chars > 0,
            answer.refusal.is_some(),
            answer
                .usage
                .map(|usage| (usage.cached_input_tokens > 0, usage.cache_write_tokens > 0)),
            answer
                .doubt
                .as_ref()
                .map(|doubt| doubt.split(' ').next().map(str::to_owned)),
            answer.tier.is_some(),
            answer.done_missing,
            answer.finish_reason == "stop",
        )),
        Err(error) => {
            // A server's message may have any words; only our own message shows what failed.
            let own = error.message.chars().filter(char::is_ascii_alphabetic);
            let own: String = own.take(if error.status.is_none() { 16 } else { 0 }).collect();
            digest(&(
                error.class.as_str(),
                format!("{:?}", error.verdict),
                error.status.map(|status| status / 100),
                error.retry_after.is_some(),
                own,
            ))
        }
    }
}
