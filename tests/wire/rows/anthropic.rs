//! The Messages API.

use std::time::Duration;

use super::refusals::{Refusal, hold as hold_refusals};
use super::{Fault, Recorded, Row, hold, now};
use nova3::domain::failure::Class::{
    Auth, BadRequest, ContentFilter, ContextLength, Network, Quota, RateLimited, Server,
};
use nova3::domain::failure::Verdict::{Elsewhere, Final, Latch, Pause, Retry};
use nova3::domain::usage::Usage;
use nova3::llm::Answer;
use nova3::llm::wire::RateHeaders;

#[test]
fn messages_come_to_what_the_table_says() {
    hold(&rows());
}

#[test]
fn errors_are_judged_as_the_table_says() {
    hold_refusals(&refusals());
}

#[test]
fn the_wait_is_named_by_the_headers() {
    let recorded = Recorded::read("anthropic/429_rate_limit.http");
    assert_eq!(recorded.judge().retry_after, Some(Duration::from_secs(17)));
    let limits = RateHeaders::read(&|name| recorded.header(name), now());
    assert_eq!(
        (
            limits.limit_requests,
            limits.limit_tokens,
            limits.remaining_tokens
        ),
        (Some(50), Some(40_000), Some(0))
    );
}

pub(super) fn rows() -> Vec<Row> {
    [streams(), tools(), ends(), failures(), at_once()].concat()
}

/// The answer of most fixtures, with this text.
fn said(text: &str) -> Answer {
    Answer {
        usage: Some(Usage {
            input_tokens: 12,
            cached_input_tokens: 0,
            cache_write_tokens: 0,
            output_tokens: 9,
        }),
        tier: Some("standard".to_owned()),
        model: Some("claude-1".to_owned()),
        id: Some("msg_01".to_owned()),
        ..super::said(text)
    }
}

/// The same where no tier is named.
fn untiered(text: &str, input: u64, output: u64) -> Answer {
    Answer {
        usage: Some(Usage {
            input_tokens: input,
            output_tokens: output,
            ..Usage::default()
        }),
        tier: None,
        ..said(text)
    }
}

fn ended(text: &str, reason: &str) -> Answer {
    Answer {
        finish_reason: reason.to_owned(),
        ..said(text)
    }
}

fn streams() -> Vec<Row> {
    let cached = Usage {
        input_tokens: 1042,
        cached_input_tokens: 1000,
        cache_write_tokens: 30,
        output_tokens: 7,
    };
    vec![
        ("a text, a ping", "anthropic/text.sse", Ok(said("你好 world"))),
        (
            "thoughts, signed and redacted",
            "anthropic/thinking.sse",
            Ok(Answer {
                reasoning_chars: 3,
                ..said("答案")
            }),
        ),
        (
            "input_tokens excludes what was read from the cache and written to it",
            "anthropic/cached.sse",
            Ok(Answer {
                usage: Some(cached),
                tier: Some("priority".to_owned()),
                ..said("hi")
            }),
        ),
        (
            "gateways that count the prompt at the end",
            "anthropic/usage_at_the_end.sse",
            Ok(untiered("hi", 12, 7)),
        ),
        (
            "no usage",
            "anthropic/no_usage.sse",
            Ok(Answer {
                usage: None,
                tier: None,
                ..said("hi")
            }),
        ),
        (
            "a count that cannot be true",
            "anthropic/absurd_usage.sse",
            Ok(Answer {
                usage: None,
                doubt: Some("`input_tokens` is 1e300".to_owned()),
                tier: None,
                ..said("hi")
            }),
        ),
        (
            "events without names",
            "anthropic/unnamed_events.sse",
            Ok(said("hi")),
        ),
        (
            "events whose names are their only types",
            "anthropic/no_types.sse",
            Ok(untiered("hi", 12, 9)),
        ),
        ("CRLF", "anthropic/crlf.sse", Ok(said("hi"))),
        (
            "an event of a later version",
            "anthropic/later_event.sse",
            Ok(said("hi")),
        ),
        (
            "halves of a surrogate pair in two events",
            "anthropic/lone_surrogate.sse",
            Ok(said("a😀")),
        ),
    ]
}

fn tools() -> Vec<Row> {
    vec![
        (
            "the input of the tool that answers, in pieces",
            "anthropic/tool.sse",
            Ok(said(r#"{"title":"冬天的热泵"}"#)),
        ),
        (
            "text beside it is no part of the answer",
            "anthropic/tool_after_text.sse",
            Ok(said(r#"{"a":1}"#)),
        ),
        (
            "the first of two calls counts",
            "anthropic/tool_twice.sse",
            Ok(said(r#"{"a":1}"#)),
        ),
        (
            "the input in one piece",
            "anthropic/tool_at_once.sse",
            Ok(said(r#"{"a":1}"#)),
        ),
        (
            "an empty input",
            "anthropic/tool_with_nothing.sse",
            Ok(said("{}")),
        ),
        (
            "an input that was cut",
            "anthropic/tool_cut.sse",
            Ok(ended(r#"{"a":[1,2"#, "length")),
        ),
        (
            "another tool",
            "anthropic/other_tool.sse",
            Ok(ended("a", "tool_calls")),
        ),
    ]
}

fn ends() -> Vec<Row> {
    let undone = Answer {
        done_missing: true,
        ..said("hi")
    };
    vec![
        (
            "max_tokens",
            "anthropic/max_tokens.sse",
            Ok(ended("half of", "length")),
        ),
        (
            "model_context_window_exceeded",
            "anthropic/context_window.sse",
            Ok(ended("half of", "length")),
        ),
        ("stop_sequence", "anthropic/stop_sequence.sse", Ok(said("hi"))),
        (
            "refusal",
            "anthropic/refusal.sse",
            Err((
                ContentFilter,
                Elsewhere,
                None,
                "the provider's content filter stopped the answer",
            )),
        ),
        (
            "pause_turn",
            "anthropic/pause_turn.sse",
            Err((
                Server,
                Retry,
                None,
                "the server broke off the answer (finish reason `pause_turn`)",
            )),
        ),
        (
            "an unknown reason",
            "anthropic/unknown_reason.sse",
            Ok(ended("hi", "tired")),
        ),
        ("no message_stop", "anthropic/no_message_stop.sse", Ok(undone)),
        (
            "OpenAI's end, from a gateway",
            "anthropic/done_added.sse",
            Ok(said("hi")),
        ),
    ]
}

fn failures() -> Vec<Row> {
    let unfinished = |bytes: &'static str| -> Result<Answer, Fault> { Err((Network, Retry, None, bytes)) };
    let overloaded = || -> Result<Answer, Fault> {
        Err((
            Server,
            Retry,
            Some(200),
            "an error inside an HTTP 200 (overloaded_error): Overloaded",
        ))
    };
    vec![
        (
            "message_stop without a reason",
            "anthropic/no_stop_reason.sse",
            unfinished("the stream ended after 2 bytes of text without a finish reason"),
        ),
        (
            "message_stop behind nothing",
            "anthropic/only_message_stop.sse",
            Err((
                Server,
                Retry,
                None,
                "the stream was empty: its end came before any content",
            )),
        ),
        (
            "a cut connection",
            "anthropic/cut.sse",
            unfinished("the stream ended after 4 bytes of text without a finish reason"),
        ),
        (
            "overloaded in the middle",
            "anthropic/overloaded.sse",
            overloaded(),
        ),
        (
            "overloaded at once",
            "anthropic/overloaded_at_once.sse",
            overloaded(),
        ),
        (
            "an error without the name of its event",
            "anthropic/api_error.sse",
            Err((
                Server,
                Retry,
                Some(200),
                "an error inside an HTTP 200 (api_error): Internal server error",
            )),
        ),
        (
            "a limit in the middle",
            "anthropic/rate_limit.sse",
            Err((
                RateLimited,
                Pause,
                Some(200),
                "an error inside an HTTP 200 (rate_limit_error): Too many tokens",
            )),
        ),
        (
            "an event that is no JSON",
            "anthropic/malformed.sse",
            Err((
                Server,
                Retry,
                None,
                "failed to read an event of the stream: key must be a string at line 1 column 31",
            )),
        ),
    ]
}

/// Answers that were not streamed.
fn at_once() -> Vec<Row> {
    let billed = |answer: Answer| Answer {
        usage: Some(Usage {
            input_tokens: 16,
            cached_input_tokens: 4,
            cache_write_tokens: 0,
            output_tokens: 9,
        }),
        ..answer
    };
    vec![
        (
            "thoughts and two texts",
            "anthropic/200_message.http",
            Ok(billed(Answer {
                reasoning_chars: 2,
                ..said("你好 world")
            })),
        ),
        (
            "the tool that answers",
            "anthropic/200_tool.http",
            Ok(billed(said(r#"{"a":[1,"二"]}"#))),
        ),
        (
            "max_tokens at once",
            "anthropic/200_max_tokens.http",
            Ok(billed(ended("half", "length"))),
        ),
        (
            "no reason: being whole vouches for the end",
            "anthropic/200_no_stop_reason.http",
            Ok(billed(said("hi"))),
        ),
        (
            "content that is a text",
            "anthropic/200_text_alone.http",
            Ok(billed(said("hi"))),
        ),
        (
            "a stream that was not announced",
            "anthropic/200_stream.http",
            Ok(said("hi")),
        ),
        (
            "neither content nor a reason",
            "anthropic/200_empty.http",
            Err((
                Server,
                Retry,
                None,
                "the answer has neither content nor a finish reason",
            )),
        ),
        (
            "an error at HTTP 200",
            "anthropic/200_error.http",
            Err((
                Server,
                Retry,
                Some(200),
                "an error inside an HTTP 200 (overloaded_error): Overloaded",
            )),
        ),
        (
            "an answer in OpenAI's dialect",
            "anthropic/200_openai.http",
            Err((
                Server,
                Retry,
                Some(200),
                r#"an error inside an HTTP 200: {"choices":[{"finish_reason":"stop","message":{"content":"hi"}}],"id":"chatcmpl-9","model":"m-1"}"#,
            )),
        ),
        (
            "cut in the middle",
            "anthropic/200_cut.http",
            Err((
                Network,
                Retry,
                None,
                "the answer was cut in the middle of its JSON",
            )),
        ),
    ]
}

pub(super) fn refusals() -> Vec<Refusal> {
    vec![
        (
            "400",
            "anthropic/400_invalid_request.http",
            BadRequest,
            Final,
            Some("invalid_request_error"),
        ),
        (
            "400, the prompt is too long",
            "anthropic/400_prompt_too_long.http",
            ContextLength,
            Elsewhere,
            Some("invalid_request_error"),
        ),
        (
            "400, the account is empty",
            "anthropic/400_credit_balance.http",
            Quota,
            Latch,
            Some("invalid_request_error"),
        ),
        (
            "401",
            "anthropic/401_authentication.http",
            Auth,
            Latch,
            Some("authentication_error"),
        ),
        (
            "402",
            "anthropic/402_billing.http",
            Quota,
            Latch,
            Some("billing_error"),
        ),
        (
            "403",
            "anthropic/403_permission.http",
            Auth,
            Latch,
            Some("permission_error"),
        ),
        (
            "404, the model",
            "anthropic/404_model.http",
            BadRequest,
            Latch,
            Some("not_found_error"),
        ),
        (
            "413, which another route may take",
            "anthropic/413_request_too_large.http",
            BadRequest,
            Elsewhere,
            Some("request_too_large"),
        ),
        (
            "429",
            "anthropic/429_rate_limit.http",
            RateLimited,
            Pause,
            Some("rate_limit_error"),
        ),
        (
            "500",
            "anthropic/500_api_error.http",
            Server,
            Retry,
            Some("api_error"),
        ),
        (
            "504",
            "anthropic/504_timeout.http",
            Server,
            Retry,
            Some("timeout_error"),
        ),
        (
            "529",
            "anthropic/529_overloaded.http",
            Server,
            Retry,
            Some("overloaded_error"),
        ),
    ]
}
